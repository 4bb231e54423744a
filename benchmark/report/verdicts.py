"""What becomes of the claims of others on our records, with the numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmark.report.claimed import NOT_CONFIRMED, NOT_TESTED, Claim, Comparison, Measured, Setting, Verdict, verdict
from benchmark.report.evidence import Evidence
from benchmark.report.groups import ANY_SOURCE, WHOLE, Group
from benchmark.report.samples import Sample
from benchmark.report.statistics import estimate
from benchmark.report.tables import METHOD, Table
from benchmark.report.views import MEASURING, TUNED

LEGEND = (
    "What studies claim (results/claims.yaml) and what our records say of it, on small networks and data that stand in "
    "for theirs. confirmed: every needed difference is above zero, or above minus the margin, with its whole 95 % "
    "interval; not confirmed: one is clearly below (paired test, Holm's correction over the claim's comparisons); "
    "inconclusive: neither; not tested: a setting was not run, or nothing here can test it. Differences are of "
    "headline scores, paired by seed and test example, from the budget with most seeds; of several, the one whose "
    "interval ends lowest is shown, of a claim that is not confirmed the one that is below most clearly. Of one seed, "
    "an interval tells what other test examples would do, not what another seed would. " + METHOD
)


class Judge:
    """Measures the difference of two settings on the records."""

    def __init__(self, grids: Mapping[tuple[str, str], Sequence[Group]], evidence: Evidence) -> None:
        self.grids, self.evidence = grids, evidence
        self.measured: dict[str, str] = {}  # at which budget and with how many seeds

    def difference(self, need: Comparison) -> Measured | None:
        """Take the budget with most seeds, tuned before default; None where no meeting of the two has an interval."""
        known = [
            (len(both.scores), budget.endswith(TUNED), budget, both)
            for (task, budget), groups in self.grids.items()
            if task == need.one.task and budget != MEASURING
            for both in self._meetings(groups, need.one, need.other)
            if estimate(both).low is not None
        ]
        if not known:
            return None
        seeds, _, budget, both = max(known, key=lambda entry: entry[:3])
        self.measured[_name(need.one, need.other)] = f"{budget}, {seeds} seed{'s' * (seeds > 1)}"
        found = estimate(both)
        return Measured(found.value, found.low, found.high, estimate(both.plus(need.margin)).p)  # type: ignore[arg-type]

    def _meetings(self, groups: Sequence[Group], one: Setting, other: Setting) -> Iterator[Sample]:
        apart = one.changes.keys() | other.changes.keys() | {*ANY_SOURCE}
        for mine in _matching(groups, one):
            for its in _matching(groups, other):
                if mine.shared(apart) != its.shared(apart):
                    continue
                kinds = mine.shared(ANY_SOURCE), its.shared(ANY_SOURCE)
                beside = [group for group in groups if group.shared(ANY_SOURCE) in kinds]
                known = {id(beside[place]): sample for place, sample in self.evidence.beside(beside).items()}
                mine_, its_ = known.get(id(mine)), known.get(id(its))
                if mine_ and its_ and (both := mine_.paired(its_)):
                    yield both


def _matching(groups: Sequence[Group], setting: Setting) -> list[Group]:
    """Find the groups of a setting; where it could be any of several of one kind, none."""
    wanted = {key: _text(value) for key, value in setting.changes.items()}
    found = [
        group
        for group in groups
        if (group.method, group.backbone) == (setting.method, setting.backbone)
        and group.done
        and not group.control
        and all(group.settings.get(key) == value for key, value in wanted.items())
        # where a claim names none, all examples and no solved size are meant
        and ("fraction" in wanted or group.part == WHOLE)
        and ("size" in wanted or "size" not in group.settings)
    ]
    kinds = [group.shared() for group in found]
    return [group for group, kind in zip(found, kinds, strict=True) if kinds.count(kind) == 1]


def _name(one: Setting, other: Setting) -> str:
    return f"{one.task} {one.backbone}: {one} less {other}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def table(claims: Iterable[Claim], judge: Judge) -> Table:
    """Lay out a row per claim, in the order of the file."""
    made = Table("claims", ["study", "claim", "checked on", "verdict", "numbers"], legend=LEGEND, words=5)
    for claim in claims:
        judged = verdict(claim, judge.difference)
        words = f"{claim.words} ({claim.where}; {claim.original})"
        place = f"{claim.task}, {claim.backbone}" if claim.task else ""
        if judged.word == NOT_TESTED:
            numbers = str(claim.check.get("untested") or _lacking(judged.rests_on))
        else:
            numbers = _numbers(judged, judge)
        made.rows.append([claim.study, words, place, judged.word, numbers])
    return made


def _lacking(rests_on: Sequence[tuple[Comparison, Measured | None]]) -> str:
    """Name what stands in each comparison that was not made, or in none that was."""
    made = {str(s) for need, found in rests_on if found for s in (need.one, need.other)}
    open_ = dict.fromkeys(str(s) for need, found in rests_on if not found for s in (need.one, need.other))
    names = ", ".join(s for s in open_ if s not in made) or ", ".join(open_)
    return f"not run beside each other, or without predictions: {names}"


def _numbers(judged: Verdict, judge: Judge) -> str:
    known = [(need, found) for need, found in judged.rests_on if found is not None]
    need, (value, low, high, _) = min(known, key=lambda pair: pair[1].high + pair[0].margin)
    if judged.word == NOT_CONFIRMED:
        below = [(need, found) for need, found in known if found.value + need.margin < 0]
        need, (value, low, high, _) = min(below, key=lambda pair: pair[1].p)
    hold = sum(found.low + need.margin > 0 for need, found in known)
    margin = f", margin {need.margin:g}" if need.margin else ""
    many = f"{hold} of {len(known)} comparisons hold; " if len(known) > 1 else ""
    digits = 2 if max(abs(low), abs(high)) >= 1 else 4
    shown = [f"{v:+.{digits}f}" for v in (value, low, high)]
    difference = f"{need.one} less {need.other}: {shown[0]} ({shown[1]} to {shown[2]}){margin}"
    return f"{many}{difference}; {judge.measured[_name(need.one, need.other)]}"
