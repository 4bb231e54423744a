"""Lease of a cell: a file beside its record, and a count of processes that died."""

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
    """Files of a running cell beside its record, shared by the runs of one training."""

    def __init__(self, folder: Path, training: str, run: str | None = None) -> None:
        self.folder, self.run = folder, run or training
        self.file = folder / f".{training}.lease"
        self.starts = folder / f".{training}.starts"  # a line per process that started and did not end
        self.state = folder / f".{training}.paused"  # checkpoint of the training

    @classmethod
    def of(cls, folder: Path, config: dict[str, Any]) -> Lease:
        """Give the lease of the cell that has these choices."""
        return cls(folder, training_id(config), run_id(config))

    @contextmanager
    def hold(self, wait: bool = False, watch: bool = False) -> Iterator[None]:
        """Hold the cell, also on a disk that machines share.

        Raises LeaseHeldError where another process holds it. wait: until that one has ended. watch: until that one
        shows a heartbeat; without one, take over.
        """
        missing = [folder for folder in (self.folder, *self.folder.parents) if not folder.exists()]
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = SoftFileLease(self.file, lease_duration=LEASE_SECONDS, poll_interval=0.5, timeout=-1 if wait else 0)
        try:
            self._acquire(lock, watch)
        except Timeout:
            raise LeaseHeldError(f"{self.owner() or 'another process'} is running this cell ({self.file})") from None
        self._clear()
        try:
            yield
        except InputError:  # refused: leave no empty folders
            lock.release()
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()
            raise
        finally:
            lock.release()

    def _acquire(self, lock: SoftFileLease, watch: bool) -> None:
        """Acquire the lock, if watched after at most LEASE_SECONDS. Raises Timeout."""
        try:
            lock.acquire()
        except Timeout:
            if not watch or self._lives_here():
                raise
            print(
                f"{self.owner() or 'another process'} holds this cell; waiting up to {LEASE_SECONDS:.0f} s "
                "to see whether it is still running",
                flush=True,
            )
            before = self._heartbeat()
            lock.acquire(timeout=LEASE_SECONDS + 10, cancel_check=lambda: self._heartbeat() not in (before, None))

    def _heartbeat(self) -> float | None:
        """Give the time of the last heartbeat, by the disk's clock."""
        with suppress(FileNotFoundError):
            return self.file.stat().st_mtime
        return None

    def _lives_here(self) -> bool:
        """Say whether the owner is a live process of this machine."""
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
        """Name the process that holds the lease; None where there is none."""
        owner = self._owner()
        return f"process {owner.get('pid', '?')} on {owner.get('host', '?')}" if self.file.exists() else None

    def _owner(self) -> dict[str, str]:
        with suppress(FileNotFoundError):
            lines = self.file.read_text(encoding="utf-8", errors="replace").splitlines()
            return dict(line.split("=", 1) for line in lines if "=" in line)
        return {}

    def deaths(self) -> int:
        """Count the processes that started this cell and died."""
        with suppress(FileNotFoundError):
            return len(self.starts.read_text().splitlines())
        return 0

    @contextmanager
    def started(self) -> Iterator[None]:
        """Count a process that dies in the block; any other end removes the line."""
        with open(self.starts, "a", encoding="ascii") as file:
            file.write("started\n")
        try:
            yield
        except BaseException:  # paused, stopped or refused
            self._forget(1)
            raise
        self._forget(self.deaths())

    def _clear(self) -> None:
        """Remove incomplete files of a killed process; needs the lease."""
        for path in self.folder.glob(f".{self.run}.*.tmp"):
            path.unlink(missing_ok=True)

    def _forget(self, lines: int) -> None:
        remaining = self.deaths() - lines
        if remaining > 0:
            self.starts.write_text("started\n" * remaining, encoding="ascii")
        else:
            self.starts.unlink(missing_ok=True)
