"""End of a public command: always an exit status, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TextIO

from benchmark.errors import story

DEBUG = "BENCHMARK_DEBUG"  # 1: show where an unforeseen error arose


def end(main: Callable[[list[str]], int], arguments: Sequence[str]) -> int:
    """Run a command; return its exit status, 1 for an unknown error."""
    sys.stdout, sys.stderr = (Lenient(stream, number) for number, stream in ((1, sys.stdout), (2, sys.stderr)))
    try:
        status = main(list(arguments))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        status = 130
    except Exception as error:
        if os.environ.get(DEBUG) == "1":
            raise
        print(f"failed: {story(error)} ({DEBUG}=1 shows where)", file=sys.stderr)
        status = 1
    sys.stdout.flush()
    return status


class Lenient:
    """Standard stream that never raises, so that a closed pipe loses nothing.

    What its encoding lacks is replaced by "?"; what can no longer be written is dropped.
    """

    def __init__(self, stream: TextIO | None, number: int) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it was closed at the start
        self._number = number
        if hasattr(self._stream, "reconfigure"):
            self._stream.reconfigure(errors="replace")

    def write(self, text: str) -> int:
        """Write, or drop everything from now on."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            self._drop()
            return len(text)

    def flush(self) -> None:
        """Flush, or drop everything from now on."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._drop()

    def _drop(self) -> None:
        """Redirect the file descriptor, so that buffered text raises nothing at exit."""
        with suppress(OSError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._number)
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
