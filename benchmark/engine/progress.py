"""Progress bars of a run, in a terminal only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")
NOTE_EVERY = 10  # steps


class Watch:
    """Bars, one per phase, with a note (loss) and the time left."""

    def __init__(self, bar: Progress | None = None) -> None:
        self._bar = bar or Progress(disable=True)

    @contextmanager
    def count(self, label: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a bar; yield a function that counts one step and notes a text."""
        task, started, done = self._bar.add_task(label, total=total, note="", speed=""), time.monotonic(), 0

        def count(note: str = "") -> None:
            nonlocal done
            done += 1
            fields = {} if done % NOTE_EVERY else {"note": note}
            speed = done / max(time.monotonic() - started, 1e-9)
            self._bar.update(task, completed=done, speed=f"{speed:.1f}/s", **fields)

        yield count
        self._bar.remove_task(task)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield items while a bar counts them."""
        with self.count(label, total) as count:
            for item in items:
                yield item
                count()


@contextmanager
def watching(quiet: bool = False) -> Iterator[Watch]:
    """Show progress on standard error, where that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not sys.stderr.isatty()) as bar:
        yield Watch(bar)
