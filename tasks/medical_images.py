"""Classification of medical images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmark.types import Example, Head
from tasks.answers.classification import Classification
from tasks.images import Images


@dataclass(frozen=True, kw_only=True)
class MedicalImages(Classification, Images):
    """Classification of images, scored by macro-F1 for unbalanced classes."""

    metric: ClassVar[str] = "macro_f1"

    def lacking(self, targets: Sequence[tuple[Any, ...]], head: Head) -> str | None:
        """Name a class without a readable image, whose recall cannot be measured."""
        missing = sorted(set(head.labels) - {str(t[0]) for t in targets})
        return f"no readable image of class {missing[0]!r}" if missing else None

    def measurable(self, split: str, examples: Sequence[Example], head: Head) -> None:
        """Require every class in the test; a shifted one may lack some."""
        if split == "test":
            super().measurable(split, examples, head)
