"""Runs, configurations, standings and ranks for all tables and figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.records.configurations import FREE, Configuration, label
from benchmark.report import comparisons
from benchmark.report.comparisons import Tables, name_comparisons
from benchmark.report.costs import Costs
from benchmark.report.statistics import ranks
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.standings import Standings, standings
from benchmark.report.views import MEASURING, Run

SHOWN = ("backbone.", "fraction", "source", *FREE)  # settings that figures show by themselves
SETTING = ["task", "budget", "backbone", "weights", "method", "label", "comparison", "metric", "score", "low", "high"]
SETTING += ["seeds"]


@dataclass(frozen=True)
class Material:
    """Everything that tables and figures are made from."""

    results: Path
    runs: Sequence[Run]
    tables: Tables
    standing: Mapping[tuple[str, str], Standings]
    proper: Mapping[tuple[str, str], Standings]  # by the proper score of the same answers
    evidence: Evidence
    costs: Costs

    @cached_property
    def settings(self) -> pd.DataFrame:
        """One row per configuration with a test score."""
        rows = [row for key in self.tables if key[1] != MEASURING for row in self._rows(key)]
        table = pd.DataFrame(rows, columns=[*SETTING, "trained", "train", "configuration", "standing"])
        return table.astype(dict.fromkeys(("score", "low", "high", "trained", "train"), float))

    @cached_property
    def scores(self) -> dict[str, list[ranks.TaskScores]]:
        """The methods of each budget, task by task."""
        budgets = sorted({budget for _, budget in self.tables} - {MEASURING})
        return {budget: ranks.task_scores(self.tasks(budget), self.evidence) for budget in budgets}

    @cached_property
    def ranks(self) -> dict[str, dict[str, ranks.Rank]]:
        """The ranks of each budget over its tasks, the best first; none of a single task."""
        ranked = {budget: ranks.ranks(scores) if len(scores) > 1 else {} for budget, scores in self.scores.items()}
        return {
            budget: dict(sorted(by_method.items(), key=lambda one: (one[1].mean, one[0])))
            for budget, by_method in ranked.items()
        }

    @cached_property
    def trials(self) -> dict[tuple[str, str], list[Configuration]]:
        """The tuning trials by task and budget."""
        return comparisons.trials(self.runs)

    def tasks(self, budget: str) -> dict[str, Sequence[Configuration]]:
        """Return the tables of a budget by task."""
        return {task: members for (task, name), members in self.tables.items() if name == budget}

    def _rows(self, key: tuple[str, str]) -> Iterator[list[Any]]:
        members = self.tables[key]
        for one, conditions in zip(members, name_comparisons(members, SHOWN), strict=True):
            scores = one.values("test", one.metric() or "")
            if not scores:
                continue
            standing = self.standing.get(key, {}).get(one)
            ends = (standing.estimate.low, standing.estimate.high) if standing else (None, None)
            trained = one.values("cost", "trainable_params")
            yield [
                *key, one.backbone, one.weights, one.method, label(one), conditions,
                one.metric(), statistics.fmean(scores), *ends, len(scores),
                statistics.median(trained) if trained else None, size(one), one, standing,
            ]  # fmt: skip


def material(runs: Sequence[Run], results: Path) -> Material:
    """Sort the runs into tables, with the standing of each configuration."""
    tables, evidence = comparisons.tables(runs), Evidence(results)
    scored = {key: members for key, members in tables.items() if key[1] != MEASURING}
    standing, proper = (
        {key: standings(members, evidence, beside) for key, members in scored.items()} for beside in (False, True)
    )
    return Material(results, runs, tables, standing, proper, evidence, Costs(runs))


def size(one: Configuration) -> float | None:
    """Count the training examples."""
    sizes = [n for r in one.done if isinstance(n := (r.data.get("sizes") or {}).get("train"), int)]
    return statistics.median(sizes) if sizes else None


def whole(settings: pd.DataFrame) -> pd.DataFrame:
    """Select the configurations with most training examples per backbone."""
    most = settings.groupby(["task", "budget", "backbone", "weights"])["train"].transform("max")
    return settings[settings["train"].isna() | (settings["train"] == most)]
