"""Who is at work on a cell: a lease beside the record's place, and how often a process died over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from benchmark.errors import InputError, LeaseHeldError
from benchmark.identity import run_id, training_id

LEASE_SECONDS = 60.0  # without a heartbeat; a dead process on the same machine is noticed at once


class Claim:
    """The files that a cell at work has beside the place of its record; runs of one training share them."""

    def __init__(self, folder: Path, training: str, run: str | None = None) -> None:
        self.folder, self.run = folder, run or training  # its record has the run's name
        self.lease = folder / f".{training}.lease"
        self.starts = folder / f".{training}.starts"  # a line per process that began and did not end
        self.state = folder / f".{training}.paused"  # of its training

    @classmethod
    def of(cls, folder: Path, config: dict[str, Any]) -> Claim:
        """Give the claim of the cell that has these choices."""
        return cls(folder, training_id(config), run_id(config))

    @contextmanager
    def held(self, wait: bool = False) -> Iterator[None]:
        """Hold the cell, on a shared disk as well. Raises LeaseHeldError where another does, unless told to wait."""
        made = [place for place in (self.folder, *self.folder.parents) if not place.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLease(self.lease, lease_duration=LEASE_SECONDS, poll_interval=0.5, timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            raise LeaseHeldError(
                f"{self.owner() or 'another process'} is at work on this cell ({self.lease})"
            ) from None
        self._clear()
        try:
            yield
        except InputError:  # refused: nothing is left behind
            lock.release()
            for place in made:
                with suppress(OSError):
                    place.rmdir()
            raise
        finally:
            lock.release()

    def settle(self) -> None:
        """Clear what a process left beside the record that was killed right after writing it."""
        if not self.lease.exists():
            return
        with suppress(LeaseHeldError), self.held():
            self.starts.unlink(missing_ok=True)

    def owner(self) -> str | None:
        """Name the process at work, by what its lease says; None where there is none."""
        try:
            lines = self.lease.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return None
        said = dict(line.split("=", 1) for line in lines if "=" in line)
        return f"process {said.get('pid', '?')} on {said.get('host', '?')}"

    def deaths(self) -> int:
        """Count the processes that began this cell and never said how it ended."""
        with suppress(FileNotFoundError):
            return len(self.starts.read_text().splitlines())
        return 0

    @contextmanager
    def started(self) -> Iterator[None]:
        """Leave a line behind if the process dies inside; any other end takes it away."""
        with open(self.starts, "a", encoding="ascii") as file:
            file.write("started\n")
        try:
            yield
        except BaseException:  # told to stop, or refused: no death
            self._forget(1)
            raise
        self._forget(self.deaths())

    def _clear(self) -> None:
        """Remove files that a killed process had half written; whoever holds the cell is alone with them."""
        for path in self.folder.glob(f".{self.run}.*.tmp"):
            path.unlink(missing_ok=True)

    def _forget(self, lines: int) -> None:
        left = self.deaths() - lines
        if left > 0:
            self.starts.write_text("started\n" * left, encoding="ascii")
        else:
            self.starts.unlink(missing_ok=True)
