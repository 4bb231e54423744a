"""Scores of lists of labels, on drawn test sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Score = Callable[[np.ndarray], np.ndarray]  # counts of the rows [draws, rows] -> scores [draws]
LEAST = 5e-5  # probabilities are stored with four digits
ALIKE = 0.5  # of a label in an answer without probabilities


def marks(rows: Sequence[Row]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Mark classes or labels that are true and that are answered: (names, [rows, names], [rows, names])."""
    truth = [_named(row["target"][0]) for row in rows]
    answers = [_named(row["prediction"]) for row in rows]
    names = sorted({name for named in truth for name in named})
    true, answered = (np.array([[name in named for name in names] for named in part]) for part in (truth, answers))
    return names, true, answered


def micro_f1(rows: Sequence[Row], _: str) -> Score:
    """Prepare F1 over all labels of all rows."""
    truth, answers = [_list(row["target"][0]) for row in rows], [_list(row["prediction"]) for row in rows]
    hits = np.array([len(one & other) for one, other in zip(truth, answers, strict=True)])
    both = np.array([len(one) + len(other) for one, other in zip(truth, answers, strict=True)])
    return lambda drawn: 2 * (drawn @ hits) / np.maximum(drawn @ both, 1)


def auroc(rows: Sequence[Row], _: str) -> Score:
    """Prepare the mean AUROC over the labels that some drawn rows have and some lack."""
    truth, likely, names = _probabilities(rows)
    columns = [(truth[:, i], np.unique(likely[:, i], return_inverse=True)[1]) for i in range(len(names))]

    def score(drawn: np.ndarray) -> np.ndarray:
        total, counted = np.zeros(len(drawn)), np.zeros(len(drawn))
        for true, tie in columns:
            groups = np.eye(tie.max() + 1)[tie]  # of equal probabilities, in ascending order
            with_label, without = drawn @ (groups * true[:, None]), drawn @ (groups * ~true[:, None])
            won = (with_label * (without.cumsum(1) - without / 2)).sum(1)  # pairs ranked rightly, a tie is half
            pairs = with_label.sum(1) * without.sum(1)
            total += np.divide(won, pairs, out=np.zeros(len(drawn)), where=pairs > 0)
            counted += pairs > 0
        return total / np.maximum(counted, 1)

    return score


def binary_log_loss(rows: Sequence[Row], _: str) -> Score:
    """Prepare the mean -log of the true side's probability, over labels and rows."""
    truth, likely, _names = _probabilities(rows)
    losses = -np.log(np.maximum(np.where(truth, likely, 1 - likely), LEAST)).mean(1)
    return lambda drawn: (drawn @ losses) / drawn.sum(1)


def _probabilities(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    truth = [_list(row["target"][0]) for row in rows]
    names = next(list(row["probabilities"]) for row in rows if row["probabilities"])
    likely = np.array([[row["probabilities"].get(name, ALIKE) for name in names] for row in rows])
    return np.array([[name in named for name in names] for named in truth]), likely, names


def _list(value: Any) -> set[str]:
    """Take a list of labels. Raises TypeError for a class."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{value!r:.40} is no list of labels")
    return set(value)


def _named(value: Any) -> set[str]:
    return set(value) if isinstance(value, list | tuple) else {str(value)}
