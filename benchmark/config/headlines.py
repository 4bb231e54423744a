"""The score that a run is shown by, where somebody asks for another than the task's own."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from benchmark.config.build import convert
from benchmark.records.headline import check_headline, lower_is_better
from benchmark.types import Task


def headline_of(task: Task, asked: Any) -> str | None:
    """Give the score to show a run by, where it is not the task's own. Raises InputError for what is no score."""
    name = convert(asked, str | None, "task.metric")
    if name in (None, task.metric):
        return None
    check_headline(name, offered(task), f"task.metric={name}")
    return name


def offered(task: Task) -> tuple[str, ...]:
    """List the scores of a task; where it lists none, those that it gives for one empty answer."""
    if type(task).scores is not Task.scores:
        return task.scores()
    for target in (task.placeholder, "", 0.0):
        with suppress(Exception):  # of a score that is not made for such an answer
            computed = task.score([task.nothing()], [(target,)])
            return *task.scores(), *(name for name in computed if not lower_is_better(name))
    return task.scores()
