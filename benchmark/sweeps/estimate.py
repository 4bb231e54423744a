"""Time that the remaining cells take in one process, by similar records."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from benchmark.config.trials import cost_of
from benchmark.records import Record
from benchmark.sweeps.grid import Records
from benchmark.types import TUNE

UNITS = ((5400, 3600, 1, "h"), (90, 60, 0, "min"), (0, 1, 0, "s"))  # least seconds, length, digits, name
Speeds = dict[tuple[str, ...], list[float]]


def estimate(cells: Sequence[Sequence[str]], records: Records) -> str:
    """Estimate the time of cells by records of the same task and budget."""
    total, unknown, used = 0.0, 0, set()
    speeds: dict[tuple[tuple[str, str], ...], Speeds] = {}
    for overrides in cells:
        chosen = dict(override.lstrip("+").split("=", 1) for override in overrides if "=" in override)
        setting = tuple((key, value) for key, value in chosen.items() if key in COMPARED or key.startswith("budget."))
        if setting not in speeds:
            similar = list(similar_records(dict(setting), records))
            used |= {record.run_id for record in similar}
            speeds[setting] = by_method(similar)
        seconds = expected(chosen["task"], chosen["method"], speeds[setting])
        total, unknown = total + (seconds or 0), unknown + (seconds is None)
    if unknown == len(cells):
        return "estimated time: unknown, no record has this task and budget yet"
    more = f", without {unknown} of {len(cells)} cells: no record has their task and budget" if unknown else ""
    return f"estimated time: {duration(total)} in one process, by {len(used)} records of the same task and budget{more}"


COMPARED = ("task", "backbone", "budget", "phase")  # keys of overrides in which record and cell must agree


def similar_records(setting: dict[str, str], records: Records) -> Iterator[Record]:
    """Yield the records of a task and budget in the same phase, from all sources."""
    fields = {key.partition(".")[2]: value for key, value in setting.items() if key.startswith("budget.")}
    for record in records.of_task(setting["task"]):
        budget = record.config.get("budget") or {}
        if (
            record.status == "done"
            and record.budget_name == setting.get("budget", "standard")
            and record.backbone == setting.get("backbone", record.backbone)
            and record.tuning == (setting.get("phase") == TUNE)
            and all(str(budget.get(name)) == value for name, value in fields.items())
        ):
            yield record


def by_method(records: Iterable[Record]) -> Speeds:
    """Gather the seconds of records by task and method, by task, and all together."""
    speeds: Speeds = {}
    for record in records:
        for key in ((record.task, record.method), (record.task,), ()):
            speeds.setdefault(key, []).append(cost_of(record)[1])
    return speeds


def expected(task: str, method: str, speeds: Speeds) -> float | None:
    """Average the seconds of the records most similar to a cell."""
    seconds = next((speeds[key] for key in ((task, method), (task,), ()) if key in speeds), None)
    return None if seconds is None else statistics.fmean(seconds)


def duration(seconds: float) -> str:
    """Write a time in hours, minutes or seconds."""
    return next(f"{seconds / unit:.{digits}f} {name}" for least, unit, digits, name in UNITS if seconds >= least)
