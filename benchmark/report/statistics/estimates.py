"""Intervals, paired differences, ties, and shares of the variance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from benchmark.report.statistics.samples import FEWEST, Sample, of_examples
from benchmark.report.statistics.tails import p_values

LEVEL = 0.95
Samples = Mapping[Any, Sample]  # by configuration, or by a name of it


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, where its variance is known."""

    value: float
    low: float | None
    high: float | None
    p: float | None  # of a two-sided test whether it is zero
    error: float  # its standard error
    seeds: int
    examples: int  # 0: no predictions are stored
    groups: int = 0  # that these come in; 0: each is its own

    @property
    def few(self) -> bool:
        """Whether too few groups were drawn for an interval."""
        return 0 < (self.groups or self.examples) < FEWEST


def estimate(sample: Sample) -> Estimate:
    """Return the mean over seeds with its interval, within the score's scale.

    Cutting an interval off there costs nothing: the truth lies between them. There is none without predictions, since
    seeds agree by chance, above all where a score has few values.
    """
    value, seeds, error = sample.mean(), len(sample.scores), sample.error()
    complete = len(sample.draws) == seeds
    if error is None:
        return Estimate(value, None, None, None, 0.0, seeds, sample.size * complete, sample.groups * complete)
    half, spread = error.half_width(LEVEL), math.sqrt(error.variance())
    low, high = (sample.scale.within(end) for end in (value - half, value + half))
    p = float(p_values([value], [error])[0]) if spread else float(not value)
    return Estimate(value, low, high, p, spread, seeds, sample.size, sample.groups)


@dataclass(frozen=True)
class Difference:
    """One setting less another, seed by seed and example by example."""

    estimate: Estimate
    p: float | None
    adjusted: float | None  # for all that were compared (Holm 1979)

    @property
    def clear(self) -> bool:
        """Whether it differs from zero after the correction."""
        return self.adjusted is not None and self.adjusted < 1 - LEVEL


def against(reference: Any, samples: Samples) -> dict[Any, Difference]:
    """Compare every setting with a reference, corrected for their number.

    A setting without a common seed is left out.
    """
    others = {name: sample.paired(samples[reference]) for name, sample in samples.items() if name != reference}
    estimates = {name: estimate(pair) for name, pair in others.items() if pair}
    adjusted = holm({name: e.p for name, e in estimates.items()})
    return {name: Difference(e, e.p, adjusted.get(name)) for name, e in estimates.items()}


def undecidable(samples: Samples, tests: int) -> bool:
    """Whether too few groups were drawn for so many tests to be clear."""
    drawn = [sample.drawn for sample in samples.values() if sample.drawn]
    return bool(drawn) and (min(drawn) < FEWEST or tests * 2 ** (1 - min(drawn)) >= 1 - LEVEL)


def holm(values: Mapping[Any, float | None]) -> dict[Any, float]:
    """Correct p values for their number (Holm 1979); None takes no part."""
    ordered = sorted((p, number) for number, p in enumerate(values.values()) if p is not None)
    raised = [p * (len(ordered) - step) for step, (p, _) in enumerate(ordered)]
    names = list(values)
    corrected = np.minimum(np.maximum.accumulate(raised), 1.0).tolist() if ordered else []
    adjusted = {number: p for (_, number), p in zip(ordered, corrected, strict=True)}
    return {names[number]: adjusted[number] for number in sorted(adjusted)}


def ties(samples: Samples) -> dict[Any, str]:
    """Give a common letter to settings without a clear difference.

    The best setting has the first letter (Piepho 2004).

    What can be paired with no other has none.
    """
    ranked = sorted(samples, key=lambda name: -samples[name].scale.better * samples[name].mean())
    differences = {pair: both for pair in itertools.combinations(ranked, 2) if (both := _pair(samples, pair))}
    adjusted = holm(_tested(differences))
    apart = [pair for pair in differences if adjusted.get(pair, 1.0) < 1 - LEVEL]
    ranked = [name for name in ranked if any(name in pair for pair in differences)]
    groups = [frozenset(ranked)]
    for one, other in apart:
        split = [g - {name} for g in groups if {one, other} <= g for name in (one, other)]
        others = [g for g in groups if not {one, other} <= g]
        groups = [g for g in {*others, *split} if not any(g < larger for larger in {*others, *split})]
    ordered = sorted(groups, key=lambda g: sorted(ranked.index(name) for name in g))
    return {name: "".join(_letter(i) for i, g in enumerate(ordered) if name in g) for name in samples}


def _tested(pairs: Mapping[tuple[Any, Any], Sample]) -> dict[tuple[Any, Any], float]:
    """Return the p values of all pairs at once, as estimate() does."""
    known = {pair: error for pair, both in pairs.items() if (error := both.error())}
    p = p_values([pairs[pair].mean() for pair in known], list(known.values()))
    return dict(zip(known, p.tolist(), strict=True))


def _pair(samples: Samples, names: tuple[Any, Any]) -> Sample | None:
    one, other = (samples[name] for name in names)
    return one.paired(other)


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"({index + 1})"


def split(samples: Samples) -> dict[str, float] | None:
    """Split the variance of scores into method, seed and rest.

    Over the seeds that all settings have.

    Components of a two-way analysis of variance from its expected mean squares, none below 0 (Searle, Casella and
    McCulloch 1992): plain sums of squares would give a third of the variance to 25 methods that are all the same.
    """
    seeds = set.intersection(*(set(s.scores) for s in samples.values())) if samples else set()
    table = np.array([[sample.scores[seed] for seed in sorted(seeds)] for sample in samples.values()])
    if min(table.shape, default=0) < 2 or not table.var():
        return None
    methods, runs = table.shape
    by_method, by_seed = runs * table.mean(1).var(ddof=1), methods * table.mean(0).var(ddof=1)
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    rest = (left**2).sum() / ((methods - 1) * (runs - 1))
    parts = {
        "method": max((by_method - rest) / runs, 0.0), "seed": max((by_seed - rest) / methods, 0.0), "rest": rest,
    }  # fmt: skip
    return {name: float(part / sum(parts.values())) for name, part in parts.items()}


@dataclass(frozen=True)
class Needed:
    """What a paired test needs to find a gap that is there, in four of five tries."""

    seeds: int | None  # on this test set; None where no number of seeds would do
    examples: int  # as these, were there no other seeds to meet


def needed(samples: Samples, gap: float, power: float = 0.8, most: int = 1000) -> Needed | None:
    """Count the seeds and test examples that find a difference.

    For two settings that vary as these do on average; None if unknown.

    The variance of a difference is that between seeds over their number, plus what the examples do to all seeds.
    """
    pairs = [one.paired(other) for one, other in itertools.combinations(samples.values(), 2)]
    known = [p for p in pairs if p and len(p.scores) == len(p.draws) > 1]
    if not known:
        return None
    by_seed = float(np.mean([p.variance() for p in known]))
    varied = [(len(p.draws), *of_examples(p)) for p in known]
    shared = float(np.mean([max(alone - noise / seeds, 0.0) for seeds, noise, alone in varied]))
    size, drawn = known[0].size, known[0].drawn
    enough = (n for n in range(2, most) if _power(gap, by_seed / n, n, shared, drawn) >= power)
    reach = sum(map(stats.norm.isf, ((1 - LEVEL) / 2, 1 - power)))  # standard errors between zero and the gap
    return Needed(next(enough, None), math.ceil(size * shared * (reach / gap) ** 2))


def _power(gap: float, by_seeds: float, seeds: int, shared: float, size: int) -> float:
    """Return how often the test of estimate() finds a positive gap."""
    variance = by_seeds + shared
    if not variance:
        return 1.0
    freedom = variance / (by_seeds / (seeds - 1) + shared / max(size - 1, 1))
    return float(stats.nct.sf(stats.t.isf((1 - LEVEL) / 2, freedom), freedom, gap / math.sqrt(variance)))
