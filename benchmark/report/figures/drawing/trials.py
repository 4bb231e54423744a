"""Tuning trials as a table: what each drew, and its validation score."""

from __future__ import annotations

import math
import statistics

import pandas as pd

from benchmark.records.configurations import FREE, Configuration
from benchmark.report.comparisons import name_comparisons
from benchmark.report.material import Material

TRIAL = ["task", "budget", "board", "method", "trial", "lr", "metric", "score"]


def trials(material: Material) -> pd.DataFrame:
    """Return a row per trial, the mean of its seeds; NaN if it failed.

    A board names what sets trials apart beside the method, so that those of one board may be compared. Where trials
    went on by halves, each stands as it was when all of them were there.
    """
    rows = []
    for (task, budget), members in material.trials.items():
        several = len({(one.backbone, one.weights) for one in members if one.done}) > 1
        metrics = {start: one.metric() for one in members if (start := (one.backbone, one.weights)) and one.done}
        first: dict[tuple[str, ...], float] = {}
        for one in members:
            first[_method(one)] = min(_stop(one), first.get(_method(one), math.inf))
        for one, conditions in zip(members, name_comparisons(members, ("backbone.", *FREE)), strict=True):
            if _stop(one) > first[_method(one)] or all(record.status == "skipped" for record in one.records):
                continue
            board = ", ".join(filter(None, (*((one.backbone, one.weights) if several else ()), conditions)))
            metric = metrics.get((one.backbone, one.weights))
            scores = one.values("valid", metric or "")
            score = statistics.fmean(scores) if scores and len(scores) == len(one.records) else None
            trial = int(one.settings.get("trial") or 0)
            rows.append([task, budget, board, one.method, trial, _rate(one), metric, score])
    table = pd.DataFrame(rows, columns=TRIAL).astype({"score": float, "lr": float})
    return table.dropna(subset="metric").reset_index(drop=True)


def _method(one: Configuration) -> tuple[str, ...]:
    return one.backbone, one.weights, one.method


def _stop(one: Configuration) -> float:
    """Return the step after which a trial stopped, or infinity."""
    return float(one.settings.get("until", "inf"))


def _rate(one: Configuration) -> float | None:
    """Return the learning rate; None where nothing is trained."""
    try:
        return float(one.settings.get("method.lr", "")) or None
    except ValueError:
        return None
