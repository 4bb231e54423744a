"""Answer with one number per example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Example, Head, Kind, Prediction
from tasks.scores import by_value
from tasks.tables import strip_cell

if TYPE_CHECKING:
    import torch

    from benchmark.types import Features


class Regression:
    """Half of a task with one number per example."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.REGRESS,)
    proper: ClassVar[str | None] = "mse"
    pair: ClassVar[bool] = False

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        """Raises InputError where the training targets do not differ."""
        values = [float(e.targets[0]) for e in train]
        centre, scale = float(np.mean(values)), float(np.std(values))
        if not scale > 0:
            raise InputError(f"all {len(values)} training targets are {centre:g}: nothing to learn (data.columns)")
        return Head(kind, centre=centre, scale=scale, pair=self.pair)

    def settled(self, target: Any) -> float:
        return number(target)

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> str | None:
        """Give the reason why a target is not a number."""
        return None if math.isfinite(example.targets[0]) else f"target {example.targets[0]!r} is no finite number"

    def label(self, example: Example, head: Head, length: int) -> float:
        return (float(example.targets[0]) - head.centre) / head.scale

    def labels(self, labels: Sequence[float], width: int) -> torch.Tensor:
        import torch

        return torch.tensor(labels, dtype=torch.float32)

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Give numbers in the unit of the targets."""
        return [{"prediction": value * head.scale + head.centre} for value in output.logits.squeeze(-1).tolist()]

    def scores(self) -> tuple[str, ...]:
        return "spearman", "r2"

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[float, ...]]) -> dict[str, float]:
        """Score ranks and distances."""
        return by_value([float(t[0]) for t in targets], [p["prediction"] for p in predictions])


def number(value: Any) -> float:
    """Read a finite number. Raises ValueError for anything else."""
    value = strip_cell(value)
    if value is None:
        raise ValueError("no target")
    try:
        read = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the target {value!r:.40} is no number") from error
    if not math.isfinite(read):
        raise ValueError(f"the target {value!r} is no finite number")
    return read
