"""Runs that differ in nothing but their seed: the only ones that may be averaged."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from benchmark.records.record import MARK, SEEDS, Record

Run = tuple[str, Record]  # its source, and what was recorded
WRITE = json.JSONEncoder(sort_keys=True).encode  # json.dumps makes such a thing anew for each value
FINGERPRINT = "data fingerprint"
# Equal for all rows of an honest comparison; where they are not, every row says which it has.
COMPARED = ("task.", "budget.", "data.", "backbone.head_lr", FINGERPRINT, "device", "source")
FREE = ("method.", "trial")  # settings in which two methods may differ
ANY_SOURCE = ("source",)  # shipped runs and your own are compared with each other
WHOLE = "1"
CONTROL = "random"  # weights that nobody would deploy

Settings = dict[str, str]
Conditions = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, eq=False)
class Configuration:
    """A cell without its seeds, with a record per seed; without records nobody has run it."""

    backbone: str
    weights: str
    method: str
    settings: Settings
    records: tuple[Record, ...] = ()
    differences: tuple[str, ...] = ()  # what distinguishes it from others of its table
    view: str = ""

    @cached_property
    def done(self) -> list[Record]:
        """The seeds that gave numbers."""
        return [record for record in self.records if record.status == "done"]

    @property
    def untrained(self) -> str:
        """The mark of its score, where the checkpoint of at least one seed is the one before the first step."""
        return MARK * any(record.untrained for record in self.done)

    @property
    def control(self) -> bool:
        """Whether it started from random weights, to show what pretraining is worth."""
        return self.weights == CONTROL

    @property
    def part(self) -> str:
        """The fraction of the training data; another fraction is another comparison."""
        part = self.settings.get("fraction", WHOLE)
        return WHOLE if part == "1.0" else part

    @property
    def source(self) -> str:
        """The folder that its records are from."""
        return self.settings.get("source", "")

    def conditions(self, ignored: Collection[str] = ANY_SOURCE) -> Conditions:
        """Return what two configurations must share to be compared, without ignored settings."""
        common = {k: v for k, v in self.settings.items() if not k.startswith(FREE) and k not in ignored}
        return self.backbone, self.weights, tuple(sorted(common.items()))

    def metric(self, split: str = "test") -> str | None:
        """Name the task's headline score; a shifted test may have another."""
        return next((name for record in self.done if (name := record.headline(split))), None)

    def proper(self) -> str | None:
        """Name the proper score beside the headline."""
        return next((name for record in self.done if (name := record.data.get("proper"))), None)

    def values(self, split: str, name: str) -> list[float]:
        """Return one measurement over the seeds that have it."""
        values = (record.value(split, name) for record in self.done)
        return [value for value in values if value is not None]


def configurations(runs: Iterable[Run], view: str = "") -> list[Configuration]:
    """Sort runs into configurations; what distinguishes them is found per table, see distinguished."""
    sorted_: dict[tuple[str, str, str, frozenset[tuple[str, str]]], list[Record]] = defaultdict(list)
    runs = list(runs)
    settings = [_settings(source, record) for source, record in runs]
    prints = _fingerprints(settings)
    for (_, record), chosen in zip(runs, settings, strict=True):
        # A cell that never read its data has no fingerprint: it belongs to its siblings if they agree on one.
        if FINGERPRINT not in chosen and len(known := prints.get(frozenset(chosen.items()), ())) == 1:
            chosen = chosen | {FINGERPRINT: next(iter(known))}
        sorted_[record.backbone, weights(record), record.method, frozenset(chosen.items())].append(record)
    return [
        Configuration(
            backbone, start, method, dict(sorted(chosen)), tuple(sorted(records, key=lambda r: r.seed)), view=view
        )
        for (backbone, start, method, chosen), records in sorted_.items()
    ]


def weights(record: Record) -> str:
    """Name the weights a backbone started from; a local checkpoint is recorded by name and content."""
    chosen = (record.config.get("backbone") or {}).get("weights")
    return str(chosen["name"] if isinstance(chosen, dict) else chosen or "")


def distinguished(members: Sequence[Configuration]) -> list[Configuration]:
    """Note in each configuration what distinguishes it from the others."""
    return [replace(one, differences=shown) for one, shown in differences(members)]


def differences(members: Sequence[Configuration]) -> Iterator[tuple[Configuration, tuple[str, ...]]]:
    """Yield each with the settings that distinguish it from others of its method, or one comparison from another."""
    values: dict[str, set[str]] = defaultdict(set)
    for one in members:
        for key, value in one.settings.items():
            if key.startswith(COMPARED):
                values[key].add(value)
    compared = {key for key, seen in values.items() if len(seen) > 1}
    rivals: dict[tuple[str, str, str], list[Configuration]] = defaultdict(list)
    for one in members:
        rivals[one.backbone, one.weights, one.method].append(one)
    varied = {square: _varied(same) for square, same in rivals.items()}
    for one in members:
        keys = sorted(compared | varied[one.backbone, one.weights, one.method])
        yield one, tuple(f"{key}={one.settings[key]}" for key in keys if key in one.settings)


def label(one: Configuration, ignored: str | tuple[str, ...] = "=") -> str:
    """Name a method, and what distinguishes it from others of its table, but for settings that begin as ignored."""
    shown = [text.removeprefix("method.") for text in one.differences if not text.startswith(ignored)]
    return ", ".join([one.method, *shown])


def _varied(members: Sequence[Configuration]) -> set[str]:
    """Name the settings that are not the same in all, or that some lack."""
    keys = {key for one in members for key in one.settings} if len(members) > 1 else set()
    return {key for key in keys if len({one.settings.get(key) for one in members}) > 1}


def _fingerprints(settings: Sequence[Settings]) -> dict[frozenset[tuple[str, str]], set[str]]:
    known: dict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
    for chosen in settings:
        if FINGERPRINT in chosen:
            known[frozenset(chosen.items()) - {(FINGERPRINT, chosen[FINGERPRINT])}].add(chosen[FINGERPRINT])
    return known


def _settings(source: str, record: Record) -> Settings:
    choices = {key: value for key, value in record.choices.items() if key not in SEEDS}
    beside = {"source": source, "device": record.device, FINGERPRINT: record.data.get("fingerprint")}
    return dict(_flat(choices)) | {key: str(value) for key, value in beside.items() if value is not None}


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
            yield f"{prefix}{key}", f"{value['name']} ({value['sha256'][:8]})"
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    return WRITE(value) if isinstance(value, list) else _number(value)


@lru_cache(4096, typed=True)  # of 1, 1.0 and true each is another text
def _number(value: float | None) -> str:
    return WRITE(value)
