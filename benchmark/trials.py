"""Tuning trials: what a trial draws, and which one the tuning records choose."""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.records import Record, choices

SELECTED = "selected"  # instead of a number: what the tuning records choose
MARGIN = 0.1  # of a range, on its logarithmic scale: a value this near to its end is at the edge


class Unselected(ValueError):
    """The tuning records choose no trial; why."""


def draw(method: str, search: Mapping[str, Any], trial: int) -> dict[str, Any]:
    """Draw a value for every knob; each is a function of method, knob and trial, so that a new knob moves no other.

    Trial 0 is the method's default: nothing is drawn (Gulrajani and Lopez-Paz 2021, arXiv 2007.01434).
    """
    return {knob: _value(space, _place(method, knob, trial)) for knob, space in search.items()} if trial else {}


def _place(method: str, knob: str, trial: int) -> float:
    digest = hashlib.sha256(f"{method} {knob} {trial}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56


def _value(space: Any, place: float) -> Any:
    if isinstance(space, Mapping):
        value = space["low"] * (space["high"] / space["low"]) ** place
        return float(f"{value:.4g}")
    return space[int(place * len(space))]


def edges(search: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Name the knobs whose value lies at an end of its range: the best one may lie beyond."""
    found = []
    for knob, value in values.items():
        space = search[knob]
        if isinstance(space, Mapping):
            place = math.log(value / space["low"]) / math.log(space["high"] / space["low"])
            low, high = place < MARGIN, place > 1 - MARGIN
        elif len(space) > 2 and all(isinstance(known, int | float) for known in space):
            low, high = value == min(space), value == max(space)
        else:  # of two or of words there is no middle
            continue
        found += [f"{knob}={value:g} is near its {'lowest' if low else 'highest'}"] if low or high else []
    return found


def place(node: dict[str, Any], knob: str, value: Any) -> None:
    """Set a knob, which a dot leads into a nested node."""
    *parents, leaf = knob.split(".")
    for parent in parents:
        node = node[parent]
    node[leaf] = value


@dataclass(frozen=True)
class Selection:
    """The trial that tuning chose, and what it was chosen from."""

    trial: int
    score: float
    trials: int
    seeds: tuple[int, ...]
    budget: dict[str, Any]  # that the tuning runs were given
    fraction: float | None
    runs: tuple[str, ...]  # ids of all tuning records that were compared


def select(records: Iterable[Record], config: dict[str, Any], free: Collection[str]) -> Selection:
    """Choose the trial with the best mean valid headline over the tuning seeds.

    Ties go to fewer trainable parameters, then to the lower trial. Compared are tuning records that differ from config
    in free knobs, seed, trial, budget and fraction alone; where tuning had several budgets, those of config's own.
    Raises Unselected where there are none, or where a trial lacks a seed that another has.
    """
    # a final run has no phase written down: nobody chose one
    known = [r for r in records if r.config.get("phase") and r.status != "skipped"]
    own = choices(config)
    wanted = _like(own, free)
    compared = _of_one_budget([r for r in known if _like(r.choices, free) == wanted], own)
    trials: dict[int, list[Record]] = {}
    for record in sorted(compared, key=lambda r: r.seed):
        trials.setdefault(record.config.get("trial") or 0, []).append(record)
    seeds = sorted({r.seed for r in compared})
    for trial, runs in sorted(trials.items()):
        if missing := [seed for seed in seeds if seed not in {r.seed for r in runs}]:
            raise Unselected(f"trial=selected: tuning is not complete, trial {trial} lacks seed {missing[0]}")
    scored = {trial: _score(runs) for trial, runs in trials.items()}
    best = max(scored, key=lambda trial: (scored[trial], -_size(trials[trial]), -trial))
    if scored[best] == -math.inf:
        raise Unselected("trial=selected: every trial failed; python -m benchmark.status shows why")
    first = compared[0].config
    return Selection(
        best, scored[best], len(trials), tuple(seeds), first["budget"], first.get("fraction"),
        tuple(sorted(r.run_id for r in compared)),
    )  # fmt: skip


def _like(own: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Leave of a run's choices what another of the same method and task must share."""
    method = {name: value for name, value in _leaves(own["method"]) if name not in free}
    return {"task": own["task"], "method": method, "backbone": own["backbone"]}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in node.items():
        yield from _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]


def _of_one_budget(records: list[Record], own: Mapping[str, Any]) -> list[Record]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_spent(record.choices), []).append(record)
    if not groups:
        raise Unselected("trial=selected: no tuning record of this task, method and backbone; run phase=tune first")
    if len(groups) > 1 and _spent(own) not in groups:
        raise Unselected(
            f"trial=selected: tuning had {len(groups)} budgets ({'; '.join(sorted(groups))}), none is this run's own: "
            "keep the records of one"
        )
    return groups[_spent(own)] if _spent(own) in groups else next(iter(groups.values()))


def _spent(own: Mapping[str, Any]) -> str:
    budget = own["budget"]
    return f"{budget['name']}, {budget['steps']} steps, fraction {own.get('fraction') or 1}"


def _score(runs: list[Record]) -> float:
    values = [run.value("valid", run.data.get("metric", "")) for run in runs]
    return -math.inf if any(value is None for value in values) else statistics.fmean(values)


def _size(runs: list[Record]) -> float:
    return max(run.value("cost", "trainable_params") or 0 for run in runs)
