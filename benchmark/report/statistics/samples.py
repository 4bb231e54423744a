"""Scores by seed and by drawn test set, and how their mean varies.

A score varies with the seed and with the examples that happen to be in the test set. Every seed meets the same
examples, so the two are crossed: the variance of a mean over S seeds is that between the seeds over S, plus what other
examples would do to all seeds alike. Drawing examples shows both what they do to all seeds and what they do to each;
the second is part of the variance between seeds already, and is not counted twice (Owen and Eckles 2012, arXiv
1106.2125). Where examples come in groups (speakers, patients, parents), groups are drawn.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmark.report.statistics.scales import UNKNOWN, Scale
from benchmark.report.statistics.seeds import moderated
from benchmark.report.statistics.tails import Error

FEWEST = 6  # groups: five that all agree do so by chance alone in 1 of 16 tries


@dataclass(frozen=True)
class Sample:
    """A setting's score: by seed, and for each seed on every drawn test set."""

    scores: Mapping[int, float]
    draws: Mapping[int, np.ndarray]  # empty where a seed has no stored predictions
    examples: str = ""  # which ones: only those of the same can be paired
    size: int = 0  # how many
    groups: int = 0  # that they come in and that were drawn; 0: each is its own
    scale: Scale = UNKNOWN
    spreads: tuple[
        tuple[float, float], ...
    ] = ()  # between seeds, as the comparison knows; empty: as these scores have it

    @property
    def drawn(self) -> int:
        """Count what was drawn: groups, or examples."""
        return self.groups or self.size

    def paired(self, other: Sample) -> Sample | None:
        """Subtract another setting, seed by seed and draw by draw.

        None without a common seed, or with other examples.
        """
        seeds = [seed for seed in self.scores if seed in other.scores]
        if not seeds or (self.examples and other.examples and self.examples != other.examples):
            return None
        both = [seed for seed in seeds if seed in self.draws and seed in other.draws]
        return Sample(
            {seed: self.scores[seed] - other.scores[seed] for seed in seeds},
            {seed: self.draws[seed] - other.draws[seed] for seed in both},
            self.examples,
            self.size,
            self.groups,
            self.scale.difference(),
            self.spreads + other.spreads if self.spreads and other.spreads else (),
        )

    def plus(self, amount: float) -> Sample:
        """Raise every score by an amount."""
        return replace(
            self,
            scores={seed: score + amount for seed, score in self.scores.items()},
            draws={seed: drawn + amount for seed, drawn in self.draws.items()},
            scale=self.scale.moved(amount),
        )

    def mean(self) -> float:
        """Average over the seeds."""
        return float(np.mean(list(self.scores.values())))

    def variance(self) -> float:
        """Return the variance between seeds; 0 for one seed."""
        return float(np.var(list(self.scores.values()), ddof=1)) if len(self.scores) > 1 else 0.0

    def error(self) -> Error | None:
        """Return how the mean varies; None without answers or enough groups."""
        seeds = len(self.scores)
        if len(self.draws) < seeds or self.drawn < FEWEST:
            return None
        noise, alone = of_examples(self)
        shared = max(alone - noise / seeds, 0.0)
        spreads = self.spreads or ((self.variance(), seeds - 1),)
        return Error(tuple((spread / seeds, freedom) for spread, freedom in spreads), shared, alone, self.drawn)


def moderate(samples: Mapping[Any, Sample]) -> dict[Any, Sample]:
    """Estimate how the seeds of each setting vary, from all settings.

    Each sample gets a variance and its degrees of freedom.

    Fewer than four settings say it of their own.
    """
    noises = {name: of_examples(s)[0] for name, s in samples.items() if s.draws and len(s.draws) == len(s.scores)}
    freedom = {name: len(samples[name].scores) - 1 for name in noises}
    seen = {name: samples[name].variance() for name in noises}
    moved = [n for n in noises if noises[n] or len(set(samples[n].scores.values())) > 1 or not freedom[n]]
    tiny = 1e-12 * max(seen.values(), default=0.0)  # a variance of nothing has no logarithm
    moderated_spreads = moderated([max(seen[n], noises[n] / 100, tiny) for n in moved], [freedom[n] for n in moved])
    if moderated_spreads is None:
        return dict(samples)
    same = dict.fromkeys(noises, (0.0, 0.0))  # every seed gives the same answers: no seed is at work
    known = same | dict(zip(moved, zip(*(part.tolist() for part in moderated_spreads), strict=True), strict=True))
    return {n: replace(sample, spreads=(known[n],)) if n in known else sample for n, sample in samples.items()}


def of_examples(sample: Sample) -> tuple[float, float]:
    """Return the variance over examples: of single seeds, and of their mean.

    The first without what all seeds share.
    """
    drawn = np.array(list(sample.draws.values()))
    correction = sample.drawn / max(sample.drawn - 1, 1)  # drawn with replacement, groups vary less by one of them
    pairs = itertools.combinations(drawn, 2)
    noise = float(np.mean([(one - other).var(ddof=1) / 2 for one, other in pairs])) if len(drawn) > 1 else 0.0
    return noise * correction, float(drawn.mean(0).var(ddof=1)) * correction
