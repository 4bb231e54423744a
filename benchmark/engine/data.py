"""Part of a task's data that a cell uses, read before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.cell import Cell
from benchmark.engine.reuse import Reuse
from benchmark.errors import InputError
from benchmark.records import REPEATS, Measurement
from benchmark.types import TUNE, Bad, Example, Splits

DATA = ("task", "fold", "folds")  # choices on which the data of a cell depend


@dataclass
class Result:
    """Results of a run so far, as its record will have them."""

    data: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


def read(cell: Cell, result: Result, reuse: Reuse | None = None) -> Splits:
    """Read the data and note its fingerprint; return what this cell uses.

    A part is drawn by the ids of the examples, so that every method gets the same. Tuning gets only train and valid.
    Raises InputError where a split is empty.
    """
    reuse = reuse or Reuse()
    splits, reading = reuse.get("splits", DATA, lambda: (cell.task.splits(), cell.task.reading))
    note(reading, result)
    if cell.fold is not None:
        if not (pool := getattr(reading, "pool", None)):
            raise InputError(f"fold: task {cell.names.get('task')} does not deal its examples into folds: leave it out")
        result.data["pool"] = reuse.get("pool", DATA, lambda: fingerprint(pool))  # equal in all folds
    splits = usable(cell, splits, result)
    for name, examples in splits.items():
        if not examples:
            raise InputError(f"split {name} of task {cell.names.get('task')} has no examples (data.{name})")
    budget = cell.budget
    most = {name: budget.max_valid if name == "valid" else budget.max_test for name in splits if name != "train"}
    used = {**splits, "train": share(cell, splits["train"])} | {
        name: sorted(splits[name], key=lambda e: draw(e.id))[:number] for name, number in most.items() if number
    }
    if cell.phase == TUNE:
        used = {name: used[name] for name in ("train", "valid")}
    sample = fingerprint(used)
    for name, counts in reuse.get("repeats", ("task",), lambda: repeats(used), sample).items():
        result.data.setdefault("counts", {}).setdefault(name, {}).update(counts)
    result.data |= {
        "metric": cell.task.metric,
        **({"headline": cell.headline} if cell.headline else {}),
        **({"proper": cell.task.proper} if cell.task.proper else {}),
        "fingerprint": reuse.get("fingerprint", DATA, lambda: fingerprint(splits)),
        "sample": sample,
        "sizes": {name: len(examples) for name, examples in used.items()},
    }
    headlines = {name: cell.task.headline(name, [e.targets for e in examples]) for name, examples in used.items()}
    if others := {name: score for name, score in headlines.items() if score != cell.task.metric}:
        result.data["headlines"] = others
    if unpinned := [*cell.task.unpinned(), *cell.backbone.unpinned()]:
        result.data["unpinned"] = unpinned
    return used


def note(reading: Any, result: Result) -> None:
    """Note how the data was read."""
    for name, counts in (reading.counts if reading else {}).items():
        result.data.setdefault("counts", {}).setdefault(name, {}).update(counts)
    if reading and reading.notes:
        result.data["reading"] = dict(reading.notes)


def usable(cell: Cell, splits: Splits, result: Result) -> Splits:
    """Drop and count unusable examples, if the task allows it.

    Raises InputError, naming the first one.
    """
    bad = {name: [e.source.reason for e in split if isinstance(e.source, Bad)] for name, split in splits.items()}
    reasons = [reason for split in bad.values() for reason in split]
    if not reasons:
        return splits
    if not cell.task.skips_bad():
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise InputError(f"{reasons[0]}{more}: mend it, or leave such rows out by task.skip_bad=true")
    counts = result.data.setdefault("counts", {})
    for name, split in bad.items():
        if split:
            counts.setdefault(name, {})["bad_examples"] = len(split)
    return {name: [e for e in split if not isinstance(e.source, Bad)] for name, split in splits.items()}


def share(cell: Cell, train: Sequence[Example]) -> Sequence[Example]:
    """Draw the cell's share of each class; larger shares contain smaller ones."""
    if cell.fraction is None:
        return train
    seed = cell.seed_of("sample")
    strata: dict[str | None, list[Example]] = {}
    for example in train:
        strata.setdefault(cell.task.stratum(example), []).append(example)
    chosen = set()
    for examples in strata.values():
        in_order = sorted(examples, key=lambda e: draw(f"{seed} {e.id}"))
        chosen |= {e.id for e in in_order[: math.ceil(cell.fraction * len(in_order))]}
    return [e for e in train if e.id in chosen]


def draw(text: str) -> bytes:
    """Hash a text to its position in a random order, equal on every machine."""
    return hashlib.sha256(text.encode()).digest()


def repeats(splits: Splits) -> dict[str, dict[str, int]]:
    """Count examples of valid and tests, with all their answers, that an earlier split holds."""
    rows = {name: [{key(e.source, t) for t in e.targets} for e in examples] for name, examples in splits.items()}
    counts: dict[str, dict[str, int]] = {}
    for other in ("train", "valid"):
        known = set().union(*rows.get(other, []))
        for name in (name for name in splits if name.startswith("test") or (name, other) == ("valid", "train")):
            if number := sum(row <= known for row in rows[name]):
                counts.setdefault(name, {})[REPEATS + other] = number
    return counts


def key(source: Any, target: Any) -> bytes:
    """Hash an input with one of its answers."""
    return hashlib.sha256(json.dumps([source, target], default=_content).encode()).digest()


def fingerprint(splits: Splits) -> str:
    """Hash every example of every split, in order."""
    digest = hashlib.sha256()
    for name, examples in splits.items():
        for example in examples:
            row = [name, example.id, example.source, example.targets]
            digest.update(json.dumps(row, default=_content).encode() + b"\n")
    return digest.hexdigest()[:16]


def _content(value: Any) -> str:
    """Name an array by its type, shape and values."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
    return str(value)
