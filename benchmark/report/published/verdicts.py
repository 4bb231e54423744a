"""The table of claims: verdicts with their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from benchmark.records.configurations import ANY_SOURCE, WHOLE, Configuration
from benchmark.report.comparisons import Tables
from benchmark.report.published.claims import (
    NOT_CONFIRMED,
    NOT_TESTED,
    Claim,
    Measured,
    Requirement,
    Setting,
    Verdict,
    verdict,
)
from benchmark.report.statistics.estimates import estimate
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import Sample
from benchmark.report.tables.scores import METHOD
from benchmark.report.tables.table import Table
from benchmark.report.views import MEASURING, TUNED

LEGEND = (
    "Claims of studies (results/claims.yaml), checked on the records here. Networks and data here are small and "
    "differ from those of the studies. confirmed: the whole 95 % interval of every needed difference lies above zero, "
    "or above minus the margin. not confirmed: one difference is clearly below it (paired test, Holm's correction "
    "over the comparisons of the claim). inconclusive: neither. not tested: a setting was not run, or no run here can "
    "test it. Differences are of headline scores, paired by seed and test example, under the budget with most seeds. "
    "Of several differences, the one whose interval ends lowest is shown; for a claim that is not confirmed, the one "
    "that is most clearly below. With one seed, the interval covers other test examples, not other seeds. " + METHOD
)


class Judge:
    """Measures the difference of two settings on the records."""

    def __init__(self, tables: Tables, evidence: Evidence) -> None:
        self.tables = tables
        self.samples = cache(lambda key: evidence.samples(tables[key]))
        self.measured: dict[str, str] = {}  # at which budget and with how many seeds

    def difference(self, need: Requirement) -> Measured | None:
        """Return the difference under the budget with most seeds.

        Tuned before default settings; None where no pair has an interval.
        """
        known = [
            (len(both.scores), budget.endswith(TUNED), budget, both)
            for task, budget in self.tables
            if task == need.one.task and budget != MEASURING
            for both in self._pairs((task, budget), need.one, need.other)
            if estimate(both).low is not None
        ]
        if not known:
            return None
        seeds, _, budget, both = max(known, key=lambda entry: entry[:3])
        self.measured[_name(need.one, need.other)] = f"{budget}, {seeds} seed{'s' * (seeds > 1)}"
        difference = estimate(both)
        return Measured(difference.value, difference.low, difference.high, estimate(both.plus(need.margin)).p)  # type: ignore[arg-type]

    def _pairs(self, key: tuple[str, str], one: Setting, other: Setting) -> Iterator[Sample]:
        """Pair configurations that differ only in what the claim names."""
        named = one.changes.keys() | other.changes.keys() | {*ANY_SOURCE}
        for first in _matching(self.tables[key], one):
            for second in _matching(self.tables[key], other):
                if first.conditions(named) == second.conditions(named):
                    sides = [self.samples(key).get(side) for side in (first, second)]
                    if all(sides) and (both := sides[0].paired(sides[1])):
                        yield both


def _matching(members: Sequence[Configuration], setting: Setting) -> list[Configuration]:
    """Return the configurations of a setting; ambiguous ones are left out."""
    wanted = {key: _text(value) for key, value in setting.changes.items()}
    matching = [
        one
        for one in members
        if (one.method, one.backbone) == (setting.method, setting.backbone)
        and one.done
        and not one.control
        and all(one.settings.get(key) == value for key, value in wanted.items())
        # a claim that names neither is about all examples and no solved size
        and ("fraction" in wanted or one.part == WHOLE)
        and ("size" in wanted or "size" not in one.settings)
    ]
    conditions = [one.conditions(()) for one in matching]
    return [one for one, same in zip(matching, conditions, strict=True) if conditions.count(same) == 1]


def _name(one: Setting, other: Setting) -> str:
    return f"{one.task} {one.backbone}: {one} less {other}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def table(claims: Iterable[Claim], judge: Judge) -> Table:
    """Lay out a row per claim, in the order of the file."""
    made = Table("claims", ["study", "claim", "checked on", "verdict", "numbers"], legend=LEGEND, names=5)
    for claim in claims:
        judged = verdict(claim, judge.difference)
        text = f"{claim.words} ({claim.where}; {claim.original})"
        where = f"{claim.task}, {claim.backbone}" if claim.task else ""
        if judged.word == NOT_TESTED:
            numbers = str(claim.check.get("untested") or _lacking(judged.rests_on))
        else:
            numbers = _numbers(judged, judge)
        made.rows.append([claim.study, text, where, judged.word, numbers])
    return made


def _lacking(rests_on: Sequence[tuple[Requirement, Measured | None]]) -> str:
    """Name the settings that keep a claim from being tested."""
    made = {str(s) for need, measured in rests_on if measured for s in (need.one, need.other)}
    open_ = dict.fromkeys(str(s) for need, measured in rests_on if not measured for s in (need.one, need.other))
    names = ", ".join(s for s in open_ if s not in made) or ", ".join(open_)
    return f"not run beside each other, or without predictions: {names}"


def _numbers(judged: Verdict, judge: Judge) -> str:
    known = [(need, measured) for need, measured in judged.rests_on if measured is not None]
    need, (value, low, high, _) = min(known, key=lambda pair: pair[1].high + pair[0].margin)
    if judged.word == NOT_CONFIRMED:
        below = [(need, measured) for need, measured in known if measured.value + need.margin < 0]
        need, (value, low, high, _) = min(below, key=lambda pair: pair[1].p)
    hold = sum(measured.low + need.margin > 0 for need, measured in known)
    margin = f", margin {need.margin:g}" if need.margin else ""
    many = f"{hold} of {len(known)} comparisons hold; " if len(known) > 1 else ""
    digits = 2 if max(abs(low), abs(high)) >= 1 else 4
    shown = [f"{v:+.{digits}f}" for v in (value, low, high)]
    difference = f"{need.one} less {need.other}: {shown[0]} ({shown[1]} to {shown[2]}){margin}"
    return f"{many}{difference}; {judge.measured[_name(need.one, need.other)]}"
