"""Configurations: runs that differ only in their seeds and folds and may be averaged."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from benchmark.records.folds import Round, fold_of, fold_values, folds_of, missing_folds, rounds, times_folds
from benchmark.records.headline import FLOOR, below_floor
from benchmark.records.record import MARK, SEEDS, Record
from benchmark.records.shape import escaped

Run = tuple[str, Record]  # source, record
WRITE = json.JSONEncoder(sort_keys=True).encode  # faster than json.dumps, which makes an encoder per call
FINGERPRINT = "data fingerprint"
# Settings that are equal in a fair comparison; where they differ, every row names its value.
COMPARED = ("task.", "budget.", "data.", "backbone.head_lr", FINGERPRINT, "device", "source", "folds")
FREE = ("method.", "trial")  # settings in which compared methods may differ
ANY_SOURCE = ("source",)  # ignored, so that shipped runs and the user's are compared
WHOLE = "1"
TUNED = "tuned"  # view of the trials that tuning chose: of a cross-validation, for each fold its own
CONTROL = "random"  # name of random weights, used as a control

Settings = dict[str, str]
Conditions = tuple[str, str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, eq=False)
class Configuration:
    """Cell without its seeds and its fold, with a record per seed and fold that was run."""

    backbone: str
    weights: str
    method: str
    settings: Settings
    records: tuple[Record, ...] = ()
    differences: tuple[str, ...] = ()  # settings that distinguish it from others of its table
    view: str = ""

    @cached_property
    def done(self) -> list[Record]:
        """Records of the runs that did not fail."""
        return [record for record in self.records if record.status == "done"]

    @cached_property
    def folds(self) -> list[int]:
        """Folds that its finished runs have; empty without a cross-validation."""
        return folds_of(self.done)

    @cached_property
    def rounds(self) -> list[Round]:
        """Finished runs that make one score: those of all folds of a seed, or one without folds."""
        return rounds(self.done)

    @property
    def untrained(self) -> str:
        """Mark of its score, where at least one record is untrained."""
        return MARK * any(record.untrained for record in self.done)

    @property
    def marks(self) -> str:
        """The marks of its score: an untrained seed, or no better than one answer for every example."""
        return self.untrained + FLOOR * (self.metric() in below_floor(self.done))

    @property
    def control(self) -> bool:
        """True for random weights, a control for the value of pretraining."""
        return self.weights == CONTROL

    @property
    def part(self) -> str:
        """Fraction of the training data; another fraction is another comparison."""
        part = self.settings.get("fraction", WHOLE)
        return WHOLE if part == "1.0" else part

    @property
    def source(self) -> str:
        """Name of the folder of its records."""
        return self.settings.get("source", "")

    def conditions(self, ignored: Collection[str] = ANY_SOURCE) -> Conditions:
        """Give the settings that compared configurations share, without ignored ones."""
        common = {k: v for k, v in self.settings.items() if not k.startswith(FREE) and k not in ignored}
        return self.backbone, self.weights, tuple(sorted(common.items()))

    def metric(self, split: str = "test") -> str | None:
        """Name the task's headline score; a shifted test may have another."""
        return next((name for record in self.done if (name := record.headline(split))), None)

    def proper(self) -> str | None:
        """Name the proper scoring rule that accompanies the headline."""
        return next((name for record in self.done if (name := record.data.get("proper"))), None)

    def values(self, split: str, name: str) -> list[float]:
        """Return one measurement over the seeds that have it: its mean over the folds of each.

        Costs are those of each run.
        """
        groups = [[record] for record in self.done] if split == "cost" else self.rounds
        return [statistics.fmean(values) for runs in groups if (values := fold_values(runs, split, name))]


def count_seeds(one: Configuration) -> str:
    """Write how many seeds a score is the mean of, and over how many folds."""
    return times_folds(len(one.rounds), one.folds)


def configurations(runs: Iterable[Run], view: str = "") -> list[Configuration]:
    """Group runs into configurations."""
    sorted_: dict[tuple[str, str, str, frozenset[tuple[str, str]]], list[Record]] = defaultdict(list)
    runs = list(runs)
    settings = [_settings(source, record, view) for source, record in runs]
    prints = _fingerprints(settings)
    for (_, record), chosen in zip(runs, settings, strict=True):
        # A cell that failed before it read its data has no fingerprint: it gets that of its siblings if they agree.
        if FINGERPRINT not in chosen and len(known := prints.get(frozenset(chosen.items()), ())) == 1:
            chosen = chosen | {FINGERPRINT: next(iter(known))}
        sorted_[record.backbone, weights(record), record.method, frozenset(chosen.items())].append(record)
    return [
        Configuration(*named, _with_folds(dict(sorted(chosen)), records), tuple(sorted(records, key=_order)), view=view)
        for (*named, chosen), records in sorted_.items()
    ]


def weights(record: Record) -> str:
    """Name the weights that a backbone started from."""
    chosen = (record.config.get("backbone") or {}).get("weights")
    return escaped(str(chosen.get("name") if isinstance(chosen, dict) else chosen or ""))


def distinguished(members: Sequence[Configuration]) -> list[Configuration]:
    """Fill the differences of each configuration."""
    return [replace(one, differences=shown) for one, shown in differences(members)]


def differences(members: Sequence[Configuration]) -> Iterator[tuple[Configuration, tuple[str, ...]]]:
    """Yield each with the settings that distinguish it."""
    values: dict[str, set[str]] = defaultdict(set)
    for one in members:
        for key, value in one.settings.items():
            if key.startswith(COMPARED):
                values[key].add(value)
    compared = {key for key, different in values.items() if len(different) > 1}
    rivals: dict[tuple[str, str, str], list[Configuration]] = defaultdict(list)
    for one in members:
        rivals[one.backbone, one.weights, one.method].append(one)
    varied = {square: _varied(same) for square, same in rivals.items()}
    for one in members:
        keys = sorted(compared | varied[one.backbone, one.weights, one.method])
        yield one, tuple(f"{key}={one.settings[key]}" for key in keys if key in one.settings)


def label(one: Configuration, ignored: str | tuple[str, ...] = "=") -> str:
    """Name a method with its differences, without settings that begin as ignored."""
    shown = [text.removeprefix("method.") for text in one.differences if not text.startswith(ignored)]
    return ", ".join([one.method, *shown])


def _varied(members: Sequence[Configuration]) -> set[str]:
    """Name the settings that differ between members, or that some lack."""
    keys = {key for one in members for key in one.settings} if len(members) > 1 else set()
    return {key for key in keys if len({one.settings.get(key) for one in members}) > 1}


def _fingerprints(settings: Sequence[Settings]) -> dict[frozenset[tuple[str, str]], set[str]]:
    known: dict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
    for chosen in settings:
        if FINGERPRINT in chosen:
            known[frozenset(chosen.items()) - {(FINGERPRINT, chosen[FINGERPRINT])}].add(chosen[FINGERPRINT])
    return known


def _settings(source: str, record: Record, view: str) -> Settings:
    choices = {key: value for key, value in record.choices.items() if key not in SEEDS}
    further = {"source": source, "device": record.device, FINGERPRINT: record.data.get("fingerprint")}
    tuned_by_fold: set[str] = set()
    if fold_of(record) is not None and not record.tuning:  # of tuning each fold is a comparison by itself
        further[FINGERPRINT] = record.data.get("pool")
        choices.pop("fold", None)
        if view == TUNED:
            drawn = {*((record.config.get("method") or {}).get("search") or ())} - {*record.data.get("explicit", ())}
            tuned_by_fold = {"trial", *(f"method.{knob}" for knob in drawn)}
    flat = {key: value for key, value in _flat(choices) if key not in tuned_by_fold}
    return flat | {key: escaped(str(value)) for key, value in further.items() if value is not None}


def _with_folds(chosen: Settings, records: Sequence[Record]) -> Settings:
    """Name the folds that have no finished run, so that they are compared with none that has them."""
    done = [record for record in records if record.status == "done"]
    without = missing_folds(done) if "folds" in chosen and "fold" not in chosen else []
    return chosen | ({"folds": f"{chosen['folds']} without {' '.join(map(str, without))}"} if without else {})


def _order(record: Record) -> tuple[int, int]:
    return record.seed, fold_of(record) or 0


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
            yield f"{prefix}{key}", escaped(f"{value['name']} ({value['sha256'][:8]})")
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", escaped(value) if isinstance(value, str) else _text(value)


def _text(value: Any) -> str:
    return WRITE(value) if isinstance(value, list) else _number(value)


@lru_cache(4096, typed=True)  # typed, since 1 == 1.0 == True
def _number(value: float | None) -> str:
    return WRITE(value)
