"""Kinds of inputs and answers, and the examples of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Input(StrEnum):
    """What a network reads."""

    TEXT = "text"
    IMAGE = "image"
    PROTEIN = "protein"
    AUDIO = "audio"


class Kind(StrEnum):
    """The shape of a network's answer, hence of its head."""

    CAUSAL_LM = "causal_lm"
    SEQ2SEQ = "seq2seq"
    CLASSIFY = "classify"
    REGRESS = "regress"
    TAG = "tag"  # a label per position
    CTC = "ctc"  # characters, fewer than positions (Graves et al. 2006)

    @property
    def new_head(self) -> bool:
        """Whether the head is the task's own, trained by every method."""
        return self not in (Kind.CAUSAL_LM, Kind.SEQ2SEQ)


class Category(StrEnum):
    """How a method spends its parameters (Han et al. 2024, arXiv 2403.14608)."""

    ADDITIVE = "additive"
    SELECTIVE = "selective"
    REPARAMETERISED = "reparameterised"
    HYBRID = "hybrid"
    REFERENCE = "reference"  # what the others are measured against: nothing, the head, or everything


@dataclass(frozen=True)
class Head:
    """What a head must know of the answers, read off the training examples."""

    kind: Kind
    labels: tuple[str, ...] = ()  # classes, or the characters of CTC
    centre: float = 0.0  # of a regression's targets, and
    scale: float = 1.0  # their standard deviation: the loss is in these units
    pair: bool = False  # an example is two inputs through one encoder


class Example(NamedTuple):
    """One item of a split: the input, and every correct answer."""

    id: str
    source: Any  # text, an array, or a tuple of such
    targets: tuple[Any, ...]
    group: str | None = None  # where it comes from (speaker, patient, file): no group should stand in two splits


class Bad(NamedTuple):
    """Stands in an example for a source that cannot be used: file, row, and why."""

    reason: str


Splits = Mapping[str, Sequence[Example]]  # train, valid, test, test/<shift> ..., in this order
Features = dict[str, Any]  # one encoded example
Prediction = dict[str, Any]  # one JSON-able answer: prediction, and what the scores need beside it
