"""Where each setting of a table stands: its interval, its ties, and how far it is from LoRA and from full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmark.report.evidence import Evidence
from benchmark.report.groups import ANY_SOURCE, Group
from benchmark.report.meant import meant
from benchmark.report.samples import Sample
from benchmark.report.statistics import Difference, Estimate, against, estimate, undecidable

REFERENCES = ("lora", "full")  # what everybody knows, and what PEFT wants to reach


@dataclass(frozen=True)
class Standing:
    """What a table says of one setting beside its mean."""

    estimate: Estimate
    tied: str  # settings that share a letter are not told apart
    versus: dict[str, Difference] = field(default_factory=dict)  # by reference
    undecided: str = ""  # why its comparison can have no verdict


def standings(groups: Sequence[Group], evidence: Evidence, proper: bool = False) -> dict[int, Standing]:
    """Compare groups that differ in their method alone, and give each one's standing by its place."""
    boards: dict[tuple, dict[str, Sample]] = {}
    for place, sample in evidence.beside(groups, proper).items():
        boards.setdefault(groups[place].shared(ANY_SOURCE), {})[str(place)] = sample
    found: dict[int, Standing] = {}
    for samples in boards.values():
        estimates = {place: estimate(sample) for place, sample in samples.items()}
        tested = {place: sample for place, sample in samples.items() if estimates[place].low is not None}
        letters = evidence.ties(tested) if len(tested) > 1 else {}
        versus = {name: _from(name, groups, samples) for name in REFERENCES}
        for place in samples:
            near = {name: differences[place] for name, differences in versus.items() if place in differences}
            found[int(place)] = Standing(estimates[place], letters.get(place, ""), near, _undecided(samples))
    return found


def _undecided(samples: dict[str, Sample]) -> str:
    """Say why no pair can be told apart, where there are pairs."""
    pairs = math.comb(len(samples), 2)
    if not pairs or not undecidable(samples, pairs):
        return ""
    drawn = min(sample.drawn for sample in samples.values() if sample.drawn)
    return f"no verdict on {pairs} pair{'s' * (pairs > 1)}: {drawn} groups of test examples are too few for it"


def _from(method: str, groups: Sequence[Group], samples: dict[str, Sample]) -> dict[str, Difference]:
    """Compare with the setting that is meant by a method's name, if there is one."""
    places = {id(group): place for place in samples if (group := groups[int(place)]).method == method}
    chosen = meant([groups[int(place)] for place in places.values()])
    return against(places[id(chosen)], samples) if chosen else {}
