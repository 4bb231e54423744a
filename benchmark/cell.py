"""Cell: a task, a method, a backbone, a budget and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError, refusing, story
from benchmark.types import PHASES, SIZES, TUNE, Backbone, Budget, Head, Kind, Method, Task
from benchmark.types.folds import fold_of, in_fold

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Choices that define one run."""

    task: Task
    method: Method
    backbone: Backbone
    budget: Budget
    seed: int
    fraction: float | None = None  # share of the training examples; larger shares contain smaller ones
    seed_sample: int | None = None  # draws that share; None: `seed` does
    seed_init: int | None = None  # draws the new parameters; None: `seed` does
    seed_order: int | None = None  # draws the order of the examples; None: `seed` does
    fold: int | None = None  # of a cross-validation, which deals all examples anew; None: the splits of the data
    folds: int | None = None  # how many; None without a fold
    phase: str = "final"  # or tune, which does not read the test splits
    trial: int = 0  # number of the draw from the method's search ranges; 0: its defaults
    until: int | None = None  # step after which tuning stops for now; the schedule is that of the whole budget
    size: int | None = None  # wanted size, for which the method's knob was solved
    size_of: str = "params"  # unit of size: trainable parameters, or bytes of the adapter's files
    names: Mapping[str, str] = field(default_factory=dict)  # option chosen per group: {"task": "nmt", ...}
    headline: str | None = None  # score to show instead of the task's own; a view of the record, not in the identity
    notes: Mapping[str, Any] = field(default_factory=dict)  # how the choices were made; recorded, not in the identity

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", self.task.fitted(lambda: self.backbone))
        object.__setattr__(self, "task", in_fold(self.task, fold_of(self.fold, self.folds)))
        if self.fold is None:
            object.__setattr__(self, "folds", None)  # so that equal cells have one id
        if self.fraction == 1:
            object.__setattr__(self, "fraction", None)  # so that equal cells have one id
        if self.phase not in PHASES:
            raise InputError(f"phase: {self.phase!r} given, {' or '.join(PHASES)} wanted")
        if self.size_of not in SIZES:
            raise InputError(f"size_of: {self.size_of!r} given, {' or '.join(SIZES)} wanted")
        if self.until == self.budget.steps:
            object.__setattr__(self, "until", None)  # so that equal cells have one id
        if self.until is not None and self.phase != TUNE:
            raise InputError(f"until: {self.until} given, but only tuning stops before its last step: phase=tune")
        if self.until is not None and self.until not in self.budget.validation_steps:
            steps = ", ".join(map(str, self.budget.validation_steps))
            raise InputError(f"until: {self.until} given, but validations are after steps {steps}: give one of these")

    @property
    def last(self) -> int:
        """Step after which training ends, or stops for now."""
        return self.until or self.budget.steps

    @property
    def kind(self) -> Kind:
        """Kind of answer that both task and backbone support."""
        return next(kind for kind in self.task.kinds if kind in self.backbone.kinds)

    def seed_of(self, part: str) -> int:
        """Give the seed of one source of randomness: sample, init or order."""
        seed = getattr(self, f"seed_{part}")
        return self.seed if seed is None else seed

    @property
    def lr(self) -> float:
        """Method's learning rate on this backbone."""
        return self.method.lr * self.backbone.lr_scale

    @property
    def head_lr(self) -> float | None:
        """Learning rate of the new head on this backbone; None if unknown."""
        return (self.backbone.head_lr or {}).get(self.kind)

    def load(self, head: Head) -> tuple[nn.Module, Any]:
        """Load the bare network and its processor.

        Raises InputError, also for errors of libraries.
        """
        with refusing(f"backbone={self.names.get('backbone')} cannot be loaded"):
            return self.backbone.load(self.budget, head)

    def conflict(self) -> str | None:
        """Give the reason why this cell cannot run."""
        try:
            return self.rehearse()
        except (InputError, OSError):  # about a file, not about the pair
            raise
        except Exception as error:
            method = self.names.get("method", type(self.method).__name__)
            return f"{method} cannot be attached to this {self.backbone.family} network: {story(error)}"

    def rehearse(self) -> str | None:
        """Give the same reason, but let errors of libraries through."""
        task, backbone = self.names.get("task"), self.names.get("backbone")
        if self.backbone.reads != self.task.reads:
            return f"task {task} reads {self.task.reads}, backbone {backbone} reads {self.backbone.reads}"
        if not set(self.backbone.kinds) & set(self.task.kinds):
            wanted, offered = (" or ".join(kinds) for kinds in (self.task.kinds, self.backbone.kinds))
            return f"task {task} needs a {wanted} backbone, {backbone} is {offered}"
        if self.kind.new_head and self.head_lr is None:
            return f"backbone.head_lr has no learning rate for a {self.kind} head: +backbone.head_lr.{self.kind}=0.01"
        return self.task.conflict(self) or self.method.conflict(self) or self._crowded() or self._rehearsed()

    def _crowded(self) -> str | None:
        """Give a reason where the longest sequence exceeds the network's positions."""
        read, virtual, most = self.task.longest(self.kind), self.method.prepended, self.backbone.positions
        if not read or most is None or read + virtual <= most:
            return None
        more = f" behind {virtual:,} virtual ones of the method" if virtual else ""
        limits = [f"task.{name}" for name in ("max_source_tokens", "max_target_tokens") if hasattr(self.task, name)]
        return (
            f"task {self.names.get('task')} reads up to {read:,} tokens{more}, backbone {self.names.get('backbone')} "
            f"has {most:,} positions: lower {' or '.join(limits)}{' or these' * bool(more)}"
        )

    def _rehearsed(self) -> str | None:
        """Attach to a network without weights, to find errors before weights are loaded."""
        with refusing(f"backbone={self.names.get('backbone')} cannot be built"):
            skeleton = self.backbone.skeleton(self.budget, Head(self.kind, labels=("", " ")))
        if not self.method.weightless:
            return None
        try:
            self.method.attach(skeleton, self)
        except InputError as error:
            return str(error)
        return None
