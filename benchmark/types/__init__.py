"""Parts of a cell: base classes of task, method and backbone, and the budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types.data import Bad, Category, Constant, Example, Features, Head, Input, Kind, Prediction, Splits
from benchmark.types.method import Method

__all__ = [
    "Bad",
    "Category",
    "Constant",
    "Example",
    "Features",
    "Head",
    "Input",
    "Kind",
    "Method",
    "Prediction",
    "Splits",
]

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell


TUNE = "tune"
PHASES = (TUNE, "final")
SIZES = ("params", "bytes")
IGNORED = -100  # label of positions without a loss


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Data, their encoding for a network, and the scores of answers."""

    description: str
    version: int  # increased when scores change their meaning
    kinds: ClassVar[tuple[Kind, ...]]
    metric: ClassVar[str]  # headline entry of score(); higher is better
    proper: ClassVar[str | None] = None  # entry of score() that is a proper scoring rule, which varies less by chance
    reads: ClassVar[Input] = Input.TEXT
    placeholder: ClassVar[Any] = None  # target of an input whose answer is not known

    @abstractmethod
    def splits(self) -> Splits:
        """Read the data, in the same order in every process."""

    def unpinned(self) -> list[str]:
        """Name inputs that may change, such as a hub id without a commit."""
        return []

    def fitted(self, backbone: Callable[[], Backbone]) -> Task:
        """Return the task with the values that depend on its backbone."""
        return self

    def conflict(self, cell: Cell) -> str | None:
        """Give the reason why this task cannot run in this cell."""
        return None

    def files(self) -> Mapping[str, Path]:
        """List the user's files that splits() reads, by names independent of their folder."""
        return {}

    @property
    def reading(self) -> Any:
        """Counts and notes on how splits() read the data, for the record."""
        return None

    @cached_property
    def missing(self) -> dict[str, str]:
        """Why score() has left a score out, by its name."""
        return {}

    def recall(self, notes: Mapping[str, Any]) -> None:  # noqa: B027  optional
        """Prepare to read inputs in the way that a record's notes describe."""

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        """Describe the head, from the training examples."""
        return Head(kind)

    def skips_bad(self) -> bool:
        """Say whether unusable examples are dropped and counted instead of refused."""
        return False

    def stratum(self, example: Example) -> str | None:
        """Name the class of an example, whose share a training subset preserves."""
        return None

    @abstractmethod
    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Turn an example into features, or None where it is empty; count cuts."""

    def sum_up(self, counts: dict[str, Any]) -> None:  # noqa: B027  optional
        """Turn the counts of encode() into figures for the record, such as shares."""

    def unreadable(self, counts: Mapping[str, int], number: int) -> str | None:
        """Give the reason why a split cannot be used, by the counts of encode()."""
        return None

    def longest(self, kind: Kind) -> int:
        """Give the length of the longest sequence; 0 if it is not known before encoding."""
        return 0

    def largest(self, kind: Kind) -> tuple[float, int]:
        """Give the size of the largest input, in tokens, residues, pixels a side or seconds, and of its answer."""
        return 0, 0

    @abstractmethod
    def length(self, features: Features) -> int:
        """Give the length of an encoded example, by which batches are formed."""

    def mates(self, features: Features, processor: Any) -> Hashable:
        """Give a key that examples in one batch must share; None: no condition."""
        return None

    @abstractmethod
    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad features into keyword arguments of the network."""

    @abstractmethod
    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count the items over which the loss is a mean, such as tokens."""

    @abstractmethod
    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count the input and target positions without padding; 0 where there are none."""

    def source(self, given: Any) -> Any:
        """Turn a user's input, such as a file's name, into a source. Raises InputError."""
        return given

    def nothing(self) -> Prediction:
        """Give the answer to an empty example, which is scored and not dropped."""
        return {"prediction": None}

    @abstractmethod
    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Answer one batch, an answer per example."""

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score answers; uses only values that are stored with the record."""

    def scores(self) -> tuple[str, ...]:
        """Name the entries of score() of which higher is better: each may be the headline."""
        return (self.metric,)

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> Constant | None:
        """Score one answer for every target, that of most training examples; None where that says nothing."""
        return None

    def headline(self, split: str, targets: Sequence[tuple[Any, ...]]) -> str:
        """Name the split's headline score; `metric` unless that is uninformative."""
        return self.metric

    def signatures(self, targets: Sequence[tuple[Any, ...]]) -> dict[str, str]:
        """Give the signatures of libraries that computed scores."""
        return {}


def validation_steps(steps: int, evaluations: int) -> list[int]:
    """List the steps after which there is a validation, evenly spaced."""
    return sorted({round(steps * (i + 1) / evaluations) for i in range(evaluations)})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Costs that every method of a comparison may have, and their training recipe."""

    description: str
    steps: int
    batch_size: int  # examples per optimiser step
    micro_batches: int  # parts in which a step's batch is computed
    warmup: float  # fraction of the steps
    weight_decay: float
    clip: float  # gradient norm
    dropout: float  # every dropout of the backbone; layers are never dropped
    precision: str  # fp32 | bf16: autocast over fp32 weights
    evaluations: int  # validations during training, evenly spaced, the last step among them
    eval_batch_size: int
    max_valid: int  # examples in the validation loss
    max_test: int | None  # answered examples of each split, also of valid; null: all
    max_seconds: float | None  # limit of loading, training and predicting together; a longer run fails
    shard: bool | None  # true: the run's processes share the frozen blocks; null: each process has all

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"budget.precision: {self.precision!r} given, fp32 or bf16 wanted")

    @property
    def validation_steps(self) -> list[int]:
        """Steps after which there is a validation."""
        return validation_steps(self.steps, self.evaluations)


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """Pretrained network, and how to load it."""

    description: str
    lr_scale: float  # factor of every method's learning rate
    head_lr: dict[str, float] | None  # of a new head, by kind of answer, for every method; null: no new head
    kinds: ClassVar[tuple[Kind, ...]]
    reads: ClassVar[Input] = Input.TEXT

    def __post_init__(self) -> None:
        for kind in self.head_lr or {}:
            if kind not in [known for known in Kind if known.new_head]:
                known = ", ".join(known for known in Kind if known.new_head)
                raise InputError(f"backbone.head_lr.{kind}: no such kind of new head (known: {known})")

    @property
    @abstractmethod
    def family(self) -> str:
        """Name the architecture: a key of roles.FAMILIES.

        Raises InputError where no checkpoint can be read.
        """

    def unpinned(self) -> list[str]:
        """Name inputs that may change, such as a hub id without a commit."""
        return []

    @property
    def side(self) -> int | None:
        """Side in pixels of the images in pretraining; None for other inputs."""
        return None

    @property
    def rate(self) -> int | None:
        """Sampling rate in Hz of the sound that it reads; None for other inputs."""
        return None

    @property
    def positions(self) -> int | None:
        """Length of the longest sequence; None: no limit."""
        return None

    def unknown_language(self, language: str | None) -> str | None:
        """Give the reason why the network cannot be told this language of its input, or none."""
        return None if language is None else "an encoder with a new head reads no language"

    @abstractmethod
    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, Any]:
        """Load the network, a Headed if the head is new, and its processor."""

    @abstractmethod
    def skeleton(self, budget: Budget, head: Head) -> nn.Module:
        """Build the network without weights, on torch's meta device."""

    def outline(self, budget: Budget, head: Head) -> nn.Module:
        """Build the same network from its configuration alone, without a tokenizer or another processor."""
        return self.skeleton(budget, head)

    def pretraining_loss(self, model: nn.Module) -> float | None:
        """Measure the loss on held-out pretraining data, where there is any."""
        return None
