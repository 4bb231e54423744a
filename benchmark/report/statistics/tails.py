"""The test of a difference that varies with few seeds and many examples.

What is known of the variance between a method's seeds is a scaled inverse chi-square distribution. The p value is that
of Student's test with the variance, averaged over it (Behrens and Fisher's problem, as Jeffreys 1940 solved it).
Without a variance of examples that is Student's test over seeds; without one of seeds, that over examples.
Satterthwaite's (1946) approximation trusts a small variance of three seeds too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

NODES = 32  # of the average, for each method
LARGEST = 1e6  # degrees of freedom: as good as any number
AT_ONCE = 100  # tests


@dataclass(frozen=True)
class Error:
    """The parts of a mean's variance."""

    seeds: tuple[
        tuple[float, float], ...
    ]  # what other seeds of each method would do, by how many degrees that is known
    shared: float  # what other examples would do, beyond what shows between the seeds
    alone: float  # what other examples would do in all: seeds may agree by chance, so no variance is below that
    groups: int  # of examples: these are drawn

    def variance(self) -> float:
        """Return the observed variance."""
        return max(sum(variance for variance, _ in self.seeds) + self.shared, self.alone)

    def half_width(self, level: float) -> float:
        """Return the distance whose p value is 1 - level.

        There must be more groups than the sign test needs for that level.
        """
        wanted, scale = 1 - level, float(np.sqrt(self.variance()))
        if not scale:
            return 0.0
        low, high = 0.0, scale * float(stdtrit(max(self.groups - 1, 1), 1 - wanted / 2))
        while p_values([high], [self])[0] > wanted:
            low, high = high, 2 * high
        return float(brentq(lambda distance: p_values([distance], [self])[0] - wanted, low, high, rtol=1e-6))


def p_values(distances: Sequence[float], errors: Sequence[Error]) -> np.ndarray:
    """Return two-sided p values of means against zero.

    No p value is below that of groups which all agree (the sign test's 2 ** (1 - groups)): of few groups nobody knows
    that they follow the normal distribution as far out as that.
    """
    parts = [slice(first, first + AT_ONCE) for first in range(0, len(errors), AT_ONCE)]
    return np.concatenate([_p_values(np.abs(distances[part]), errors[part]) for part in parts] or [np.zeros(0)])


def _p_values(distances: np.ndarray, errors: Sequence[Error]) -> np.ndarray:
    variance, weights = np.zeros((len(errors), 1)), np.ones((len(errors), 1))
    for seeds, freedom in np.array([(*e.seeds, (0.0, 1.0), (0.0, 1.0))[:2] for e in errors]).transpose(1, 2, 0):
        if seeds.any():
            ratios, share = _inverse(np.clip(freedom[:, None], 1.0, LARGEST))
            variance = (variance[:, :, None] + (seeds[:, None] * ratios)[:, None]).reshape(len(errors), -1)
            weights = (weights[:, :, None] * share[:, None]).reshape(len(errors), -1)
    shared, alone, groups = (np.array([[getattr(e, name)] for e in errors]) for name in ("shared", "alone", "groups"))
    variance = np.maximum(variance + shared, alone)
    far = np.where(variance > 0, distances[:, None] / np.sqrt(np.maximum(variance, 1e-300)), np.inf)
    far = np.where(distances[:, None] == 0, 0.0, far)
    tails = 2 * stdtr(np.maximum(groups - 1.0, 1.0), -far)
    return np.clip((weights * tails).sum(1), 2 ** (1.0 - groups[:, 0]), 1.0)


def _inverse(freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes over freedom / chi-square, and their weights."""
    spread = 8 * np.sqrt(2 / freedom)
    low, high = -spread - 44 / freedom, np.log1p(spread + 44 / freedom)
    logs = low + (high - low) * np.linspace(0, 1, NODES)  # of chi-square over its degrees of freedom
    weights = np.exp(freedom / 2 * (logs - np.expm1(logs)))
    return np.exp(-logs), weights / weights.sum(-1, keepdims=True)
