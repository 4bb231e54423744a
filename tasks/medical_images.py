"""Medical image classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Features, Input, Splits
from tasks.answers import Classification
from tasks.labelled import Labelled
from tasks.pictures import Picture, rescanned, square

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class MedicalImages(Classification, Labelled):
    """One class per image; macro-F1, since medical classes are rarely balanced."""

    metric: ClassVar[str] = "macro_f1"
    reads: ClassVar[Input] = Input.IMAGE

    size: int  # side in pixels that images are read at; the backbone's processor scales that to its own
    scanner: (
        int | None
    )  # seed of another scanner, by which test/scanner shows the test; null: the data has its own shift

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"task.size: {self.size} given, at least 1 pixel wanted")

    def read(self) -> Splits:
        """Decode every image; one that cannot be becomes Bad."""
        splits = {name: [self._decoded(e) for e in examples] for name, examples in self.data.splits().items()}
        if self.scanner is not None:
            splits["test/scanner"] = [self._seen(e, number) for number, e in enumerate(splits["test"])]
        return splits

    def source(self, given: str | Path | np.ndarray) -> np.ndarray:
        """Decode a file; an 8-bit array is taken as it is. Raises InputError for what is no image."""
        if isinstance(given, np.ndarray):
            return given
        image = Picture(f"image {given}", Path(given)).read(self.size)
        if isinstance(image, Bad):
            raise InputError(image.reason)
        return image

    def features(self, source: np.ndarray, processor: Any, counts: dict[str, int]) -> Features:
        return {"pixels": processor.fit(square(source, self.size)), "length": 1}

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        return processor.batch([f["pixels"] for f in features])

    def _seen(self, example: Example, number: int) -> Example:
        seen = example._replace(id=f"{example.id} by another scanner")
        if isinstance(example.source, Bad):
            return seen
        return seen._replace(source=rescanned(square(example.source, self.size), self.scanner, number))

    def _decoded(self, example: Example) -> Example:
        if not isinstance(example.source, Picture):
            return example
        return example._replace(source=example.source.read(self.size))
