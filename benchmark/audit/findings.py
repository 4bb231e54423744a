"""Findings of an audit of a task's data, the most important first."""

from __future__ import annotations

from typing import NamedTuple

from benchmark.audit.description import Section, balance, sizes, values
from benchmark.audit.leaks import exact_duplicates, groups, near_duplicates
from benchmark.types import Bad, Task


class Audit(NamedTuple):
    """Findings, and the sections of tables."""

    fingerprint: str  # of the data, as records name it
    findings: list[str]  # LEAK or CLEAN, then NEAR, BAD, EMPTY
    sections: list[Section]


def audit(task: Task) -> Audit:
    """Read a task's data and audit it; the result is deterministic."""
    from benchmark.engine.data import fingerprint

    given = task.splits()
    bad = {name: [e.source.reason for e in split if isinstance(e.source, Bad)] for name, split in given.items()}
    splits = {name: [e for e in split if not isinstance(e.source, Bad)] for name, split in given.items()}
    filled = {name: examples for name, examples in splits.items() if examples}
    (repeats, leaks), (likes, nears) = exact_duplicates(task, filled), near_duplicates(task, filled)
    by_group, shared = groups(filled)
    clean = "CLEAN: no source and no named group of train or valid stands in a later split"
    findings = [*([*leaks, *shared] or [clean]), *nears]
    findings += [f"BAD: {len(why):,} in {name}, the first: {why[0]}" for name, why in bad.items() if why]
    findings += [f"EMPTY: {name} has no example that can be used" for name in splits if name not in filled]
    sections = [sizes(task, splits, bad), balance(task, filled), values(filled), repeats, *likes, by_group]
    return Audit(fingerprint(splits), findings, [section for section in sections if section.table[1:]])
