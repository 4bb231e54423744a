"""Fold of a cross-validation, and tasks that read one fold of their data."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from benchmark.errors import InputError

FEWEST = 3  # folds: test, validation and training
MOST = 1000  # as in records


class Fold(NamedTuple):
    """Number of a fold, from 0, and how many there are."""

    number: int
    of: int


def fold_of(number: int | None, folds: int | None) -> Fold | None:
    """Give the fold of a cell; None where its data keep their splits. Raises InputError for a fold that is none."""
    if number is None:
        return None
    if folds is None or not FEWEST <= folds <= MOST:
        raise InputError(
            f"folds: {folds} given, at least {FEWEST} (test, validation and training) and at most {MOST} wanted"
        )
    if not 0 <= number < folds:
        raise InputError(f"fold: {number} given, 0 to {folds - 1} wanted (folds={folds})")
    return Fold(number, folds)


def in_fold(task: Any, fold: Fold | None) -> Any:
    """Return a view of a task that reads one fold of its data.

    Raises InputError for a task that reads its data without tasks/folds.py.
    """
    if fold is None:
        return task
    if not hasattr(task, "fold"):
        raise InputError(f"fold: the examples of {type(task).__name__} cannot be dealt into folds: leave fold= out")
    view = copy.copy(task)
    object.__setattr__(view, "fold", fold)
    return view
