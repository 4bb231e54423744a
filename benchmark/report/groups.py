"""Runs that differ in nothing but their seed: the only ones that may be averaged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from benchmark.records import MARK, SEEDS, Record
from benchmark.report.frame import Run, weights
from benchmark.report.views import WRITE, budget, views

PRINT = "data fingerprint"
# Equal for all rows of an honest comparison; where they are not, every row says which it has.
COMPARED = ("task.", "budget.", "data.", "backbone.head_lr", PRINT, "device", "source")
OWN = ("method.", "trial")  # settings in which two methods may differ
ANY_SOURCE = ("source",)  # shipped runs and your own are held against each other
WHOLE = "1"
CONTROL = "random"  # weights that nobody would deploy


Settings = dict[str, str]


@dataclass(frozen=True)
class Group:
    """The seeds of one setting; without records it is a square of the grid that nobody has run."""

    backbone: str
    weights: str
    method: str
    settings: Settings
    records: tuple[Record, ...] = ()
    differences: tuple[str, ...] = ()  # what tells it from others of its table

    @cached_property
    def done(self) -> list[Record]:
        """The seeds that gave numbers."""
        return [record for record in self.records if record.status == "done"]

    @property
    def untrained(self) -> str:
        """The mark of its score, where the state kept of at least one seed is the one before the first step."""
        return MARK * any(record.untrained for record in self.done)

    @property
    def control(self) -> bool:
        """Whether it started from random weights, to show what pretraining is worth."""
        return self.weights == CONTROL

    @property
    def part(self) -> str:
        """The fraction of the training data it was given; with another one it is another comparison."""
        part = self.settings.get("fraction", WHOLE)
        return WHOLE if part == "1.0" else part

    def shared(self, apart: Collection[str] = ()) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """Give what two settings must have in common to be compared, apart from some that are meant to differ."""
        common = {k: v for k, v in self.settings.items() if not k.startswith(OWN) and k not in apart}
        return self.backbone, self.weights, tuple(sorted(common.items()))

    def metric(self, split: str = "test") -> str | None:
        """Name the task's headline score, which a shifted test may have of its own."""
        return next((name for record in self.done if (name := record.headline(split))), None)

    def proper(self) -> str | None:
        """Name the proper score that stands beside it."""
        return next((name for record in self.done if (name := record.data.get("proper"))), None)

    def values(self, split: str, name: str) -> list[float]:
        """Return one measurement over the seeds that have it."""
        found = (record.value(split, name) for record in self.done)
        return [value for value in found if value is not None]


def grouped(runs: list[Run]) -> dict[tuple[str, str], list[Group]]:
    """Sort runs by (task, budget and view) and setting, with the squares that are missing from each grid."""
    grids: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for view, members in views(runs).items():
        for run in members:
            grids[run[1].task, "_".join(filter(None, (budget(run[1]), view)))].append(run)
    return {key: sorted(_complete(_groups(grids[key])), key=_order) for key in sorted(grids)}


def tuning(runs: list[Run]) -> dict[tuple[str, str], list[Group]]:
    """Sort tuning runs likewise; what a trial drew are settings of its method."""
    grids: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for source, record in runs:
        if record.config.get("phase"):
            grids[record.task, budget(record)].append((source, record))
    return {key: sorted(_groups(grids[key]), key=_order) for key in sorted(grids)}


def _groups(runs: list[Run]) -> list[Group]:
    found: dict[tuple[str, str, str, frozenset[tuple[str, str]]], list[Record]] = defaultdict(list)
    settings = [_settings(source, record) for source, record in runs]
    prints = _known_fingerprints(settings)
    for (_, record), mine in zip(runs, settings, strict=True):
        # A cell that never read its data has no fingerprint: it belongs to its siblings if they agree on one.
        if PRINT not in mine and len(known := prints.get(frozenset(mine.items()), ())) == 1:
            mine = mine | {PRINT: next(iter(known))}
        found[record.backbone, weights(record), record.method, frozenset(mine.items())].append(record)
    groups = [
        Group(backbone, start, method, dict(sorted(mine)), tuple(sorted(records, key=lambda r: r.seed)))
        for (backbone, start, method, mine), records in found.items()
    ]
    return [replace(group, differences=told) for group, told in differences(groups)]


def _known_fingerprints(settings: list[Settings]) -> dict[frozenset[tuple[str, str]], set[str]]:
    known: dict[frozenset[tuple[str, str]], set[str]] = defaultdict(set)
    for mine in settings:
        if PRINT in mine:
            known[frozenset(mine.items()) - {(PRINT, mine[PRINT])}].add(mine[PRINT])
    return known


def _settings(source: str, record: Record) -> Settings:
    config = {key: value for key, value in record.choices.items() if key not in SEEDS}
    beside = {
        "source": source,
        "device": record.device,
        PRINT: record.data.get("fingerprint"),
    }
    return dict(_flat(config)) | {key: str(value) for key, value in beside.items() if value is not None}


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value.keys() == {"name", "sha256"}:
            yield f"{prefix}{key}", f"{value['name']} ({value['sha256'][:8]})"
        elif isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else _written(value)


def _written(value: Any) -> str:
    return WRITE(value) if isinstance(value, list) else _plain(value)


@lru_cache(4096, typed=True)  # of 1, 1.0 and true each is another text
def _plain(value: float | None) -> str:
    return WRITE(value)


def differences(groups: Sequence[Group]) -> Iterator[tuple[Group, tuple[str, ...]]]:
    """Yield each group with the settings that tell it from others of its method, or one comparison from another."""
    values: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        for key, value in group.settings.items():
            if key.startswith(COMPARED):
                values[key].add(value)
    compared = {key for key, found in values.items() if len(found) > 1}
    rivals: dict[tuple[str, str, str], list[Group]] = defaultdict(list)
    for group in groups:
        rivals[group.backbone, group.weights, group.method].append(group)
    own = {square: _varied(members) for square, members in rivals.items()}
    for group in groups:
        keys = sorted(compared | own[group.backbone, group.weights, group.method])
        yield group, tuple(f"{key}={group.settings[key]}" for key in keys if key in group.settings)


def _varied(groups: Sequence[Group]) -> set[str]:
    """Name the settings that are not the same in all groups, or that some lack."""
    keys = {key for group in groups for key in group.settings} if len(groups) > 1 else set()
    return {key for key in keys if len({group.settings.get(key) for group in groups}) > 1}


def _complete(groups: list[Group]) -> list[Group]:
    """Add the squares that nobody has run; of controls a few are enough."""
    known = {(g.backbone, g.weights, g.method) for g in groups}
    starts = {(g.backbone, g.weights) for g in groups if not g.control}
    grid = {(*start, method) for start in starts for *_, method in known}
    return groups + [Group(*square, settings={}) for square in sorted(grid - known)]


def _order(group: Group) -> tuple:
    trained = group.values("cost", "trainable_params")
    state = 0 if trained else 1 if group.records else 2
    part = "" if group.part == WHOLE else group.part  # all of the data first
    return group.backbone, group.weights, part, state, max(trained, default=0), group.method, group.differences
