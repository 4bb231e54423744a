"""The range of each score, and whether higher or lower is better."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The ends of a score, or of a difference of two."""

    low: float = -math.inf
    high: float = math.inf
    better: int = 1  # -1: lower is better

    def difference(self) -> Scale:
        """Return the scale of a difference of two such scores."""
        return Scale(self.low - self.high, self.high - self.low, self.better)

    def moved(self, amount: float) -> Scale:
        """Raise both ends."""
        return Scale(self.low + amount, self.high + amount, self.better)

    def within(self, value: float) -> float:
        """Clip a value to the ends."""
        return min(max(value, self.low), self.high)


UNKNOWN = Scale()
SHARE, PERCENT, CORRELATION = Scale(0.0, 1.0), Scale(0.0, 100.0), Scale(-1.0, 1.0)
UNLIKELIHOOD = Scale(low=0.0, better=-1)
SCALES = {
    "accuracy": SHARE,
    "accuracy_unnormalised": SHARE,
    "aupr": SHARE,
    "auroc": SHARE,
    "balanced_accuracy": SHARE,
    "character_accuracy": Scale(high=1.0),  # more characters too many than there should be: below 0
    "macro_f1": SHARE,
    "mcc": CORRELATION,
    "r2": Scale(high=1.0),
    "spearman": CORRELATION,
    "unweighted_average_recall": SHARE,
    "verification_accuracy": SHARE,
    "bleu": PERCENT,
    "chrf": PERCENT,
    "chrf++": PERCENT,
    "exact_match": PERCENT,
    "extracted_match": PERCENT,
    "rouge_l": PERCENT,
    "bits_per_byte": UNLIKELIHOOD,
    "log_loss": UNLIKELIHOOD,
    "mse": UNLIKELIHOOD,
    "nats_per_character": UNLIKELIHOOD,
}


def scale(metric: str) -> Scale:
    """Return the scale of a score; without ends if unknown."""
    return SCALES.get(metric, UNKNOWN)
