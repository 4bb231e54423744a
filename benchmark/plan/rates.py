"""Step time by the records of the same task, network and precision."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.cell import Cell
from benchmark.plan.estimate import Plan
from benchmark.records import Record, sources


@dataclass(frozen=True)
class Rate:
    """Seconds that a FLOP of a plan takes, and where this was measured."""

    seconds: float
    machines: tuple[str, ...]
    records: int

    def of(self, plan: Plan) -> float:
        """Give the seconds of a step."""
        return self.seconds * plan.step.flops


def rate(cell: Cell, plans: Sequence[Plan], device: str, results: Path) -> Rate | None:
    """Compare the plans with the recorded steps of the same methods and sizes; None where there are none.

    The examples of a record may be shorter than the largest that the task permits: the rate is one of planned FLOPs.
    """
    known = {plan.method: plan for plan in plans if plan.step and plan.step.flops}
    pairs = [
        (record, record.value("cost", "seconds_per_step") / known[record.method].step.flops)
        for record in similar(cell, device, results)
        if record.method in known and own_size(record) == known[record.method].trained - known[record.method].head
    ]
    machines = sorted({str(record.environment.get("device_name")) for record, _ in pairs})
    return Rate(statistics.median(value for _, value in pairs), tuple(machines), len(pairs)) if pairs else None


def similar(cell: Cell, device: str, results: Path) -> Iterator[Record]:
    """Yield finished records of the same task, backbone, device type, batch and precision."""
    batch = cell.budget.batch_size, cell.budget.micro_batches, cell.budget.precision
    for store in sources(results).values():
        for record in store.of(cell.names["task"], "*"):
            budget = record.config.get("budget") or {}
            if (
                record.status == "done"
                and (record.backbone, record.device) == (cell.names["backbone"], device)
                and tuple(budget.get(key) for key in ("batch_size", "micro_batches", "precision")) == batch
                and record.value("cost", "seconds_per_step")
            ):
                yield record


def own_size(record: Record) -> float | None:
    """Count the trained parameters beside those of a new head."""
    trained, head = (record.value("cost", name) for name in ("trainable_params", "head_params"))
    return None if trained is None else trained - (head or 0)
