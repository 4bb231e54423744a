"""Plan of a cell: whether it runs, what it trains, and what a step costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.cell import Cell
from benchmark.engine.optimiser import in_head
from benchmark.errors import story
from benchmark.plan.outlines import outlined
from benchmark.plan.sample import head_of
from benchmark.plan.step import Step, switch_recomputation, take_step

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Plan:
    """What is known of a cell before it runs."""

    method: str
    refused: str | None = None  # why it cannot run
    unmeasured: str | None = None  # why no step could be taken without weights
    params: int = 0
    trained: int = 0  # parameters
    added: int = 0  # of these, not in the pretrained network
    head: int = 0  # of these, in a new head
    step: Step | None = None
    recomputed: Step | None = None  # with recomputation of activations; None where the method or network has none

    @property
    def pretrained(self) -> int:
        """Number of trained parameters that are the pretrained network's own."""
        return self.trained - self.added - self.head

    def fits(self, most: float) -> bool:
        """Say whether the peak of a step keeps within so many bytes."""
        return self.step is not None and self.step.peak <= most


def plan(cell: Cell, device: str, labels: int | None = None) -> Plan:
    """Plan a cell on a network without weights. Raises InputError for a backbone whose shape is not known."""
    name, cell = cell.names["method"], outlined(cell)
    if reason := cell.conflict():
        return Plan(name, refused=reason)
    if not cell.method.weightless:
        return Plan(name, refused=f"{name} reads the values of the weights to attach: it has no plan without them")
    model = cell.backbone.skeleton(cell.budget, head_of(cell, labels))
    before = set(model.parameters())
    model = cell.method.attach(model, cell)
    sizes = count(model, before)
    try:
        step = take_step(model, cell, device)
        again = step.flops and cell.method.recomputes and switch_recomputation(model, True)
        return Plan(name, **sizes, step=step, recomputed=take_step(model, cell, device, True) if again else None)
    except Exception as error:  # a module that needs values
        return Plan(name, **sizes, unmeasured=story(error))


def count(model: nn.Module, before: set[nn.Parameter]) -> dict[str, int]:
    """Count the parameters of an attached network; before has those of the bare one."""
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "trained": sum(p.numel() for _, p in trained),
        "added": sum(p.numel() for name, p in trained if p not in before and not in_head(name)),
        "head": sum(p.numel() for name, p in trained if in_head(name)),
    }
