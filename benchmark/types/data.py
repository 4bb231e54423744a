"""Kinds of inputs and answers, and the examples of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Input(StrEnum):
    """Input of a network."""

    TEXT = "text"
    IMAGE = "image"
    PROTEIN = "protein"
    AUDIO = "audio"


class Kind(StrEnum):
    """Kind of a network's answer, hence of its head."""

    CAUSAL_LM = "causal_lm"
    SEQ2SEQ = "seq2seq"
    CLASSIFY = "classify"
    MULTILABEL = "multilabel"  # any number of classes
    REGRESS = "regress"
    RERANK = "rerank"  # a number per candidate of a query
    TAG = "tag"  # a label per position
    CTC = "ctc"  # characters, fewer than positions (Graves et al. 2006)

    @property
    def whole(self) -> bool:
        """True if a new head answers once per example, not per position."""
        return self in (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS, Kind.RERANK)

    @property
    def new_head(self) -> bool:
        """True if the task brings a new head, which every method trains."""
        return self not in (Kind.CAUSAL_LM, Kind.SEQ2SEQ)


class Category(StrEnum):
    """Category of a method (Han et al. 2024, arXiv 2403.14608)."""

    ADDITIVE = "additive"
    SELECTIVE = "selective"
    REPARAMETERISED = "reparameterised"
    HYBRID = "hybrid"
    REFERENCE = "reference"  # trains nothing, the head, or everything


@dataclass(frozen=True)
class Head:
    """Description of a head, from the training examples."""

    kind: Kind
    labels: tuple[str, ...] = ()  # classes, or the characters of CTC
    centre: float = 0.0  # of a regression's targets, and
    scale: float = 1.0  # their standard deviation: the loss is in these units
    pair: bool = False  # an example is two inputs through one encoder
    weights: tuple[float, ...] = ()  # of the classes in the loss; of several labels absence by label, then presence
    focal: float = 0.0  # gamma of the focal loss; 0: cross-entropy


class Example(NamedTuple):
    """Item of a split: the input, and every correct answer."""

    id: str
    source: Any  # text, an array, or a tuple of such
    targets: tuple[Any, ...]
    group: str | None = None  # origin (speaker, patient, file); two splits should not share a group


class Bad(NamedTuple):
    """Source that cannot be used; the reason names file, row and cause."""

    reason: str


class Constant(NamedTuple):
    """One answer given to every example, and its scores."""

    answer: str
    scores: Mapping[str, float]


Splits = Mapping[str, Sequence[Example]]  # train, valid, test, test/<shift> ..., in this order
Features = dict[str, Any]  # one encoded example
Prediction = dict[str, Any]  # one answer as JSON: prediction, and further inputs of the scores
