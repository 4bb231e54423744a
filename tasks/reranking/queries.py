"""Queries with their candidates, in an order that says nothing about relevance."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmark.types import Bad, Example
from tasks.common import Reading, unit_hash

RETRIEVED = "retrieved"  # the order of the data, where they say that it is a retriever's


class Candidate(NamedTuple):
    """Text that may answer a query; a grade of 0 is not relevant."""

    id: str
    text: str
    grade: int


class Query(NamedTuple):
    """Source of an example: a query with (id, text) of each candidate."""

    text: str
    candidates: tuple[tuple[str, str], ...]

    def read(self) -> str:
        """Give the text by which an audit compares queries."""
        return self.text


@dataclass
class Gathered:
    """Candidates of one query so far, in the order of the data."""

    id: str
    query: str
    group: str | None = None
    candidates: list[Candidate] = field(default_factory=list)


def candidate(given: str | None, text: str, grade: int) -> Candidate:
    """Make a candidate; one without an id is named by the hash of its text."""
    return Candidate(given or hashlib.sha256(text.encode()).hexdigest()[:12], text, max(grade, 0))


def in_order(query: str, candidates: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Order (id, text) by hashes of query and id: the order of a file often has the relevant ones first.

    Candidates with equal scores are ranked in this order.
    """
    return tuple(sorted(candidates, key=lambda pair: (unit_hash(f"{query}\n{pair[0]}"), pair[0])))


def as_examples(
    split: str, gathered: Sequence[Gathered], retrieved: bool, where: str, reading: Reading
) -> list[Example]:
    """Make an example per query with a relevant candidate; count the others."""
    examples = []
    for one in gathered:
        known: dict[str, Candidate] = {}
        for new in one.candidates:
            old = known.setdefault(new.id, new)
            if old.text != new.text:
                examples.append(bad(one.id, f"{where}: query {one.query!r:.40} has two texts of the id {new.id!r}"))
                break
            known[new.id] = old._replace(grade=max(old.grade, new.grade))
        else:
            reading.count(split, "repeated_candidates", len(one.candidates) - len(known))
            if any(c.grade for c in known.values()):
                examples.append(_example(one, known, retrieved))
            else:
                reading.count(split, "queries_without_a_relevant_candidate")
            reading.count(split, "queries_with_relevant_candidates_alone", all(c.grade for c in known.values()))
    return examples


def bad(name: str, reason: str) -> Example:
    return Example(name, Bad(reason), ({},))


def _example(one: Gathered, known: dict[str, Candidate], retrieved: bool) -> Example:
    source = Query(one.query, in_order(one.query, [(c.id, c.text) for c in known.values()]))
    target: dict[str, Any] = {
        "relevance": {name: known[name].grade for name, _ in source.candidates if known[name].grade}
    }
    if retrieved:
        target[RETRIEVED] = [*known]
    return Example(one.id, source, (target,), one.group)
