"""Tasks of images with a number, or with any number of labels; see medical_images.py for classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tasks.answers.multilabel import Multilabel
from tasks.answers.regression import Regression
from tasks.images import Images


@dataclass(frozen=True, kw_only=True)
class ImageRegression(Regression, Images):
    """Task with a number per image."""

    metric: ClassVar[str] = "spearman"


@dataclass(frozen=True, kw_only=True)
class ImageMultilabel(Multilabel, Images):
    """Task with any number of labels per image."""
