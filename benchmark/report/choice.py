"""Choosing among the settings of a board: what keeps within limits, what nothing beats, what ties with the best."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.report.boards import Board
from benchmark.report.configurations import Group
from benchmark.report.costs import MEMORY, STEP, Cost, Costs, front
from benchmark.report.runnable import Capable
from benchmark.report.statistics.estimates import Difference, Estimate, against, estimate
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import Sample

COSTS = ("trainable_params", MEMORY, STEP)  # what a score is held against
TRAINING = "train_seconds"


@dataclass(frozen=True)
class Candidate:
    """A setting of a board with all that a choice rests on."""

    group: Group
    sample: Sample
    estimate: Estimate
    merges: bool
    costs: Mapping[str, Cost]

    @property
    def name(self) -> str:
        """Name the method, and what tells it from others of the board."""
        told = ", ".join(self.group.differences)
        return f"{self.group.method} ({told})" if told else self.group.method


@dataclass(frozen=True)
class Limit:
    """Something that a method must keep within; most is none for merging, which it can or cannot."""

    key: str
    cost: str = ""
    most: float = 0.0
    unit: float = 1.0  # of the key, in what the cost is measured in

    def __str__(self) -> str:
        return f"{self.key}={self.most:g}" if self.cost else f"{self.key}=true"

    def excess(self, candidate: Candidate) -> float:
        """Say how many times too much a candidate takes: at most 1 fits; what was not measured is not excluded."""
        if not self.cost:
            return 1.0 if candidate.merges else float("inf")
        known = candidate.costs.get(self.cost)
        return known.value / (self.most * self.unit) if known else 1.0

    def fits(self, candidate: Candidate) -> bool:
        """Whether a candidate keeps within it, as far as that is known."""
        return self.excess(candidate) <= 1


def candidates(board: Board, evidence: Evidence, able: Mapping[str, Capable], costs: Costs) -> list[Candidate]:
    """Collect the scored settings, the best first."""
    scored = [(board.groups[place], sample) for place, sample in sorted(evidence.beside(board.groups).items())]
    priced = {name: costs.of([group for group, _ in scored], name) for name in (*COSTS, TRAINING)}
    found = []
    for place, (group, sample) in enumerate(scored):
        merges = group.method in able and able[group.method].merges
        known = {name: cost for name, of in priced.items() if (cost := of[place])}
        found.append(Candidate(group, sample, estimate(sample), merges, known))
    return sorted(found, key=lambda c: (-c.estimate.value, c.name))


def fronts(found: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Give for each cost the Pareto front. It counts where it is known of all; who does not train has no step."""
    known = {name: [c for c in found if name in c.costs] for name in COSTS}
    whole = [name for name in COSTS if len(known[name]) == len(found) or (name == COSTS[-1] and known[name])]
    members = {}
    for name in whole:
        on = front([c.costs[name] for c in known[name]], [c.estimate.value for c in known[name]])
        members[name] = list(itertools.compress(known[name], on))
    return members


def versus_best(found: Sequence[Candidate]) -> dict[int, Difference]:
    """Compare each candidate with the first by a paired test, corrected for their number; by its place."""
    samples = {str(place): candidate.sample for place, candidate in enumerate(found)}
    return {int(place): difference for place, difference in against("0", samples).items()} if found else {}
