"""What scores say beyond their means: intervals, paired differences, ties, and what a seed is worth.

A score varies with the seed and with the examples that happen to be in the test set. Every seed meets the same
examples, so the two are crossed: the variance of a mean over S seeds is that between the seeds over S, plus what other
examples would do to all seeds alike. Drawing examples shows both what they do to all seeds and what they do to each;
the second is part of the variance between seeds already, and is not counted twice (Owen and Eckles 2012, arXiv
1106.2125).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

LEVEL = 0.95


@dataclass(frozen=True)
class Sample:
    """A setting's headline score: by seed, and for each seed on every drawn test set."""

    scores: Mapping[int, float]
    draws: Mapping[int, np.ndarray]  # empty where a seed has no stored predictions
    examples: str = ""  # which ones: only those of the same can be paired
    size: int = 0  # how many

    def paired(self, other: Sample) -> Sample | None:
        """Subtract another setting seed by seed, draw by draw; None without a common seed, or of other examples."""
        seeds = [seed for seed in self.scores if seed in other.scores]
        if not seeds or (self.examples and other.examples and self.examples != other.examples):
            return None
        both = [seed for seed in seeds if seed in self.draws and seed in other.draws]
        return Sample(
            {seed: self.scores[seed] - other.scores[seed] for seed in seeds},
            {seed: self.draws[seed] - other.draws[seed] for seed in both},
            self.examples,
            self.size,
        )

    def plus(self, amount: float) -> Sample:
        """Raise every score by an amount."""
        scores = {seed: score + amount for seed, score in self.scores.items()}
        return Sample(scores, {seed: drawn + amount for seed, drawn in self.draws.items()}, self.examples, self.size)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; without one where nothing says how it varies."""

    value: float
    low: float | None
    high: float | None
    p: float | None  # of a two-sided test whether it is zero
    error: float  # its standard error
    seeds: int
    examples: int  # 0: no predictions are stored


def estimate(sample: Sample) -> Estimate:
    """Average over seeds, and say how sure that is.

    The degrees of freedom are the harmonic mean of the two variances' own, weighted by them; Satterthwaite's (1946)
    trust a small variance of three seeds, and their intervals hold the truth in as few as 92 % of tries. No interval is
    narrower than that over examples alone: seeds agree by chance, above all where a score has few values. For the same
    reason there is none without predictions.
    """
    scores, seeds = np.array(list(sample.scores.values())), len(sample.scores)
    complete = len(sample.draws) == seeds
    value = float(scores.mean())
    if not complete:
        return Estimate(value, None, None, None, 0.0, seeds, 0)
    by_seeds = float(scores.var(ddof=1)) / seeds if seeds > 1 else 0.0
    alone, shared = _of_examples(np.array(list(sample.draws.values())))
    spent = by_seeds / max(seeds - 1, 1) + shared / max(sample.size - 1, 1)
    ways = [(by_seeds + shared, (by_seeds + shared) / spent if spent else 1.0), (alone, max(sample.size - 1, 1))]
    ways = [(math.sqrt(variance), freedom) for variance, freedom in ways if variance > 0]
    if not ways:
        return Estimate(value, value, value, float(not value), 0.0, seeds, sample.size)
    half = max(float(stats.t.isf((1 - LEVEL) / 2, freedom)) * error for error, freedom in ways)
    p = max(float(2 * stats.t.sf(abs(value) / error, freedom)) for error, freedom in ways)
    return Estimate(value, value - half, value + half, p, max(error for error, _ in ways), seeds, sample.size)


def _of_examples(drawn: np.ndarray) -> tuple[float, float]:
    """Say how the mean over seeds varies with the examples: in all, and without what shows between seeds already."""
    alone, pairs = float(drawn.mean(0).var(ddof=1)), itertools.combinations(drawn, 2)
    noise = float(np.mean([(one - other).var(ddof=1) / 2 for one, other in pairs])) if len(drawn) > 1 else 0.0
    return alone, max(alone - noise / len(drawn), 0.0)


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


def against(reference: str, samples: Mapping[str, Sample]) -> dict[str, Difference]:
    """Compare every setting with one of them, corrected for their number; what shares no seed with it is left out."""
    others = {name: sample.paired(samples[reference]) for name, sample in samples.items() if name != reference}
    found = {name: estimate(pair) for name, pair in others.items() if pair}
    adjusted = holm({name: e.p for name, e in found.items()})
    return {name: Difference(e, e.p, adjusted.get(name)) for name, e in found.items()}


def holm(values: Mapping[str, float | None]) -> dict[str, float]:
    """Correct p values for their number; those that are None take no part."""
    from statsmodels.stats.multitest import multipletests

    known = {name: p for name, p in values.items() if p is not None}
    return (
        dict(zip(known, multipletests(list(known.values()), method="holm")[1].tolist(), strict=True)) if known else {}
    )


def ties(samples: Mapping[str, Sample]) -> dict[str, str]:
    """Letter the settings so that those share a letter which no test tells apart (Piepho 2004), best first.

    What can be paired with no other has none.
    """
    ranked = sorted(samples, key=lambda name: -np.mean(list(samples[name].scores.values())))
    found = {pair: both for pair in itertools.combinations(ranked, 2) if (both := _pair(samples, pair))}
    pairs = list(found)
    adjusted = holm({str(i): estimate(found[pair]).p for i, pair in enumerate(pairs)})
    apart = [pair for i, pair in enumerate(pairs) if adjusted.get(str(i), 1.0) < 1 - LEVEL]
    ranked = [name for name in ranked if any(name in pair for pair in pairs)]
    groups = [frozenset(ranked)]
    for one, other in apart:
        split = [g - {name} for g in groups if {one, other} <= g for name in (one, other)]
        kept = [g for g in groups if not {one, other} <= g]
        groups = [g for g in {*kept, *split} if not any(g < larger for larger in {*kept, *split})]
    ordered = sorted(groups, key=lambda g: sorted(ranked.index(name) for name in g))
    return {name: "".join(_letter(i) for i, g in enumerate(ordered) if name in g) for name in samples}


def _pair(samples: Mapping[str, Sample], names: tuple[str, str]) -> Sample | None:
    one, other = (samples[name] for name in names)
    return one.paired(other)


def _letter(index: int) -> str:
    return chr(ord("a") + index) if index < 26 else f"({index + 1})"


def split(samples: Mapping[str, Sample]) -> dict[str, float] | None:
    """Share the variance of scores out to method, seed and the rest, over the seeds that all have.

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


def needed(samples: Mapping[str, Sample], gap: float, power: float = 0.8, most: int = 1000) -> Needed | None:
    """Count the seeds, and the test examples, for two settings that vary as these do on average; None if unknown.

    The variance of a difference is that between seeds over their number, plus what the examples do to all seeds.
    """
    pairs = [one.paired(other) for one, other in itertools.combinations(samples.values(), 2)]
    known = [p for p in pairs if p and len(p.scores) == len(p.draws) > 1]
    if not known:
        return None
    by_seed = float(np.mean([np.var(list(p.scores.values()), ddof=1) for p in known]))
    shared = float(np.mean([_of_examples(np.array(list(p.draws.values())))[1] for p in known]))
    size = known[0].size
    enough = (n for n in range(2, most) if _power(gap, by_seed / n, n, shared, size) >= power)
    reach = sum(map(stats.norm.isf, ((1 - LEVEL) / 2, 1 - power)))  # standard errors between zero and the gap
    return Needed(next(enough, None), math.ceil(size * shared * (reach / gap) ** 2))


def _power(gap: float, by_seeds: float, seeds: int, shared: float, size: int) -> float:
    """Say how often the test of estimate() finds a gap, upwards."""
    variance = by_seeds + shared
    if not variance:
        return 1.0
    freedom = variance / (by_seeds / (seeds - 1) + shared / max(size - 1, 1))
    return float(stats.nct.sf(stats.t.isf((1 - LEVEL) / 2, freedom), freedom, gap / math.sqrt(variance)))
