"""Base of tasks that read an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Features, Input, Splits
from tasks.labelled import Labelled
from tasks.pictures import Picture, rescan, square

if TYPE_CHECKING:
    import torch

    from benchmark.types import Backbone

GREY_RANGE = "grey_range_of_the_training_images_scaled_to_8_bits"


@dataclass(frozen=True, kw_only=True)
class Images(Labelled):
    """Task that reads an image."""

    reads: ClassVar[Input] = Input.IMAGE

    size: int | None  # side in pixels that images are read at; null: the backbone's own
    scanner: (
        int | None
    )  # seed of another scanner, by which test/scanner shows the test; null: the data has its own shift

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise InputError(f"task.size: {self.size} given, at least 1 pixel wanted")

    def fitted(self, backbone: Callable[[], Backbone]) -> Images:
        return self if self.size else replace(self, size=backbone().side)

    def read(self) -> Splits:
        """Decode every image; an unreadable one becomes Bad.

        Grey of more than 8 bits is scaled by the range of train.
        """
        given = super().read()
        self._measure_grey(given.get("train", ()))
        splits = {name: [self._decoded(e) for e in examples] for name, examples in given.items()}
        for name, examples in given.items():
            for picture in (e.source for e in examples if isinstance(e.source, Picture)):
                for remark in picture.remarks():
                    self.reading.count(name, remark)
        if self.scanner is not None:
            splits["test/scanner"] = [self._seen(e, number) for number, e in enumerate(splits["test"])]
        return splits

    def recall(self, notes: Mapping[str, Any]) -> None:
        self.reading.notes.update(notes)

    def source(self, given: str | Path | np.ndarray) -> np.ndarray:
        """Decode a file; an 8-bit array stays as it is. Raises InputError."""
        if isinstance(given, np.ndarray):
            return given
        image = Picture(f"image {given}", Path(given)).read(self.size, self.reading.notes.get(GREY_RANGE))
        if isinstance(image, Bad):
            raise InputError(image.reason)
        return image

    def features(self, source: np.ndarray, processor: Any, counts: dict[str, int]) -> Features:
        return {"pixels": processor.fit(square(source, self.size)), "length": 1}

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        return processor.batch([f["pixels"] for f in features])

    def _seen(self, example: Example, number: int) -> Example:
        renamed = example._replace(id=f"{example.id} by another scanner")
        if isinstance(example.source, Bad):
            return renamed
        return renamed._replace(source=rescan(square(example.source, self.size), self.scanner, number))

    def _decoded(self, example: Example) -> Example:
        if not isinstance(example.source, Picture):
            return example
        return example._replace(source=example.source.read(self.size, self.reading.notes.get(GREY_RANGE)))

    def _measure_grey(self, train: Sequence[Example]) -> None:
        """Note the range of grey of the training images with more than 8 bits."""
        ranges = [e.source.extremes() for e in train if isinstance(e.source, Picture)]
        if deep := [extremes for extremes in ranges if extremes]:
            self.reading.notes[GREY_RANGE] = [min(low for low, _ in deep), max(high for _, high in deep)]
