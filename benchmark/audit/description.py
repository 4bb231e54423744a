"""Description of a task's splits: sizes, lengths, classes, numbers."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmark.audit.duplicates import MOST, sample
from benchmark.types import Example, Input, Kind, Splits, Task

SHOWN = 20  # classes that are listed by name
UNITS = {Kind.TAG: "positions", Kind.MULTILABEL: "labels, of which an example may have several"}


class Section(NamedTuple):
    """Part of an audit."""

    title: str
    table: list[list[str]]  # the header, then the rows
    note: str = ""


def sizes(task: Task, splits: Splits, bad: Mapping[str, Sequence[str]]) -> Section:
    """Count examples, and measure lengths of sources and of text targets."""
    samples = {name: sample(examples, MOST[0]) for name, examples in splits.items()}
    unit = {Input.PROTEIN: "residues", Input.AUDIO: "seconds", Input.IMAGE: "pixels"}.get(task.reads, "characters")
    texts = all(has_texts(task, examples) for examples in splits.values())
    table = [["split", "examples", "bad rows", f"source [{unit}]", *(["target [characters]"] if texts else [])]]
    for name, examples in samples.items():
        lengths = [span([len(target) for e in examples for target in e.targets])] if texts else []
        sources = span([extent(e.source) for e in examples])
        table.append([name, f"{len(splits[name]):,}", f"{len(bad[name]):,}", sources, *lengths])
    capped = any(len(examples) > MOST[0] for examples in splits.values())
    of = f", of at most {MOST[0]:,} examples of a split, drawn by hash" if capped else ""
    return Section("Sizes", table, f"Lengths: smallest / median / largest{of}.")


def extent(source: Any) -> float | str:
    """Measure a source: characters, residues, seconds; the shape of an image."""
    if type(source) is tuple:
        parts = [extent(part) for part in source]
        return " and ".join(parts) if isinstance(parts[0], str) else sum(parts)
    read = source.read() if callable(getattr(source, "read", None)) else source
    if hasattr(read, "rate"):
        return len(read.samples) / read.rate
    if isinstance(read, np.ndarray) and read.ndim > 1:
        return " x ".join(map(str, read.shape))
    return len(read)


def span(lengths: Sequence[float | str]) -> str:
    """Write the smallest, median and largest length, or the shapes."""
    if not lengths:
        return ""
    if isinstance(lengths[0], str):
        return lengths[0] if len(set(lengths)) == 1 else f"{len(set(lengths))} shapes"
    return " / ".join(f"{v:,.4g}" for v in (min(lengths), statistics.median(lengths), max(lengths)))


def classes(task: Task, splits: Splits) -> dict[str, Counter[str]]:
    """Count classes, of examples or of positions, or labels; empty where there are none."""
    if set(task.kinds) & {Kind.TAG, Kind.MULTILABEL}:
        tags = {name: (tag for e in examples for tag in e.targets[0]) for name, examples in splits.items()}
        return {name: Counter(str(tag) for tag in labels if tag is not None) for name, labels in tags.items()}
    counted = {name: Counter(task.stratum(e) for e in examples) for name, examples in splits.items()}
    return {} if any(None in counter for counter in counted.values()) else counted


def balance(task: Task, splits: Splits) -> Section:
    """Count the classes of each split, and the share of each."""
    counted = classes(task, splits)
    names = sorted({label for counter in counted.values() for label in counter}, key=lambda n: (len(n), n))
    table = [["class", *counted]]
    for label in names[:SHOWN]:
        shares = [f"{c[label]:,} ({100 * c[label] / max(c.total(), 1):.1f} %)" for c in counted.values()]
        table.append([label, *shares])
    more = f"and {len(names) - SHOWN} more classes" if len(names) > SHOWN else ""
    of = next((unit for kind, unit in UNITS.items() if kind in task.kinds), "")
    return Section("Class balance", table, "; ".join(part for part in (of, more) if part))


def values(splits: Splits) -> Section:
    """Describe targets that are numbers; an empty table for others."""
    table = [["split", "mean", "standard deviation", "smallest", "median", "largest"]]
    numbers = all(isinstance(e.targets[0], (int, float)) for examples in splits.values() for e in examples)
    for name, examples in splits.items() if numbers else ():
        v = np.array([float(e.targets[0]) for e in examples])
        table.append([name, *(f"{x:.4g}" for x in (v.mean(), v.std(), v.min(), np.median(v), v.max()))])
    return Section("Targets", table)


def has_texts(task: Task, examples: Sequence[Example]) -> bool:
    """Say whether targets are free texts, not names of classes."""
    return all(isinstance(e.targets[0], str) and task.stratum(e) is None for e in examples)
