"""Images that are decoded when they are needed, by pillow, into 8-bit grey or colour."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.types import Bad

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # 16-bit grey: its upper 8 bits are read
COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
GREY = ("1", "L", "LA")


@dataclass(frozen=True)
class Picture:
    """An encoded image, and where it stands for whoever must mend it."""

    where: str
    content: Path | bytes = field(repr=False)

    def read(self, side: int) -> np.ndarray | Bad:
        """Decode into uint8 of shape (side, side) or (side, side, 3), or say what is wrong."""
        if isinstance(self.content, Path) and not self.content.is_file():
            return Bad(f"{self.where}: no such file")
        from PIL.Image import DecompressionBombError

        try:
            return decoded(self.content, side)
        except (OSError, ValueError, SyntaxError, EOFError, DecompressionBombError) as error:  # of broken files
            return Bad(f"{self.where} cannot be decoded ({error})")


def decoded(content: Path | bytes, side: int) -> np.ndarray:
    """Decode and fit to a square. Raises OSError, ValueError or SyntaxError for what is no image."""
    from PIL import Image

    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
        if image.mode in DEEP:
            image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
        elif image.mode not in (*COLOUR, *GREY):
            raise ValueError(f"pixels of mode {image.mode}; 8 or 16 bits wanted")
        return square(np.asarray(image.convert("L" if image.mode in GREY else "RGB")), side)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter edge to a side and keep the middle; an image of that size stays as it is."""
    if image.shape[:2] == (side, side):
        return image
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BICUBIC))
