"""Choose among the configurations of a comparison, by score and by cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.records.configurations import Configuration
from benchmark.report.comparisons import Comparison, comparisons, tables
from benchmark.report.costs import MEMORY, STEP, Cost, Costs, front
from benchmark.report.runnable import Capable
from benchmark.report.statistics.estimates import Estimate, against, estimate
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import Sample
from benchmark.report.views import MEASURING, Run

COSTS = ("trainable_params", MEMORY, STEP)  # what a score is compared with
MEANINGLESS = (MEASURING, "smoke")  # budgets whose scores say nothing
LIKE = 2.0  # times as many examples, or as few, are a like number
ENOUGH = 3  # seeds


@dataclass(frozen=True)
class Candidate:
    """A configuration with its score, costs and verdict.

    The verdict is best, tied, worse, or open where no test is possible.
    """

    configuration: Configuration
    estimate: Estimate
    merges: bool
    costs: Mapping[str, Cost]
    verdict: str = "best"
    least: tuple[str, ...] = ()  # costs for which nothing that scores higher takes less

    @property
    def name(self) -> str:
        """Name the method, and what distinguishes it from others of the comparison."""
        shown = ", ".join(self.configuration.differences)
        return f"{self.configuration.method} ({shown})" if shown else self.configuration.method


@dataclass(frozen=True)
class Limit:
    """An upper limit of a cost; without a cost, the method must merge."""

    key: str
    cost: str = ""
    most: float = 0.0
    unit: float = 1.0  # of the key, in the unit of the cost

    def __str__(self) -> str:
        return f"{self.key}={self.most:g}" if self.cost else f"{self.key}=true"

    def excess(self, candidate: Candidate) -> float:
        """Return cost over limit: at most 1 fits, and so does an unknown cost."""
        if not self.cost:
            return 1.0 if candidate.merges else math.inf
        known = candidate.costs.get(self.cost)
        return known.value / (self.most * self.unit) if known else 1.0

    def fits(self, candidate: Candidate) -> bool:
        """Whether a candidate keeps the limit, as far as its cost is known."""
        return self.excess(candidate) <= 1


def options(runs: Sequence[Run], backbone: str) -> list[Comparison]:
    """List the comparisons of one task and backbone that have real scores."""
    members = [one for table in tables(runs).values() for one in table if one.backbone == backbone and not one.control]
    by_view = {view: [one for one in members if one.view == view] for view in {one.view for one in members}}
    every = [comparison for view in by_view.values() for comparison in comparisons(view)]
    return [comparison for comparison in every if comparison.budget not in MEANINGLESS]


def best(known: Sequence[Comparison], examples: int | None = None) -> list[Comparison]:
    """Sort comparisons by evidence, the best first.

    Those with a similar number of examples come first, then by methods and seeds, then by steps.
    """

    def order(one: Comparison) -> tuple:
        far = distance(one, examples)
        steps = (one.records[0].config.get("budget") or {}).get("steps") or 0
        return round(math.log2(far), 1) if far > LIKE else 0, -_weight(one), -steps, one.budget, one.view

    return sorted(known, key=order)


def distance(one: Comparison, examples: int | None) -> float:
    """Return the ratio of recorded and wanted examples, at least 1."""
    if examples is None or not one.examples:
        return 1.0
    return max(one.examples / examples, examples / one.examples)


def _weight(one: Comparison) -> int:
    """Weigh the evidence: a second seed counts more than another method."""
    seeds = {m: max(len(member.rounds) for member in one.members if member.method == m) for m in one.methods}
    return sum(min(count, ENOUGH) ** 2 for count in seeds.values())


def candidates(
    comparison: Comparison, evidence: Evidence, able: Mapping[str, Capable], costs: Costs
) -> list[tuple[Candidate, Sample]]:
    """Collect the configurations with a score, the best first, with their samples."""
    samples = evidence.samples(comparison.members)
    priced = {name: dict(zip(samples, costs.of(list(samples), name), strict=True)) for name in COSTS}
    made = []
    for one, sample in samples.items():
        known = {name: cost for name, by_one in priced.items() if (cost := by_one[one])}
        merges = one.method in able and able[one.method].merges
        made.append((Candidate(one, estimate(sample), merges, known), sample))
    return sorted(made, key=lambda pair: (-pair[0].estimate.value, pair[0].name))


def judged(fitting_samples: Sequence[tuple[Candidate, Sample]]) -> list[Candidate]:
    """Test each candidate against the first, and find the Pareto fronts.

    The tests are paired and corrected for their number (Holm).
    """
    if not fitting_samples:
        return []
    differences = against(0, dict(enumerate(sample for _, sample in fitting_samples)))
    verdicts = ["best"]
    for number in range(1, len(fitting_samples)):
        known = differences.get(number)
        verdicts.append("worse" if known and known.clear else "tied" if known and known.p is not None else "open")
    fitting = [candidate for candidate, _ in fitting_samples]
    fronts = {name: front_of(fitting, name) for name in COSTS}
    return [
        Candidate(
            one.configuration, one.estimate, one.merges, one.costs, verdict,
            tuple(name for name, members in fronts.items() if one in members),
        )
        for one, verdict in zip(fitting, verdicts, strict=True)
    ]  # fmt: skip


def front_of(fitting: Sequence[Candidate], name: str) -> list[Candidate]:
    """Return the Pareto front of a cost; empty where the cost is not known.

    A method that trains nothing has no step time, so that cost may be missing for some.
    """
    known = [one for one in fitting if name in one.costs]
    if not known or (len(known) < len(fitting) and name != STEP):
        return []
    on = front([one.costs[name] for one in known], [one.estimate.value for one in known])
    return list(itertools.compress(known, on))
