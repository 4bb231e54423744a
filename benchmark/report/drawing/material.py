"""What figures are made from: the runs, and one table of the settings that have a score."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.report import domains
from benchmark.report.costs import Costs
from benchmark.report.evidence import Evidence
from benchmark.report.frame import Run
from benchmark.report.groups import OWN, Group, grouped, tuning
from benchmark.report.standings import Standing, standings
from benchmark.report.views import MEASURING

Grids = Mapping[tuple[str, str], Sequence[Group]]
AXES = ("backbone.", "fraction", *OWN)  # settings that figures show by themselves
SETTING = [
    "task",
    "budget",
    "backbone",
    "weights",
    "method",
    "label",
    "place",
    "metric",
    "score",
    "low",
    "high",
    "seeds",
]


@dataclass(frozen=True)
class Material:
    """Everything that a figure may draw on; figures take what they need."""

    results: Path
    runs: Sequence[Run]
    grids: Grids
    standing: Mapping[tuple[str, str], Mapping[int, Standing]]
    proper: Mapping[tuple[str, str], Mapping[int, Standing]]  # by the proper score of the same answers
    evidence: Evidence
    costs: Costs

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One row per setting with a score on test: its interval where there is one, its group, where that stands."""
        rows = [row for grid in self.grids if grid[1] != MEASURING for row in self._rows(grid)]
        table = pd.DataFrame(rows, columns=[*SETTING, "trained", "train", "group", "standing"])
        return table.astype(dict.fromkeys(("score", "low", "high", "trained", "train"), float))

    @cached_property
    def boards(self) -> dict[str, list[domains.Board]]:
        """The methods of each budget, task by task."""
        budgets = sorted({budget for _, budget in self.grids} - {MEASURING})
        tasks = {name: {task: g for (task, of), g in self.grids.items() if of == name} for name in budgets}
        return {budget: domains.boards(members, self.evidence) for budget, members in tasks.items()}

    @cached_property
    def ranks(self) -> dict[str, dict[str, domains.Rank]]:
        """The ranks of each budget over its tasks, the best first; none of a single task."""
        found = {budget: domains.ranks(boards) if len(boards) > 1 else {} for budget, boards in self.boards.items()}
        order = {
            budget: sorted(ranks.items(), key=lambda one: (one[1].mean, one[0])) for budget, ranks in found.items()
        }
        return {budget: dict(ranks) for budget, ranks in order.items()}

    @cached_property
    def trials(self) -> dict[tuple[str, str], list[Group]]:
        """The tuning trials by task and budget, one group each."""
        return tuning(list(self.runs))

    def _rows(self, grid: tuple[str, str]) -> Iterator[list[Any]]:
        groups = self.grids[grid]
        for number, (group, place) in enumerate(zip(groups, places(groups), strict=True)):
            scores = group.values("test", group.metric() or "")
            if not scores:
                continue
            found = self.standing.get(grid, {}).get(number)
            ends = (found.estimate.low, found.estimate.high) if found else (None, None)
            trained = group.values("cost", "trainable_params")
            yield [
                *grid, group.backbone, group.weights, group.method, label(group), place,
                group.metric(), statistics.fmean(scores), *ends, len(scores),
                statistics.median(trained) if trained else None, size(group), group, found,
            ]  # fmt: skip


def material(runs: Sequence[Run], results: Path) -> Material:
    """Group the runs and say where each setting stands, as the tables do."""
    grids = grouped(list(runs))
    evidence = Evidence(results)
    scored = {grid: members for grid, members in grids.items() if grid[1] != MEASURING}
    standing, proper = (
        {grid: standings(members, evidence, beside) for grid, members in scored.items()} for beside in (False, True)
    )
    return Material(results, runs, grids, standing, proper, evidence, Costs(runs))


def label(group: Group, but: str | tuple[str, ...] = "=") -> str:
    """Name a method, and what tells it from others of its table, but for settings that begin so."""
    told = [told.removeprefix("method.") for told in group.differences if not told.startswith(but)]
    return ", ".join([group.method, *told])


def places(groups: Sequence[Group], shown: tuple[str, ...] = AXES) -> list[str]:
    """Say for each setting what sets it apart beside its method: those of one place may be compared."""
    values: dict[tuple[str, str], dict[str, set[str | None]]] = {}
    boards = [(group.backbone, group.weights) for group in groups]
    for board in set(boards):
        rivals = [g.settings for g, b in zip(groups, boards, strict=True) if b == board and g.done]
        keys = {key for settings in rivals for key in settings if not key.startswith(shown)}
        values[board] = {key: {settings.get(key) for settings in rivals} for key in sorted(keys)}
    return [
        ", ".join(f"{key}={group.settings[key]}" for key, found in values[board].items()
                  if len(found) > 1 and key in group.settings)
        for group, board in zip(groups, boards, strict=True)
    ]  # fmt: skip


def size(group: Group) -> float | None:
    """Count the training examples."""
    sizes = [n for r in group.done if isinstance(n := (r.data.get("sizes") or {}).get("train"), int)]
    return statistics.median(sizes) if sizes else None


def whole(settings: pd.DataFrame) -> pd.DataFrame:
    """Leave the settings that train on the most data of their board: fewer examples are another comparison."""
    most = settings.groupby(["task", "budget", "backbone", "weights"])["train"].transform("max")
    return settings[settings["train"].isna() | (settings["train"] == most)]
