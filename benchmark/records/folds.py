"""Folds of a cross-validation: records that make one score together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from benchmark.records.record import SEEDS, Record

Round = Sequence[Record]  # of one seed: all folds in order, or a single run without folds


def fold_of(record: Record) -> int | None:
    """Give the fold of a record; None of a run on the splits of its data."""
    return record.config.get("fold")


def folds_of(records: Iterable[Record]) -> list[int]:
    """List the folds of records."""
    return sorted({fold for record in records if (fold := fold_of(record)) is not None})


def missing_folds(records: Iterable[Record]) -> list[int]:
    """List the folds of which no record is there."""
    records = [*records]
    number = max((record.config.get("folds") or 0 for record in records), default=0)
    return sorted({*range(number)} - {*folds_of(records)})


def rounds(records: Sequence[Record]) -> list[Round]:
    """Gather the records of each seed: one of each fold; a record without a fold is by itself.

    A seed that lacks a fold of another one, or has two records of one, is left out.
    """
    folds = folds_of(records)
    if not folds:
        return [[record] for record in records]
    return [runs for runs in by_seed(records) if [fold_of(run) for run in runs] == folds]


def by_seed(records: Iterable[Record]) -> list[Round]:
    """Gather records by all of their seeds, the folds of each in order."""
    seeds: dict[tuple[int | None, ...], list[Record]] = defaultdict(list)
    for record in records:
        seeds[tuple(record.config.get(name) for name in SEEDS)].append(record)
    return [sorted(runs, key=lambda run: (fold_of(run) is None, fold_of(run))) for runs in seeds.values()]


def fold_values(runs: Round, split: str, name: str) -> list[float]:
    """Return a measurement by fold; of a shifted test, which a fold may lack, by those that have it.

    Empty where another split lacks it in a fold.
    """
    values = [value for run in runs if (value := run.value(split, name)) is not None]
    return values if len(values) == len(runs) or split.startswith("test/") else []


def times_folds(seeds: int, folds: Sequence[int]) -> str:
    """Write how many seeds there are, and of how many folds each."""
    return f"{seeds} x {len(folds)} fold{'s' * (len(folds) != 1)}" if folds else str(seeds)


def lacking(records: Sequence[Record]) -> list[str]:
    """Write which seeds lack folds that others have."""
    folds, complete = folds_of(records), rounds(records)
    return [
        f"seed {runs[0].seed} lacks fold {', '.join(map(str, sorted({*folds} - {*folds_of(runs)})))}: left out"
        for runs in by_seed(records)
        if folds and runs not in complete
    ]
