"""Class weights and focal loss: choices of the task, the same for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmark.errors import InputError

BALANCED = "balanced"


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Settings of the loss, which also selects the checkpoint on valid; scores have no weights."""

    class_weights: str | None  # balanced: by the classes' frequencies in train; null: all are 1
    focal: float | None  # gamma of the focal loss (Lin et al. 2017); null: cross-entropy

    def __post_init__(self) -> None:
        if self.class_weights not in (None, BALANCED):
            raise InputError(f"task.class_weights: {self.class_weights!r} given, {BALANCED} or null wanted")
        following = getattr(super(), "__post_init__", None)  # of the other half of a task
        if following:
            following()

    def loss(self, counts: Sequence[int], total: int) -> dict[str, Any]:
        """Give a head's weights and gamma, from how many of `total` answers each class has.

        As in scikit-learn: total / (classes * count), so that every class has the same sum.
        """
        weights = tuple(total / (len(counts) * max(count, 1)) for count in counts)
        return {"weights": weights if self.class_weights else (), "focal": self.focal or 0.0}
