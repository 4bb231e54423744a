"""Tuning trials as a table: what each drew, and its score on valid."""

from __future__ import annotations

import math
import statistics

import pandas as pd

from benchmark.report.drawing.material import Material, places
from benchmark.report.groups import OWN, Group

TRIAL = ["task", "budget", "board", "method", "trial", "lr", "metric", "score"]


def trials(material: Material) -> pd.DataFrame:
    """Give one row per trial, averaged over its seeds; the score of one that failed is NaN.

    A board names what sets trials apart beside the method, so that those of one board may be compared. Where trials
    went on by halves, each stands as it was when all of them were there.
    """
    rows = []
    for (task, budget), groups in material.trials.items():
        several = len({(g.backbone, g.weights) for g in groups if g.done}) > 1
        metrics = {board: g.metric() for g in groups if (board := (g.backbone, g.weights)) and g.done}
        first: dict[tuple[str, ...], float] = {}
        for group in groups:
            first[_own(group)] = min(_stop(group), first.get(_own(group), math.inf))
        for group, place in zip(groups, places(groups, ("backbone.", *OWN)), strict=True):
            if _stop(group) > first[_own(group)] or all(record.status == "skipped" for record in group.records):
                continue
            board = ", ".join(filter(None, (*((group.backbone, group.weights) if several else ()), place)))
            metric = metrics.get((group.backbone, group.weights))
            scores = group.values("valid", metric or "")
            score = statistics.fmean(scores) if scores and len(scores) == len(group.records) else None
            rows.append([task, budget, board, group.method, _trial(group), _rate(group), metric, score])
    table = pd.DataFrame(rows, columns=TRIAL).astype({"score": float, "lr": float})
    return table.dropna(subset="metric").reset_index(drop=True)


def _own(group: Group) -> tuple[str, ...]:
    return group.backbone, group.weights, group.method


def _stop(group: Group) -> float:
    """Give the step after which it stopped for now; none of the whole budget."""
    return float(group.settings.get("until", "inf"))


def _trial(group: Group) -> int:
    return int(group.settings.get("trial") or 0)


def _rate(group: Group) -> float | None:
    """Return the learning rate; None where nothing is trained."""
    try:
        return float(group.settings.get("method.lr", "")) or None
    except ValueError:
        return None
