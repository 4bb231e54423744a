"""Plan runs before they are paid for: python -m benchmark.plan task=T method=A,B."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.command import end
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.plan.estimate import Plan, plan
from benchmark.plan.rates import Rate, rate
from benchmark.plan.sample import labels_of
from benchmark.sweeps.grid import Sweep, expand

USAGE = """usage: python -m benchmark.plan task=T method=A,B [backbone=B] [budget=P] [max_memory_gb=24]
                                [device=cpu|cuda] [labels=N] [results=DIR] [any.field=value]

What would a run cost? Attaches each method to a network without weights and takes one step without values: in seconds,
without a download, without a GPU. Prints trained parameters, memory, FLOPs and, where records know it, time of a step.
  max_memory_gb  says which methods keep within so much memory, in 1e9 bytes
  device         cuda unless given; it decides how attention and the optimiser compute
  labels         classes of a new head (characters of speech recognition); 2 (30) unless given
  results        folder of the records that know how long a step takes
Sizes are of the largest examples that the task permits, in batches of budget.batch_size / budget.micro_batches."""
OPTIONS = ("max_memory_gb", "labels")
WIDTH = 120
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Request:
    """A call: the cells, and the options of this command."""

    sweep: Sweep
    device: str
    results: Path
    most: float | None  # bytes
    labels: int | None


def main(arguments: list[str]) -> int:
    """Print plans; return 0, 1 where no method can run, 2 for a refused call."""
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        return 0
    warnings.simplefilter("ignore")  # of libraries about each other
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        request = read(arguments)
        cells = [cell_of(overrides) for overrides in request.sweep.cells]
        if len({(c.names["task"], c.names["backbone"], str(c.budget)) for c in cells}) > 1:
            raise InputError("task, backbone, budget: a plan compares methods; give one of each")
        plans = [plan(cell, request.device, request.labels) for cell in cells]
        known = rate(cells[0], plans, request.device, request.results)
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    show(plans, known, request)
    for line in remarks(plans, cells[0], known, request):
        print(line)
    return int(all(one.refused for one in plans))


def read(arguments: Sequence[str]) -> Request:
    """Separate the options of this command from the overrides. Raises InputError."""
    given = dict(word.split("=", 1) for word in arguments if word.partition("=")[0] in OPTIONS and "=" in word)
    most, labels = (number(key, given[key]) if key in given else None for key in OPTIONS)
    sweep = expand([word for word in arguments if word.partition("=")[0] not in OPTIONS])
    device = sweep.option("device", "cuda")
    if device not in ("cpu", "cuda"):
        raise InputError(f"device: {device!r} given, cpu or cuda wanted")
    results = Path(sweep.option("results", "results"))
    return Request(sweep, device, results, most and most * 1e9, labels and int(labels))


def number(key: str, text: str) -> float:
    """Read a positive number. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9 or (key == "labels" and value % 1):
        raise InputError(f"{key}={text}: a positive number is wanted, as in {key}=8")
    return value


def show(plans: Sequence[Plan], known: Rate | None, request: Request) -> None:
    """Print a row for each method that can run."""
    rows = [one for one in plans if not one.refused]
    if not rows:
        return
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    names = ("method", "trained", "added", "pretrained", "head", "weights", "gradients", "optimiser", "activations")
    names += ("recomputed", "peak", "recomputed", "FLOPs", "step", *(["fits"] if request.most else []))
    for name in names:
        drawn.add_column(name, justify="left" if name == "method" else "right", no_wrap=True)
    for one in rows:
        drawn.add_row(*cells_of(one, known), *([fit(one, request.most)] if request.most else []))
    Console(width=max(WIDTH, 180), highlight=False).print(drawn)


def cells_of(one: Plan, known: Rate | None) -> Iterator[str]:
    """Write the row of a method."""
    yield one.method
    yield from (f"{value:,}" for value in (one.trained, one.added, one.pretrained, one.head))
    step, again = one.step, one.recomputed
    if step is None:
        yield from ["-"] * 9
        return
    yield from map(amount, (step.weights, step.gradients, step.optimiser, step.activations))
    yield amount(again.activations) if again else "-"
    yield amount(step.peak)
    yield amount(again.peak) if again else "-"
    yield f"{step.flops:.3g}"
    yield f"{known.of(one):.3g} s" if known else "unknown"


def fit(one: Plan, most: float) -> str:
    """Say whether a method keeps within the memory."""
    if one.step is None:
        return "unknown"
    return "yes" if one.fits(most) else "recomputed" if one.recomputed and one.recomputed.peak <= most else "no"


def remarks(plans: Sequence[Plan], cell: object, known: Rate | None, request: Request) -> Iterator[str]:
    """Write what the numbers assume, and what is missing."""
    yield ""
    yield from (f"{one.method} cannot run: {one.refused}" for one in plans if one.refused)
    yield from (f"{one.method}: no step without weights ({one.unmeasured})" for one in plans if one.unmeasured)
    budget = cell.budget
    yield (
        f"Assumed: {request.device}, {budget.precision}, {budget.batch_size} examples a step in "
        f"{budget.micro_batches} part{'s' * (budget.micro_batches > 1)}, each as long as the task permits"
        + (f", {labels_of(cell.kind, request.labels)} labels" * bool(labels_of(cell.kind, request.labels)))
        + ". Peak: weights, optimiser, best weights and what a step needs; not what libraries reserve."
    )
    if known:
        yield f"Step time: by {known.records} records of the same methods on {', '.join(known.machines)}."
    else:
        yield "Step time: unknown, no record has this task, backbone, batch and device with one of these methods."


def amount(size: int) -> str:
    """Write a number of bytes."""
    unit, name = next(((u, n) for u, n in UNITS if size >= u), (1, "B"))
    return f"{size / unit:.3g} {name}" if size < 1e12 else f"{size / 1e9:,.0f} GB"


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
