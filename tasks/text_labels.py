"""Tasks of texts with a class, any number of labels, or a number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tasks.answers.classification import Classification
from tasks.answers.multilabel import Multilabel
from tasks.answers.regression import Regression
from tasks.texts import Texts


@dataclass(frozen=True, kw_only=True)
class TextClassification(Classification, Texts):
    """Task with a class per text or pair, scored by macro-F1 for unbalanced classes."""

    metric: ClassVar[str] = "macro_f1"


@dataclass(frozen=True, kw_only=True)
class TextMultilabel(Multilabel, Texts):
    """Task with any number of labels per text or pair."""


@dataclass(frozen=True, kw_only=True)
class TextRegression(Regression, Texts):
    """Task with a number per text or pair."""

    metric: ClassVar[str] = "spearman"
