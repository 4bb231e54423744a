"""Base classes of data sets, and functions that several tasks share."""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.types import Example, Splits


@dataclass
class Reading:
    """Counts and notes on how data was read: left out, cut, merged, scaled or drawn."""

    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # split -> what -> how many
    notes: dict[str, Any] = field(default_factory=dict)
    pool: dict[str, Sequence[Example]] = field(default_factory=dict)  # dealt into folds: examples by what kept together

    def count(self, split: str, name: str, number: int = 1) -> None:
        """Add to a count; 0 adds no entry."""
        if number:
            counts = self.counts.setdefault(split, {})
            counts[name] = counts.get(name, 0) + number


@dataclass(frozen=True, kw_only=True)
class Data(ABC):
    """Source of examples: embedded, local files, or the hub."""

    description: str

    @abstractmethod
    def splits(self) -> Splits:
        """Read train, valid, test and any test/<shift>, always in the same order."""

    def unmerged(self) -> Splits:
        """Read the splits before examples are merged."""
        return self.splits()

    def merged(self, splits: Splits) -> Splits:
        """Merge examples that are one outside of train."""
        return splits

    def unpinned(self) -> list[str]:
        """Name inputs that may change, such as a hub id without a commit."""
        return []

    def local(self) -> dict[str, Path]:
        """List the user's files that splits() reads, by names independent of their folder."""
        return {}

    @cached_property
    def reading(self) -> Reading:
        """Counts and notes on how splits() read the data."""
        return Reading()


@dataclass(frozen=True, kw_only=True)
class Corpus(ABC):
    """Pretraining data of an embedded backbone, disjoint from every task split."""

    @abstractmethod
    def texts(self) -> list[str]:
        """List every text, as the tokenizer's training data."""

    @abstractmethod
    def held_out(self) -> list[tuple[str, str]]:
        """List (source, target) texts that pairs() omits, to measure forgetting."""

    @abstractmethod
    def pairs(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (source, target) texts without end; a language model's source is empty."""


def unit_hash(key: str) -> float:
    """Map a key to [0, 1) evenly, independent of all other items."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64


def by_hash(examples: Iterable[Example], most: int) -> list[Example]:
    """Draw at most `most` examples, in the order of the hashes of their ids."""
    return sorted(examples, key=lambda e: (unit_hash(f"order {e.id}"), e.id))[:most]


def disjoint(splits: Mapping[str, Sequence[Example]]) -> dict[str, list[Example]]:
    """Drop examples until no source or target is in two splits; train yields."""
    priority = [*(name for name in splits if name.startswith("test")), "valid", "train"]
    sources: set = set()
    targets: set = set()
    separate = {}
    for name in priority:
        separate[name] = [e for e in splits[name] if e.source not in sources and not targets & set(e.targets)]
        sources |= {e.source for e in separate[name]}
        targets |= {t for e in separate[name] for t in e.targets}
    return {name: separate[name] for name in splits}
