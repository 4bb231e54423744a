"""Scores of rankings for drawn sets: averages over queries, from stored orders and grades."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

NAME = re.compile(r"(ndcg|mrr|recall)_([1-9]\d{0,5})")
Row = Mapping[str, Any]
Score = Callable[[np.ndarray], np.ndarray]


def named(metric: str) -> Callable[[Sequence[Row], str], Score] | None:
    """Find the score of a name such as ndcg_10; None for others."""
    match = NAME.fullmatch(metric)
    if not match:
        return None
    measure, cut = MEASURES[match[1]], int(match[2])

    def prepare(rows: Sequence[Row], _: str) -> Score:
        values = []
        for row in rows:
            relevance = row["target"][0]["relevance"]
            values.append(measure([relevance.get(name, 0) for name in row["prediction"][:cut]], relevance, cut))
        each = np.array(values)
        return lambda drawn: (drawn @ each) / drawn.sum(1)

    return prepare


def _ndcg(grades: Sequence[int], relevance: Mapping[str, int], cut: int) -> float:
    return _discounted(grades) / _discounted(sorted(relevance.values(), reverse=True)[:cut])


def _discounted(grades: Sequence[int]) -> float:
    return sum(grade / math.log2(rank + 1) for rank, grade in enumerate(grades, 1))


def _mrr(grades: Sequence[int], relevance: Mapping[str, int], cut: int) -> float:
    return next((1 / rank for rank, grade in enumerate(grades, 1) if grade), 0.0)


def _recall(grades: Sequence[int], relevance: Mapping[str, int], cut: int) -> float:
    return sum(grade > 0 for grade in grades) / len(relevance)


MEASURES = {"ndcg": _ndcg, "mrr": _mrr, "recall": _recall}
