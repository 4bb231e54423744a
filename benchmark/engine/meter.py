"""Costs of a run: seconds by phase and by step, memory by phase."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmark.errors import TimeLimitError
from benchmark.records import Measurement

WARM_UP = 5  # first steps, in which caches fill and memory is allocated: not timed


class Meter:
    """Clock and memory gauge of phases and steps on one device."""

    def __init__(self, device: str, max_seconds: float | None = None) -> None:
        self.device, self.max_seconds = device, max_seconds
        self.seconds: dict[str, float] = {}
        self.memory: dict[str, dict[str, int]] = {}
        self.steps: list[tuple[float, int, int]] = []  # seconds, tokens, examples
        self.predicted = 0
        self.restarts = 0  # processes that began this run and were stopped
        self.inherited: tuple[int, float] = (0, 0.0)  # steps and seconds of the run that this one continues
        self.base = 0 if device.startswith("cuda") else _resident("VmRSS")  # before the backbone is loaded

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add time and memory of the block to a phase; phases do not nest."""
        self._forget_peak()
        started = self.now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - started
            peaks, before = self._peaks(), self.memory.get(name, {})
            self.memory[name] = {key: max(value, before.get(key, 0)) for key, value in peaks.items()}

    def now(self) -> float:
        """Read the clock after the device has finished its work."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def check(self) -> None:
        """Raise TimeLimitError where all phases together exceed the time limit."""
        spent = sum(self.seconds.values())
        if self.max_seconds is not None and spent > self.max_seconds:
            raise TimeLimitError(
                f"{spent:.0f} seconds spent after {len(self.steps)} steps, budget.max_seconds={self.max_seconds:g}: "
                "raise it, or take fewer steps"
            )

    def step(self, seconds: float, tokens: int, examples: int) -> None:
        """Note one optimiser step."""
        self.steps.append((seconds, tokens, examples))

    def state(self) -> dict[str, Any]:
        """Give the measured costs so far as plain data."""
        names = ("seconds", "memory", "steps", "restarts", "inherited")
        return {name: getattr(self, name) for name in names}

    def resume(self, state: dict[str, Any], ended: bool = False) -> None:
        """Continue from the costs of an earlier process; loading counts once."""
        self.seconds |= state["seconds"]
        self.steps = [tuple(step) for step in state["steps"]]
        self.restarts = state["restarts"] + (not ended)
        self.inherited = (len(self.steps), sum(self.seconds.values())) if ended else tuple(state["inherited"])
        for name, peaks in state["memory"].items():
            before = self.memory.get(name, {})
            self.memory[name] = {kind: max(value, before.get(kind, 0)) for kind, value in peaks.items()}

    def ledger(self) -> list[Any]:
        """Give the costs that other processes need: memory by phase, tokens by step."""
        return [self.memory, [tokens for _, tokens, _ in self.steps]]

    def join(self, ledgers: list[list[Any]]) -> None:
        """Combine processes: largest memory, sum of tokens, own seconds."""
        for memory, _ in ledgers:
            for name, peaks in memory.items():
                before = self.memory.setdefault(name, {})
                before.update({key: max(value, before.get(key, 0)) for key, value in peaks.items()})
        tokens = [sum(step) for step in zip(*(counted for _, counted in ledgers), strict=True)]
        self.steps = [(s, n, examples) for (s, _, examples), n in zip(self.steps, tokens, strict=True)]

    def measurements(self) -> Iterator[Measurement]:
        """Yield the costs as measurements, for the phases that ran."""
        for name, seconds in self.seconds.items():
            yield Measurement("cost", f"{name}_seconds", seconds)
        # A run that is shorter than the warm-up reports all its steps.
        steps = self.steps[WARM_UP:] or self.steps
        if steps:
            spent = sum(seconds for seconds, _, _ in steps)
            yield Measurement("cost", "seconds_per_step", statistics.median(seconds for seconds, _, _ in steps))
            yield Measurement("cost", "examples_per_second", sum(n for _, _, n in steps) / spent)
            if tokens := sum(n for _, n, _ in steps):
                yield Measurement("cost", "tokens_per_second", tokens / spent)
        if self.predicted:
            yield Measurement("cost", "predict_seconds_per_example", self.seconds["predict"] / self.predicted)
        for name, peaks in self.memory.items():
            for kind, value in peaks.items():
                yield Measurement("cost", f"{name}_peak_{kind}_bytes", value)
        for name, value in zip(("steps", "seconds"), self.inherited, strict=True):
            if value:
                yield Measurement("cost", f"inherited_{name}", value)
        if self.restarts:
            yield Measurement("cost", "restarts", self.restarts)
        kind = "reserved" if self.device.startswith("cuda") else "memory"
        if self.memory:
            yield Measurement("cost", "peak_memory_bytes", max(peaks[kind] for peaks in self.memory.values()))

    def _forget_peak(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
            return
        with suppress(OSError):  # only Linux can reset a process's peak; elsewhere it never falls
            Path("/proc/self/clear_refs").write_text("5")

    def _peaks(self) -> dict[str, int]:
        """Read the peak: CUDA allocated and reserved, or growth of the resident set."""
        if self.device.startswith("cuda"):
            import torch

            return {
                "allocated": torch.cuda.max_memory_allocated(self.device),
                "reserved": torch.cuda.max_memory_reserved(self.device),
            }
        return {"memory": max(_resident("VmHWM") - self.base, 0)}


def _resident(field: str) -> int:
    """Read the resident set (VmRSS) or its peak (VmHWM) in bytes.

    Without /proc both are the peak.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
