"""Reader of CTranslate2's model.bin, version 6, as its converter writes it.

Numbers are little-endian. Names have a length of 16 bits, and end in a zero byte.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError

if TYPE_CHECKING:
    import numpy as np

VERSION = 6
TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")  # by their number in the file


def read(content: bytes) -> dict[str, np.ndarray]:
    """Read every tensor by its name. Raises InputError for another version, or a file that ends too early or late."""
    reader = _Reader(content)
    try:
        tensors = reader.tensors()
        for _ in range(reader.number("I")):  # second names of tensors
            reader.text(), reader.text()
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise InputError(f"model.bin cannot be read at byte {reader.place:,}: {error}") from error
    if reader.place != len(content):
        raise InputError(f"model.bin has {len(content):,} bytes, its tensors end after {reader.place:,}")
    return tensors


class _Reader:
    """Position in the bytes of a file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def number(self, kind: str) -> int:
        value = struct.unpack_from(f"<{kind}", self.content, self.place)[0]
        self.place += struct.calcsize(f"<{kind}")
        return value

    def text(self) -> str:
        length = self.number("H")
        if self.place + length > len(self.content):
            raise ValueError("the file ends there")
        self.place += length
        return self.content[self.place - length : self.place - 1].decode()

    def tensors(self) -> dict[str, Any]:
        import numpy as np

        version = self.number("I")
        if version != VERSION:
            raise InputError(f"model.bin is of version {version}, {VERSION} wanted")
        self.text()  # what the network is
        self.number("I")  # the revision of that
        found = {}
        for _ in range(self.number("I")):
            name = self.text()
            shape = [self.number("I") for _ in range(self.number("B"))]
            kind, size = np.dtype(TYPES[self.number("B")]), self.number("I")
            array = np.frombuffer(self.content, kind, size // kind.itemsize, self.place)
            found[name] = array.reshape(shape)
            self.place += size
        return found
