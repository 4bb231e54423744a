"""The headline of records: one score for all of a task, and whether it is above that of a constant answer."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence

from benchmark.errors import InputError, near
from benchmark.records.record import Record

MAJORITY = "majority_"  # before the name of a score: that of one answer for every example
FLOOR = "§"  # marks a score that is not above it
NOT_ABOVE = "not above one answer for every example"
BLEU_FLOOR = 2.0  # of 100: unrelated texts have as much by their commas and articles, and texts of a few words have 0
EXACT = "exact_match"
LOWER = (  # within the name of a score: lower is better
    *("loss", "perplexity", "bits_per_byte", "nats_per_character", "ece", "error", "errors"),
    *("mse", "rmse", "mae", "cer", "wer", "ter", "mer", "brier", "nll"),
)


def lower_is_better(name: str) -> bool:
    """Whether a score's name says that lower is better."""
    return any(f"_{part}_" in f"_{name}_" for part in LOWER)


def check_headline(name: str, known: Iterable[str], where: str) -> None:
    """Refuse a headline that is no score, or of which lower is better. Raises InputError."""
    if lower_is_better(name):
        raise InputError(f"{where}: of {name} lower is better, and tables take the highest headline for the best")
    if name not in (names := [*known]):
        raise InputError(f"{where}: no score {name!r}{near(name, names)}")


def below_floor(records: Sequence[Record], split: str = "test") -> list[str]:
    """Name the scores (headline, exact match) whose mean over seeds is not above the constant answer's."""
    names = dict.fromkeys(name for record in records for name in (record.headline(split), EXACT) if name)
    return [name for name in names if _is_below(records, split, name)]


def _is_below(records: Sequence[Record], split: str, name: str) -> bool:
    pairs = [(record.value(split, name), record.value(split, MAJORITY + name)) for record in records]
    known = [(value, floor) for value, floor in pairs if value is not None and floor is not None]
    return bool(known) and statistics.fmean(v for v, _ in known) <= statistics.fmean(floor for _, floor in known)


def floor_notes(record: Record, split: str = "test") -> list[str]:
    """Write in plain words which scores of a run are near the floor."""
    answer = str(record.data.get("majority", ""))
    shown = f"{answer[:40]!r}{'...' * (len(answer) > 40)}"
    pairs = [(name, record.value(split, MAJORITY + name)) for name in below_floor([record], split)]
    notes = [f"{NOT_ABOVE} ({shown}: {', '.join(f'{name} {value:.4g}' for name, value in pairs)})"] if pairs else []
    bleu = record.value(split, "bleu")
    if record.headline(split) == "bleu" and bleu is not None and bleu < BLEU_FLOOR:
        notes.append(f"bleu {bleu:.2f} of 100 is near zero: it can hardly tell methods apart")
    return notes


def agreed(runs: Sequence[tuple[str, Record]], asked: str | None = None) -> tuple[list[tuple[str, Record]], list[str]]:
    """Show all records of a task by one headline; beside them what was decided where they name several.

    The headline is the one asked for where the task has it, else that of which most runs have a value. Raises
    InputError for a headline that no record has.
    """
    if asked and runs:
        known = {name for _, r in runs for split, name in r.finals if split == "test"}
        shown = [name for name in known if not lower_is_better(name) and not name.startswith(MAJORITY)]
        check_headline(asked, shown, f"metric={asked}")
    tasks = {r.task for _, r in runs if asked or r.data.get("headline")}
    chosen, said = {}, []
    for task in sorted(tasks):
        records = [r for _, r in runs if r.task == task and r.status == "done"]
        named = Counter(name for r in records if (name := r.headline()))
        candidates = [asked] if asked and _count(records, asked) else named
        chosen[task] = max(candidates, key=lambda name: (_count(records, name), named[name], name), default=None)
        if len(named) > 1 and not asked:
            several = ", ".join(sorted(named))
            said.append(f"runs of {task} name several headlines ({several}): shown by {chosen[task]}; metric= chooses")
    return [(source, r.under(chosen[r.task]) if r.task in chosen else r) for source, r in runs], said


def _count(records: Iterable[Record], name: str) -> int:
    return sum(any(r.value(split, name) is not None for split in ("test", "valid")) for r in records)
