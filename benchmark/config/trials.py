"""Tuning trials: the values that a trial draws, and the choice of the best trial."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import NoSelectionError
from benchmark.identity import choices
from benchmark.records import Record

SELECTED = "selected"  # instead of a number: the trial that the tuning records choose
REACH = 0.25  # distance of the trial beyond the edge, as a share of the range on its logarithmic scale
BEYOND = 1000  # trial BEYOND + k is trial k with the values at an edge moved beyond it
DIGITS = 30  # binary digits of a draw's position in its range
MARGIN = 0.1  # share of a range, on its logarithmic scale: a value this near to an end is at the edge


def draw(method: str, search: Mapping[str, Any], trial: int) -> dict[str, Any]:
    """Draw a value for every knob; it depends on method, knob and trial alone.

    Trial 0 is the method's default: nothing is drawn (Gulrajani and Lopez-Paz 2021, arXiv 2007.01434). Trial BEYOND + k
    is trial k, with what lies at the edge of its range or list moved beyond it.
    """
    if trial >= BEYOND:
        return draw(method, search, trial - BEYOND) | move_edges(method, search, trial - BEYOND)
    return {knob: _value(space, _position(method, knob, trial)) for knob, space in search.items()} if trial else {}


def _position(method: str, knob: str, trial: int) -> float:
    """Give a trial's position in a knob's range, from 0 to 1.

    It is a van der Corput sequence of the knob's own, shuffled and scrambled (Owen 1995). Of trials 1 to 2**n one lies
    in each of 2**n equal parts, so none is left out by chance; two knobs choose their parts independently.
    """
    index, position = trial - 1, 0
    for digit in range(DIGITS):
        text = f"{method} {knob} {digit} {position} {index >> 1}"
        flip = hashlib.sha256(text.encode()).digest()[0] & 1
        position, index = 2 * position + (index & 1 ^ flip), index >> 1
    return position / 2**DIGITS


def _value(space: Any, position: float) -> Any:
    if isinstance(space, Mapping):
        value = space["low"] * (space["high"] / space["low"]) ** position
        return float(f"{value:.4g}")
    return space[int(position * len(space))]


def move_edges(method: str, search: Mapping[str, Any], trial: int) -> dict[str, Any]:
    """Move the values at an end of their range or list one step beyond it."""
    values = draw(method, search, trial) if trial < BEYOND else {}
    ends = {knob: _end(search[knob], value) for knob, value in values.items()}
    further = {knob: _beyond(search[knob], values[knob], end) for knob, end in ends.items() if end}
    return {knob: value for knob, value in further.items() if value != values[knob]}


def _beyond(space: Any, value: Any, end: int) -> Any:
    """Go beyond a range by REACH, or beyond a list by its last ratio: 16, 32 -> 64.

    Whole numbers stay at least 1.
    """
    if isinstance(space, Mapping):
        return _value(space, _share(space, value) + REACH * end)
    before = sorted(space)[-2 if end > 0 else 1]
    further = value * value / before
    return max(round(further), 1) if isinstance(value, int) else float(f"{further:.4g}")


def _share(space: Mapping[str, float], value: float) -> float:
    return math.log(value / space["low"]) / math.log(space["high"] / space["low"])


def _end(space: Any, value: Any) -> int:
    """Give -1 at the lower end of a range, 1 at the upper one, 0 in between."""
    if isinstance(space, Mapping):
        low, high = _share(space, value) < MARGIN, _share(space, value) > 1 - MARGIN
    elif len(space) > 2 and all(isinstance(choice, int | float) for choice in space):
        low, high = value <= min(space), value >= max(space)
    else:  # two values, or names, have no middle
        return 0
    return high - low


def edges(search: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Name the knobs whose value is at an end of its range."""
    ends = {knob: _end(search[knob], value) for knob, value in values.items()}
    return [f"{k}={values[k]:g} is near its {'lowest' if end < 0 else 'highest'}" for k, end in ends.items() if end]


def set_knob(node: dict[str, Any], knob: str, value: Any) -> None:
    """Set a knob; a dotted one is in a nested node."""
    *parents, leaf = knob.split(".")
    for parent in parents:
        node = node[parent]
    node[leaf] = value


@dataclass(frozen=True)
class Selection:
    """Trial that tuning chose, and the records that it was chosen from."""

    trial: int
    loss: float  # lowest validation loss after the first step, averaged over the seeds
    trials: int
    seeds: tuple[int, ...]
    budget: dict[str, Any]  # that the tuning runs were given
    fraction: float | None
    runs: tuple[str, ...]  # ids of all tuning records that were compared
    dropped: tuple[str, ...]  # of these, the ones from which no final run goes on
    steps: int  # that all of them took
    seconds: float


def select(records: Iterable[Record], config: dict[str, Any], free: Collection[str]) -> Selection:
    """Choose the trial with the lowest validation loss, averaged over the seeds.

    The loss of a run is the lowest of its validations after the first step, since its final run answers with that
    state. It is a proper score of every validation example, whereas BLEU or accuracy of a few answers vary by chance.
    Ties go to fewer trainable parameters, then to the lower trial. Compared are tuning records that differ from config
    only in free knobs, seed, trial, budget and fraction, and that ran to the last step of their budget; where tuning
    had several budgets, those with config's. Raises NoSelectionError where there are none, or where a trial lacks a
    seed that another has, unless some trials were stopped early by halving.
    """
    compared = tuning_records(records, config, free)
    trials: dict[int, list[Record]] = {}
    ended = [record for record in compared if not record.config.get("until")]
    for record in sorted(ended, key=lambda r: r.seed):
        trials.setdefault(record.trial, []).append(record)
    seeds = sorted({r.seed for r in ended})
    complete = {trial: runs for trial, runs in trials.items() if len({r.seed for r in runs}) == len(seeds)}
    if len(ended) == len(compared) and (lacking := sorted(trials.keys() - complete.keys())):
        missing = sorted(set(seeds) - {r.seed for r in trials[lacking[0]]})
        raise NoSelectionError(f"trial=selected: tuning is not complete, trial {lacking[0]} lacks seed {missing[0]}")
    if not ended:
        raise NoSelectionError(
            "trial=selected: tuning is not complete, no trial ran the whole budget; +sweep=tune continues it"
        )
    ranked = ranking(complete)
    if not ranked:
        raise NoSelectionError("trial=selected: every trial failed; python -m benchmark.status shows why")
    return _selection(*ranked[0], compared, seeds, _budget(choices(config)))


def _selection(best: int, loss: float, compared: Sequence[Record], seeds: Sequence[int], budget: str) -> Selection:
    going_on = [r for r in compared if r.trial == best and _budget(r.choices) == budget]
    steps, seconds = zip(*map(cost_of, compared), strict=True)
    return Selection(
        trial=best, loss=loss, trials=len({r.trial for r in compared if r.status != "skipped"}), seeds=tuple(seeds),
        budget=compared[0].config.get("budget") or {}, fraction=compared[0].config.get("fraction"),
        runs=tuple(sorted(r.run_id for r in compared)), dropped=tuple(r.run_id for r in compared if r not in going_on),
        steps=sum(steps), seconds=round(sum(seconds), 1),
    )  # fmt: skip


def cost_of(record: Record) -> tuple[int, float]:
    """Count a run's steps and seconds, without those of the run that it continued."""
    steps, seconds = (record.value("cost", f"inherited_{name}") or 0 for name in ("steps", "seconds"))
    last = max((m.step for m in record.measurements if m.split == "train" and m.step), default=0)
    return int(last - steps), record.seconds() - seconds


def ranking(trials: Mapping[int, Sequence[Record]]) -> list[tuple[int, float]]:
    """Order trials by the mean validation loss of their runs, the best first.

    Trials that failed or have no loss are left out.
    """
    means = {}
    for trial, runs in trials.items():
        losses = [lowest_loss(run) for run in runs]  # a record holds finite numbers alone
        if None not in losses and all(run.status == "done" for run in runs):
            means[trial] = statistics.fmean(losses)
    return sorted(means.items(), key=lambda one: (one[1], _size(trials[one[0]]), one[0]))


def lowest_loss(run: Record) -> float | None:
    """Give the lowest validation loss after the first step.

    The loss before the first step is the same for every trial. If it counted, trials that only get worse early in
    training would tie.
    """
    losses = [m.value for m in run.measurements if m[:2] == ("valid", "loss") and m.step]
    return min(losses, default=run.value("valid", "loss"))


def tuning_records(
    records: Iterable[Record], config: dict[str, Any], free: Collection[str], same_budget: bool = False
) -> list[Record]:
    """Filter the tuning records of config's method and task, of one budget.

    Raises NoSelectionError.
    """
    chosen = choices(config)
    shared = _shared(chosen, free)
    matching = [r for r in records if r.tuning and _shared(r.choices, free) == shared]
    if same_budget:
        matching = [r for r in matching if _budget(r.choices) == _budget(chosen)]
    return _of_one_budget(matching, chosen)


def _shared(chosen: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    """Filter the choices that two tuning records must share to be compared."""
    method = {name: value for name, value in _leaves(chosen.get("method") or {}) if name not in free}
    parts = {name: chosen.get(name) for name in ("task", "backbone", "fold", "folds")}
    return {**parts, "method": method}


def _leaves(node: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in node.items():
        yield from _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]


def _of_one_budget(records: list[Record], chosen: Mapping[str, Any]) -> list[Record]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(_budget(record.choices), []).append(record)
    if not groups:
        raise NoSelectionError(
            "trial=selected: no tuning record of this task, method and backbone; run phase=tune first"
        )
    if len(groups) > 1 and _budget(chosen) not in groups:
        budgets = sorted(_described(members[0].choices) for members in groups.values())
        raise NoSelectionError(
            f"trial=selected: tuning had {len(groups)} budgets ({'; '.join(budgets)}), none of them this run's: "
            "tune with this run's budget, or keep the records of one"
        )
    return groups[_budget(chosen)] if _budget(chosen) in groups else next(iter(groups.values()))


def _budget(chosen: Mapping[str, Any]) -> str:
    """Serialise a budget with its fraction: losses of different ones are not compared."""
    return json.dumps([chosen.get("budget"), chosen.get("fraction")], sort_keys=True)


def _described(chosen: Mapping[str, Any]) -> str:
    budget = chosen.get("budget") or {}
    return f"{budget.get('name')}, {budget.get('steps')} steps, fraction {chosen.get('fraction') or 1}"


def _size(runs: Sequence[Record]) -> float:
    return max(run.value("cost", "trainable_params") or 0 for run in runs)
