"""The test behind every verdict: a difference whose variance is known in part by few seeds, in part by many examples.

The variance between seeds is a scaled inverse chi-square variable: what its degrees of freedom say of the true one.
The p value is that of Student's test with it, averaged over it (Behrens and Fisher's problem, as Jeffreys 1940 solved
it). Without a variance of examples that is Student's test over seeds; without one of seeds, that over examples.
Satterthwaite's (1946) approximation trusts a small variance of three seeds too much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

NODES = 100  # of the average
LARGEST = 1e6  # degrees of freedom: as good as any number


@dataclass(frozen=True)
class Error:
    """The parts of a mean's variance, each a number or an array of one shape."""

    seeds: Any  # what other seeds would do to it
    freedom: Any  # by how many degrees that is known
    shared: Any  # what other examples would do, beyond what shows between the seeds
    alone: Any  # what other examples would do in all: seeds may agree by chance, so no variance is below that
    groups: Any  # of examples: these are drawn

    def variance(self) -> Any:
        """Give the variance as it was seen."""
        return np.maximum(np.add(self.seeds, self.shared), self.alone)

    def p(self, distance: Any) -> np.ndarray:
        """Test, on both sides, whether a mean at this distance is zero; in the shape of the parts.

        It is never below that of groups that all agree (the sign test's 2 ** (1 - groups)): of few groups nobody knows
        that they follow the normal distribution as far out as that.
        """
        parts = np.broadcast_arrays(distance, self.seeds, self.freedom, self.shared, self.alone, self.groups)
        distance, seeds, freedom, shared, alone, groups = (np.asarray(part, dtype=float)[..., None] for part in parts)
        ratios, weights = _inverse(np.minimum(freedom, LARGEST))
        variance = np.maximum(seeds * ratios + shared, alone)
        with np.errstate(divide="ignore", invalid="ignore"):
            far = np.where(variance > 0, np.abs(distance) / np.sqrt(variance), np.where(distance == 0, 0.0, np.inf))
        tails = 2 * stdtr(np.maximum(groups - 1, 1.0), -far)
        return np.clip((weights * tails).sum(-1), 2 ** (1 - np.maximum(groups[..., 0], 1.0)), 1.0)

    def half_width(self, level: float) -> float:
        """Find the distance whose p value is 1 - level, or below it all distances where groups are too few."""
        wanted, scale = 1 - level, float(np.sqrt(self.variance()))
        if not scale:
            return 0.0
        low, high = 0.0, scale * float(stdtrit(max(min(self.freedom, self.groups - 1), 1.0), 1 - wanted / 2))
        while self.p(high) > wanted:
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.p(middle) > wanted else (low, middle)
            if high - low < 1e-6 * high:
                break
        return (low + high) / 2


def _inverse(freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spread nodes over freedom / chi-square, and give the weight of each."""
    spread = 8 * np.sqrt(2 / freedom)
    grid = np.linspace(0, 1, NODES)
    low, high = -spread - 60 / freedom, np.log1p(spread + 60 / freedom)
    logs = low + (high - low) * grid  # of chi-square over its degrees of freedom
    weights = np.exp(freedom / 2 * (logs - np.expm1(logs)))
    return np.exp(-logs), weights / weights.sum(-1, keepdims=True)
