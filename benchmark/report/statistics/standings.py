"""Interval, ties and differences of each configuration of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmark.records.configurations import Configuration
from benchmark.report.comparisons import comparisons, default_configuration
from benchmark.report.statistics.estimates import Difference, Estimate, against, estimate, undecidable
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import Sample

REFERENCES = ("lora", "full")  # what everybody knows, and what PEFT wants to reach


@dataclass(frozen=True)
class Standing:
    """Interval, ties and differences of one configuration."""

    estimate: Estimate
    tied: str  # no test distinguishes configurations that share a letter
    versus: dict[str, Difference] = field(default_factory=dict)  # by reference
    undecided: str = ""  # why its comparison can have no verdict


Standings = Mapping[Configuration, Standing]


def standings(members: Sequence[Configuration], evidence: Evidence, proper: bool = False) -> Standings:
    """Return the standing of each configuration within its comparison."""
    samples = evidence.samples(members, proper)
    standing: dict[Configuration, Standing] = {}
    for comparison in comparisons(members):
        known = {one: samples[one] for one in comparison.members if one in samples}
        estimates = {one: estimate(sample) for one, sample in known.items()}
        tested = {one: sample for one, sample in known.items() if estimates[one].low is not None}
        letters = evidence.ties(tested) if len(tested) > 1 else {}
        versus = {name: _versus(name, known) for name in REFERENCES}
        for one in known:
            near = {name: differences[one] for name, differences in versus.items() if one in differences}
            standing[one] = Standing(estimates[one], letters.get(one, ""), near, _undecided(known))
    return standing


def _undecided(samples: Mapping[Configuration, Sample]) -> str:
    """Write why no pair can be clear; empty where one can."""
    pairs = math.comb(len(samples), 2)
    if not pairs or not undecidable(samples, pairs):
        return ""
    drawn = min(sample.drawn for sample in samples.values() if sample.drawn)
    return f"no verdict on {pairs} pair{'s' * (pairs > 1)}: {drawn} groups of test examples are too few for it"


def _versus(method: str, samples: Mapping[Configuration, Sample]) -> dict[Configuration, Difference]:
    """Compare with the default configuration of a method, if there is one."""
    chosen = default_configuration([one for one in samples if one.method == method])
    return against(chosen, samples) if chosen else {}
