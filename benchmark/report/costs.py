"""Costs of a setting, from the runs that measured them best."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.records import Record
from benchmark.records.configurations import Configuration
from benchmark.report.views import MEASURING, Run, budget

STEP, MEMORY = "seconds_per_step", "peak_memory_bytes"  # what runs are made to measure
FP32 = 4  # bytes


@dataclass(frozen=True)
class Cost:
    """A cost: the median over seeds, the lowest and the highest value."""

    value: float
    low: float
    high: float
    shared: bool = False  # a time, while others were at work on the machine: an upper bound
    apart: bool = False  # of runs that were there to measure it, not of those that gave the score
    machines: tuple[str, ...] = ()


class Costs:
    """Finds the costs of configurations, also in runs that measure costs."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.apart: dict[tuple[Any, ...], list[Record]] = defaultdict(list)
        for _, record in runs:
            if record.status == "done" and not record.config.get("phase") and budget(record) == MEASURING:
                self.apart[_conditions(record)].append(record)

    def of(self, members: Sequence[Configuration], name: str) -> list[Cost | None]:
        """Return the cost of each configuration, all from one kind of runs.

        That of runs made for it, unless the configurations' own runs know it of more of them. It depends on the
        network and on what is trained of it, not on seed, weights or learning rate.
        """
        beside = [_median([r for r in one.done if name != MEMORY or alone(r)], name) for one in members]
        if name not in (STEP, MEMORY):
            return beside
        apart = [
            _median(self.apart.get(_conditions(one.done[0]), []) if one.done else [], name, True) for one in members
        ]
        return max((apart, beside), key=lambda costs: sum(cost is not None for cost in costs))


def _conditions(record: Record) -> tuple[Any, ...]:
    """Return what two runs must share to have equal costs.

    The number of examples in a step is not part of it.
    """
    sizes = (record.value("cost", name) for name in ("params", "trainable_params"))
    precision = (record.config.get("budget") or {}).get("precision")
    return record.task, record.backbone, record.method, record.device, precision, *sizes


def _median(runs: Sequence[Record], name: str, apart: bool = False) -> Cost | None:
    known = {id(r): value for r in runs if (value := r.value("cost", name)) is not None}
    if not known:
        return None
    measured = [r for r in runs if id(r) in known]
    shared = "seconds" in name and any(r.busy for r in measured)
    machines = tuple(sorted({str(r.environment.get("device_name")) for r in measured}))
    values = known.values()
    return Cost(statistics.median(values), min(values), max(values), shared, apart, machines)


def unsteady(settings: Iterable[Sequence[float]]) -> list[float]:
    """Return by what share repeated measurements of each setting differ."""
    return [max(values) / min(values) - 1 for values in settings if values and max(values) > min(values) > 0]


def front(costs: Sequence[Cost], scores: Sequence[float]) -> list[bool]:
    """Mark the Pareto front: no other scores higher for no more cost.

    More and less are what the measurements of a cost do not contradict: one lies above or below all of the other's.
    """
    pairs = list(zip(costs, scores, strict=True))
    return [not any(_beats(one, other) for one in pairs) for other in pairs]


def _beats(one: tuple[Cost, float], other: tuple[Cost, float]) -> bool:
    (cost, score), (second, least) = one, other
    return (score > least and cost.low <= second.high) or (score == least and cost.high < second.low)


def alone(record: Record) -> bool:
    """Whether the recorded memory is that of this run alone.

    On a CPU it is the growth of the process, and earlier runs leave the process grown.

    A process that grew by less than the bare network's weights in fp32 had that room from before.
    """
    least = FP32 * (record.value("cost", "params") or 0)
    enough = (record.value("cost", MEMORY) or 0) >= least
    return record.device != "cpu" or (enough and not record.environment.get("cells_before"))
