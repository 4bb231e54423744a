"""What a terminal shows while a run works; silence where the output is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


class Watch:
    """One bar per phase, with a note (loss, speed) and the time left."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = None

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield items while a bar counts them."""
        task = self._bar.add_task(label, total=total, note="", speed="")
        self._task, started = task, time.monotonic()
        for done, item in enumerate(items, 1):
            yield item
            speed = done / max(time.monotonic() - started, 1e-9)
            self._bar.update(task, completed=done, speed=f"{speed:.1f}/s")
        self._bar.remove_task(task)

    def note(self, text: str) -> None:
        """Show a word beside the bar at work."""
        if self._task is not None and self._task in self._bar.task_ids:
            self._bar.update(self._task, note=text)


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
