"""What a cell is made of: task, method, backbone and budget."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types.data import Bad, Category, Example, Features, Head, Input, Kind, Prediction, Splits

__all__ = ["Bad", "Category", "Example", "Features", "Head", "Input", "Kind", "Prediction", "Splits"]

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell


TUNE = "tune"
PHASES = (TUNE, "final")
SIZES = ("params", "bytes")
IGNORED = -100  # label of what no loss counts


@dataclass(frozen=True, kw_only=True)
class Task(ABC):
    """Data, what the network sees of it, and how answers are scored."""

    description: str
    version: int  # raised when a number changes its meaning
    kinds: ClassVar[tuple[Kind, ...]]
    metric: ClassVar[str]  # headline entry of score(); higher is better
    proper: ClassVar[str | None] = None  # the entry of score() that is a proper score: chance moves it less than others
    reads: ClassVar[Input] = Input.TEXT
    placeholder: ClassVar[Any] = None  # stands in for the answer where none is known

    @abstractmethod
    def splits(self) -> Splits:
        """Read the data; the same order in every process."""

    def unpinned(self) -> list[str]:
        """Name what may change under one configuration: a hub id without a commit."""
        return []

    def fitted(self, backbone: Callable[[], Backbone]) -> Task:
        """Return the task with the choices that its backbone makes."""
        return self

    def files(self) -> Mapping[str, Path]:
        """List the user's files that splits() reads, by names that do not depend on where they lie."""
        return {}

    @property
    def reading(self) -> Any:
        """How splits() has read the data: counts and notes for the record; None where nothing is told."""
        return None

    def recall(self, notes: Mapping[str, Any]) -> None:  # noqa: B027  optional
        """Read further inputs as a record's notes say that its data was read."""

    def head(self, kind: Kind, train: Sequence[Example]) -> Head:
        """Read off the training examples what the head must know."""
        return Head(kind)

    def skips_bad(self) -> bool:
        """Whether unusable examples are dropped and counted instead of refused."""
        return False

    def stratum(self, example: Example) -> str | None:
        """Name the class whose share a training subset keeps, where there are classes."""
        return None

    @abstractmethod
    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Turn an example into features, or None where nothing is left; count cuts."""

    def sum_up(self, counts: dict[str, Any]) -> None:  # noqa: B027  optional
        """Turn what encode() counted in a split into what a reader wants to know, such as shares."""

    def unreadable(self, counts: Mapping[str, int], number: int) -> str | None:
        """Give the reason why a split cannot be used, by the counts of encode()."""
        return None

    def longest(self, kind: Kind) -> int:
        """Give the length of the longest sequence of this task; 0: not known before."""
        return 0

    @abstractmethod
    def length(self, features: Features) -> int:
        """Say how long an encoded example is: batches gather examples of like length."""

    def mates(self, features: Features, processor: Any) -> Hashable:
        """Name what examples padded together must share; None: nothing."""
        return None

    @abstractmethod
    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad features into keyword arguments of the network."""

    @abstractmethod
    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count what the loss of this batch is a mean over: tokens, residues, examples."""

    @abstractmethod
    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count the input and target positions without padding, or 0."""

    def source(self, given: Any) -> Any:
        """Turn a user's input, such as a file's name, into a source.

        Raises InputError.
        """
        return given

    def nothing(self) -> Prediction:
        """Answer an example that encode() found empty: it is scored, never dropped."""
        return {"prediction": None}

    @abstractmethod
    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Answer one batch, an answer per example."""

    @abstractmethod
    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score answers; needs nothing but what is stored beside the record."""

    def headline(self, split: str, targets: Sequence[tuple[Any, ...]]) -> str:
        """Name the split's headline score: `metric`, unless that is uninformative."""
        return self.metric

    def signatures(self, targets: Sequence[tuple[Any, ...]]) -> dict[str, str]:
        """Name how each score was computed, where its library gives a signature."""
        return {}


def looks(steps: int, evaluations: int) -> list[int]:
    """List the steps after which validation comes."""
    return sorted({round(steps * (i + 1) / evaluations) for i in range(evaluations)})


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every method of a comparison may spend, and the recipe they share."""

    description: str
    steps: int
    batch_size: int  # examples per optimiser step
    micro_batches: int  # pieces a step's batch is computed in
    warmup: float  # fraction of the steps
    weight_decay: float
    clip: float  # gradient norm
    dropout: float  # every dropout of the backbone; layers are never dropped
    precision: str  # fp32 | bf16: autocast over fp32 weights
    evaluations: int  # validations during training, evenly spaced, the last step among them
    eval_batch_size: int
    max_valid: int  # examples of valid that a validation reads
    max_test: int | None  # examples of each split that are answered, of valid too; null: all
    max_seconds: float | None  # loading, training and predicting together; a run that needs more has failed
    shard: bool | None  # the frozen blocks lie in pieces over the processes of the run; null: each has them all

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise InputError(f"budget.precision: {self.precision!r} given, fp32 or bf16 wanted")

    @property
    def looks(self) -> list[int]:
        """List the steps after which validation comes."""
        return looks(self.steps, self.evaluations)


@dataclass(frozen=True, kw_only=True)
class Backbone(ABC):
    """A pretrained network and how to load it."""

    description: str
    lr_scale: float  # multiplies every method's learning rate alike
    head_lr: dict[str, float] | None  # of a new head, by kind of answer: no method moves it; null: none is new
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
        """Name what may change under one configuration: a hub id without a commit."""
        return []

    @property
    def side(self) -> int | None:
        """Give the side in pixels of the images that the network was pretrained on, where it reads images."""
        return None

    @property
    def positions(self) -> int | None:
        """Give the longest sequence that the network can read; None: no limit."""
        return None

    @abstractmethod
    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, Any]:
        """Return the network, on a kind with a new head a Headed, and its processor."""

    @abstractmethod
    def skeleton(self, budget: Budget, head: Head) -> nn.Module:
        """Return the network without weights, on torch's meta device."""

    def pretraining_loss(self, model: nn.Module) -> float | None:
        """Measure the loss on held-out pretraining data, where there is any."""
        return None


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """What is trained, and how it is attached to a network."""

    description: str
    lr: float  # learning rate before the backbone's factor
    search: dict[str, Any]  # what a tuner may draw: {low, high} of a knob on a logarithmic scale, or a list of values
    sized_by: str | None  # the knob that makes it larger, where equal sizes are compared
    mergeable: ClassVar[bool] = False  # into the bare network's own weights
    calibrates: ClassVar[bool] = False  # reads training batches before the first step
    compiles: ClassVar[bool] = False  # torch.compile gives the same network
    recomputes: ClassVar[bool] = True  # gradient checkpointing gives the same gradients
    reads_inputs: ClassVar[bool] = False  # its parts see what the network reads, not hidden states alone
    weightless: ClassVar[bool] = True  # attach() asks for shapes, not values: it can be rehearsed on a skeleton
    changes_output_at_init: ClassVar[str | None] = None  # why the network, once attached, is not the bare one
    shards: ClassVar[bool] = True  # frozen blocks may lie in pieces: nothing outside a block computes with its weights
    trains_buffers: ClassVar[bool] = False  # running statistics follow the new data

    @property
    def prepended(self) -> int:
        """Count the positions that its virtual tokens take."""
        return 0

    def conflict(self, cell: Cell) -> str | None:
        """Give the reason why this method cannot run in this cell; nothing is loaded yet."""
        return None

    @abstractmethod
    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Return the network; requires_grad is set on exactly what is trained.

        Raises InputError.
        """

    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:  # noqa: B027  optional
        """Initialise what is attached by training batches, if declared."""

    def merge(self, model: nn.Module) -> nn.Module:
        """Fold what was trained into the bare network, and return that."""
        raise InputError(f"{type(self).__name__} cannot be merged")

    def groups(self, model: nn.Module, lr: float) -> list[dict]:
        """Split the trainable parameters into optimiser groups."""
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": lr}]

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027  optional
        """Act after each optimiser step; most methods do nothing."""

    def progress(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Give the state of after_step() beside parameters and buffers."""
        return {}

    def resume(self, model: nn.Module, progress: dict[str, torch.Tensor]) -> None:  # noqa: B027  optional
        """Put back what progress() gave."""

    def modules(self, model: nn.Module) -> list[str]:
        """List the modules that own what is trained, or that this method wraps."""
        return sorted({name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad})

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Write what was trained into a folder, as safetensors."""

    @abstractmethod
    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Put what save() wrote onto a freshly loaded backbone."""
