"""Decide which runs may be compared, for all tables, figures and commands.

Their conditions (records/configurations.py) are what the screen of a run asks too.

Runs of one task, budget, view and data stand in one table. Of its configurations those may be compared that differ in
their method and its settings alone; shipped runs are compared with the user's own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmark.records import YOURS, Record
from benchmark.records.configurations import (
    FINGERPRINT,
    FREE,
    WHOLE,
    Conditions,
    Configuration,
    configurations,
    distinguished,
)
from benchmark.report.overrides import setting
from benchmark.report.views import Run, budget, views

Tables = Mapping[tuple[str, str], Sequence[Configuration]]  # by task, and by budget, view and data in one word


@dataclass(frozen=True, eq=False)
class Comparison:
    """Configurations that may be compared, of which each gave a score."""

    members: tuple[Configuration, ...]
    lost: tuple[Configuration, ...] = ()  # gave none on the same backbone and weights

    @property
    def backbone(self) -> str:
        """The backbone of all members."""
        return self.members[0].backbone

    @property
    def budget(self) -> str:
        """The name of the budget."""
        return budget(self.records[0])

    @property
    def view(self) -> str:
        """How the methods got their settings, see views.py."""
        return self.members[0].view

    @property
    def records(self) -> list[Record]:
        """The runs that gave numbers."""
        return [record for member in self.members for record in member.done]

    @property
    def methods(self) -> set[str]:
        """The methods that gave numbers."""
        return {member.method for member in self.members}

    @property
    def examples(self) -> int:
        """The number of training examples."""
        return max((r.data.get("sizes") or {}).get("train", 0) for r in self.records)


def tables(runs: Sequence[Run]) -> dict[tuple[str, str], list[Configuration]]:
    """Sort final runs into tables, one per task, budget, view and data.

    Pairs of backbone and method that were not run are added without records.
    """
    grids: dict[tuple[str, str, str], list[Run]] = defaultdict(list)
    for view, members in views(runs).items():
        for run in members:
            grids[run[1].task, budget(run[1]), view].append(run)
    made = {}
    for (task, name, view), members in grids.items():
        for data, part in _by_data(configurations(members, view)).items():
            table = _complete(distinguished(part))
            made[task, "_".join(filter(None, (name, data, view)))] = sorted(table, key=_order)
    return dict(sorted(made.items()))


def trials(runs: Sequence[Run]) -> dict[tuple[str, str], list[Configuration]]:
    """Sort tuning runs by task and budget."""
    grids: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for source, record in runs:
        if record.config.get("phase"):
            grids[record.task, budget(record)].append((source, record))
    return {key: sorted(distinguished(configurations(grids[key])), key=_order) for key in sorted(grids)}


def comparisons(members: Iterable[Configuration]) -> list[Comparison]:
    """Sort configurations of a table into those that may be compared."""
    sides: dict[Conditions, list[Configuration]] = defaultdict(list)
    lost: dict[tuple[str, str], list[Configuration]] = defaultdict(list)
    for one in members:
        if one.done:
            sides[one.conditions()].append(one)
        elif one.records:
            lost[one.backbone, one.weights].append(one)
    return [Comparison(tuple(sides[side]), tuple(lost[side[:2]])) for side in sorted(sides)]


def default_configuration(members: Sequence[Configuration]) -> Configuration | None:
    """Choose the configuration nearest to the method's defaults.

    Of equally near ones the shipped; None where two remain.
    """
    if len(members) < 2:
        return next(iter(members), None)
    ranked = sorted((_distance(one), number) for number, one in enumerate(members))
    return None if ranked[0][0] == ranked[1][0] else members[ranked[0][1]]


def _distance(one: Configuration) -> tuple[int, int]:
    """Count the changed fields of a method; shipped runs sort first."""
    changed = [override for override in setting(one.done[0]) if override.lstrip("+~").startswith("method.")]
    return len(changed), one.source == YOURS


def name_comparisons(
    members: Sequence[Configuration], ignored: tuple[str, ...] = ("backbone.", "fraction", *FREE)
) -> list[str]:
    """Name the settings that distinguish the comparisons of one backbone.

    Returns a text per configuration.
    """
    values: dict[tuple[str, str], dict[str, set[str | None]]] = {}
    for start in {(one.backbone, one.weights) for one in members}:
        rivals = [one.settings for one in members if (one.backbone, one.weights) == start and one.done]
        keys = {key for settings in rivals for key in settings if not key.startswith(ignored)}
        values[start] = {key: {settings.get(key) for settings in rivals} for key in sorted(keys)}
    return [
        ", ".join(
            f"{key}={one.settings[key]}"
            for key, seen in values[one.backbone, one.weights].items()
            if len(seen) > 1 and key in one.settings
        )
        for one in members
    ]


def _by_data(members: Sequence[Configuration]) -> dict[str, list[Configuration]]:
    """Group configurations by their data.

    The shipped data, else those of most runs, have an empty name.
    """
    count: Counter[str] = Counter()
    for one in members:
        if FINGERPRINT in one.settings:
            count[one.settings[FINGERPRINT]] += len(one.records) + 10**6 * (one.source != YOURS)
    main = min(count, key=lambda data: (-count[data], data), default="")
    parts: dict[str, list[Configuration]] = defaultdict(list)
    for one in members:
        data = one.settings.get(FINGERPRINT, main)
        parts["" if data == main else data[:8]].append(one)
    return parts


def _complete(members: Sequence[Configuration]) -> Iterator[Configuration]:
    """Add pairs of backbone and method that were not run, without controls."""
    yield from members
    known = {(one.backbone, one.weights, one.method) for one in members}
    starts = {(one.backbone, one.weights) for one in members if not one.control}
    grid = {(*start, method) for start in starts for *_, method in known}
    yield from (Configuration(*square, settings={}) for square in sorted(grid - known))


def _order(one: Configuration) -> tuple:
    trained = one.values("cost", "trainable_params")
    state = 0 if trained else 1 if one.records else 2
    part = "" if one.part == WHOLE else one.part  # all of the data first
    return one.backbone, one.weights, part, state, max(trained, default=0), one.method, one.differences
