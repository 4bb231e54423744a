"""Medical image classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.types import Example, Features, Input, Splits, Unusable
from tasks.answers import Classification
from tasks.labelled import Labelled
from tasks.pictures import Picture, square

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class MedicalImages(Classification, Labelled):
    """One class per image; macro-F1, since medical classes are rarely balanced."""

    metric: ClassVar[str] = "macro_f1"
    reads: ClassVar[Input] = Input.IMAGE

    size: int  # side in pixels that images are read at; the backbone's processor scales that to its own

    def __post_init__(self) -> None:
        if self.size < 1:
            raise Unusable(f"task.size: {self.size} given, at least 1 pixel wanted")

    def read(self) -> Splits:
        """Decode every image; one that cannot be becomes Bad."""
        return {name: [self._decoded(e) for e in examples] for name, examples in self.data.splits().items()}

    def features(self, source: np.ndarray, processor: Any, counts: dict[str, int]) -> Features:
        return {"pixels": processor.fit(square(source, self.size)), "length": 1}

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        return processor.batch([f["pixels"] for f in features])

    def _decoded(self, example: Example) -> Example:
        if not isinstance(example.source, Picture):
            return example
        return example._replace(source=example.source.read(self.size))
