"""A cell: a task, a method, a backbone, a budget and a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError, refusing, story
from benchmark.types import PHASES, SIZES, TUNE, Backbone, Budget, Head, Kind, Method, Task

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What is to be run."""

    task: Task
    method: Method
    backbone: Backbone
    budget: Budget
    seed: int
    fraction: float | None = None  # share of the training examples; the smaller ones are contained in the larger
    seed_sample: int | None = None  # draws that share; without it the seed does
    seed_init: int | None = None  # draws what is new in the network; likewise
    seed_order: int | None = None  # draws the order of the examples; likewise
    phase: str = "final"  # or tune: the test splits are not read
    trial: int = 0  # which draw from the method's search range; 0: its defaults
    until: int | None = None  # the step after which tuning stops for now; the schedule is that of the whole budget
    size: int | None = None  # that a knob was solved for
    size_of: str = "params"  # trainable parameters, or bytes of the adapter's files
    names: Mapping[str, str] = field(default_factory=dict)  # option chosen per group: {"task": "nmt", ...}
    notes: Mapping[str, Any] = field(default_factory=dict)  # how its choices came about: recorded, but no choices

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", self.task.fitted(lambda: self.backbone))
        if self.fraction == 1:
            object.__setattr__(self, "fraction", None)  # one name for the whole
        if self.phase not in PHASES:
            raise InputError(f"phase: {self.phase!r} given, {' or '.join(PHASES)} wanted")
        if self.size_of not in SIZES:
            raise InputError(f"size_of: {self.size_of!r} given, {' or '.join(SIZES)} wanted")
        if self.until == self.budget.steps:
            object.__setattr__(self, "until", None)  # one name for the whole
        if self.until is not None and self.phase != TUNE:
            raise InputError(f"until: {self.until} given, but only tuning stops before its last step: phase=tune")
        if self.until is not None and self.until not in self.budget.looks:
            looks = ", ".join(map(str, self.budget.looks))
            raise InputError(
                f"until: {self.until} given, but validation comes after steps {looks}: stop at one of them"
            )

    @property
    def last(self) -> int:
        """The step after which its training ends, or stops for now."""
        return self.until or self.budget.steps

    @property
    def kind(self) -> Kind:
        """The shape of answer that both task and backbone know."""
        return next(kind for kind in self.task.kinds if kind in self.backbone.kinds)

    def seed_of(self, part: str) -> int:
        """Give the seed of one source of chance: sample, init or order."""
        seed = getattr(self, f"seed_{part}")
        return self.seed if seed is None else seed

    @property
    def lr(self) -> float:
        """The method's learning rate on this backbone."""
        return self.method.lr * self.backbone.lr_scale

    @property
    def head_lr(self) -> float | None:
        """The learning rate of the new head on this backbone; None if unknown."""
        return (self.backbone.head_lr or {}).get(self.kind)

    def load(self, head: Head) -> tuple[nn.Module, Any]:
        """Load the bare network and its processor. Raises InputError, whatever a library raises."""
        with refusing(f"backbone={self.names.get('backbone')} cannot be loaded"):
            return self.backbone.load(self.budget, head)

    def conflict(self) -> str | None:
        """Give the reason why this cell cannot run, or None."""
        try:
            return self.rehearse()
        except (InputError, OSError):  # of a file, not of the pair
            raise
        except Exception as error:
            method = self.names.get("method", type(self.method).__name__)
            return f"{method} cannot be attached to this {self.backbone.family} network: {story(error)}"

    def rehearse(self) -> str | None:
        """Give the same reason, or None; raise what a library raises."""
        task, backbone = self.names.get("task"), self.names.get("backbone")
        if self.backbone.reads != self.task.reads:
            return f"task {task} reads {self.task.reads}, backbone {backbone} reads {self.backbone.reads}"
        if not set(self.backbone.kinds) & set(self.task.kinds):
            wanted, offered = (" or ".join(kinds) for kinds in (self.task.kinds, self.backbone.kinds))
            return f"task {task} needs a {wanted} backbone, {backbone} is {offered}"
        if self.kind.new_head and self.head_lr is None:
            return f"backbone.head_lr has no learning rate for a {self.kind} head: +backbone.head_lr.{self.kind}=0.01"
        return self.method.conflict(self) or self._crowded() or self._rehearsed()

    def _crowded(self) -> str | None:
        """Say where the longest sequence has more positions than the network."""
        read, virtual, most = self.task.longest(self.kind), self.method.prepended, self.backbone.positions
        if not read or most is None or read + virtual <= most:
            return None
        more = f" behind {virtual:,} virtual ones of the method" if virtual else ""
        return (
            f"task {self.names.get('task')} reads up to {read:,} tokens{more}, backbone {self.names.get('backbone')} "
            f"has {most:,} positions: lower task.max_source_tokens or task.max_target_tokens{' or these' * bool(more)}"
        )

    def _rehearsed(self) -> str | None:
        """Attach to a network without weights, to find misfits before loading any."""
        with refusing(f"backbone={self.names.get('backbone')} cannot be built"):
            skeleton = self.backbone.skeleton(self.budget, Head(self.kind, labels=("", " ")))
        if not self.method.weightless:
            return None
        try:
            self.method.attach(skeleton, self)
        except InputError as error:
            return str(error)
        return None
