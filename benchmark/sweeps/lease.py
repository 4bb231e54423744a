"""Lease of a cell beside its record, and the number of deaths on it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import SoftFileLease, Timeout

from benchmark.errors import InputError, LeaseHeldError
from benchmark.identity import run_id, training_id

LEASE_SECONDS = 60.0  # without a heartbeat; a dead process on the same machine is noticed at once


class Lease:
    """Files of a cell in work beside its record, shared by runs of one training."""

    def __init__(self, folder: Path, training: str, run: str | None = None) -> None:
        self.folder, self.run = folder, run or training  # the run's name is its record's
        self.file = folder / f".{training}.lease"
        self.starts = folder / f".{training}.starts"  # a line per process that began and did not end
        self.state = folder / f".{training}.paused"  # of its training

    @classmethod
    def of(cls, folder: Path, config: dict[str, Any]) -> Lease:
        """Give the lease of the cell that has these choices."""
        return cls(folder, training_id(config), run_id(config))

    @contextmanager
    def hold(self, wait: bool = False, watch: bool = False) -> Iterator[None]:
        """Hold the cell, on a shared disk as well.

        Raises LeaseHeldError where another process does.

        wait: until the other one has ended. watch: until it shows that it lives, and take over where it does not.
        """
        made = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLease(self.file, lease_duration=LEASE_SECONDS, poll_interval=0.5, timeout=-1 if wait else 0)
        try:
            self._acquire(lock, watch)
        except Timeout:
            raise LeaseHeldError(f"{self.owner() or 'another process'} is at work on this cell ({self.file})") from None
        self._clear()
        try:
            yield
        except InputError:  # refused: nothing is left behind
            lock.release()
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise
        finally:
            lock.release()

    def _acquire(self, lock: SoftFileLease, watch: bool) -> None:
        """Acquire, where it is watched after at most the time of a lease. Raises Timeout."""
        try:
            lock.acquire()
        except Timeout:
            if not watch or self._lives_here():
                raise
            print(
                f"{self.owner() or 'another process'} holds this cell; waiting up to {LEASE_SECONDS:.0f} s "
                "to see whether it still works",
                flush=True,
            )
            before = self._heartbeat()
            lock.acquire(timeout=LEASE_SECONDS + 10, cancel_check=lambda: self._heartbeat() not in (before, None))

    def _heartbeat(self) -> float | None:
        """Give the time of the last heartbeat by the disk's clock, or None."""
        with suppress(FileNotFoundError):
            return self.file.stat().st_mtime
        return None

    def _lives_here(self) -> bool:
        """Whether the owner is a live process of this machine."""
        owner = self._owner()
        try:
            os.kill(int(owner.get("pid", "")), 0)
        except (ValueError, OSError):
            return False
        return owner.get("host", "").startswith(socket.gethostname())

    def settle(self) -> None:
        """Remove the lease of a process that was killed right after recording."""
        if not self.file.exists():
            return
        with suppress(LeaseHeldError), self.hold():
            self.starts.unlink(missing_ok=True)

    def owner(self) -> str | None:
        """Name the process at work, by what its lease holds; None where there is none."""
        owner = self._owner()
        return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}" if self.file.exists() else None

    def _owner(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
            return dict(line.split("=", 1) for line in lines if "=" in line)
        return {}

    def deaths(self) -> int:
        """Count the processes that began this cell and never recorded how it ended."""
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
        except BaseException:  # stopped or refused: no death
            self._forget(1)
            raise
        self._forget(self.deaths())

    def _clear(self) -> None:
        """Remove half-written files of a killed process; needs the lease."""
        for path in self.folder.glob(f".{self.run}.*.tmp"):
            path.unlink(missing_ok=True)

    def _forget(self, lines: int) -> None:
        left = self.deaths() - lines
        if left > 0:
            self.starts.write_text("started\n" * left, encoding="ascii")
        else:
            self.starts.unlink(missing_ok=True)
