"""One training step on the meta device: its memory and its work."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.engine.optimiser import groups
from benchmark.engine.train import training_mode
from benchmark.plan.ledger import Kernels, Ledger
from benchmark.plan.sample import loss_of, sample


@dataclass(frozen=True)
class Step:
    """Costs of one optimiser step; all sizes in bytes."""

    weights: int  # with running statistics
    optimiser: int
    kept: int  # copy of the trained weights of the lowest validation loss
    gradients: int
    activations: int  # what the backward pass of one micro-batch needs of its forward pass, the batch included
    passing: int  # activations, gradients and temporary tensors at the fullest moment
    flops: int  # forward and backward pass of all micro-batches

    @property
    def peak(self) -> int:
        """Sum of what lives at the fullest moment."""
        return self.weights + self.optimiser + self.kept + self.passing


def take_step(model: nn.Module, cell: Cell, device: str, recompute: bool = False) -> Step:
    """Train an attached network of the meta device for one step, on the largest examples.

    The optimiser is that of the training loop. The network is left without gradients.
    """
    training_mode(model, cell)
    switch_recomputation(model, recompute)
    stored, trained = [*model.parameters(), *model.buffers()], [p for p in model.parameters() if p.requires_grad]
    with Ledger(stored) as ledger, Kernels(cell.budget.precision, device):
        optimizer = started(model, cell, device) if trained else None
        before = ledger.peak = ledger.live
        if cell.budget.micro_batches > 1:  # all but the first find gradients of those before
            fill_gradients(trained)
        activations = pass_batch(model, cell, ledger, device)
        gradients = size(p.grad for p in trained if p.grad is not None)
        if optimizer:
            finish(optimizer, trained, cell.budget.clip)
    kept = [*trained, *(model.buffers() if trained and cell.method.trains_buffers else ())]
    state = [value for entry in optimizer.state.values() for value in entry.values()] if optimizer else []
    flops = ledger.flops * cell.budget.micro_batches
    return Step(size(stored), size(state), size(kept), gradients, activations, ledger.peak - before, flops)


def started(model: nn.Module, cell: Cell, device: str) -> torch.optim.Optimizer:
    """Make the optimiser, with the state that it has after its first step."""
    options = {"lr": cell.lr, "weight_decay": cell.budget.weight_decay, "foreach": device != "cpu"}  # as torch chooses
    optimizer = torch.optim.AdamW(groups(model, cell), **options)
    fill_gradients(p for group in optimizer.param_groups for p in group["params"])
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


def fill_gradients(trained: Iterable[nn.Parameter]) -> None:
    """Give every parameter a gradient."""
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)


def pass_batch(model: nn.Module, cell: Cell, ledger: Ledger, device: str) -> int:
    """Pass a micro-batch forward and backward; return the bytes of what lives between the two."""
    before = ledger.live
    batch = sample(cell, model, math.ceil(cell.budget.batch_size / cell.budget.micro_batches))
    loss = loss_of(cell.kind, model, batch)
    if device != "cpu":  # the loop keeps the batch in the machine's memory, and drops the device's copy
        del batch
    activations = ledger.live - before
    if loss.requires_grad:
        # as loss.backward() does, which would leave Kernels while activations are recomputed
        engine = torch.autograd.Variable._execution_engine
        engine.run_backward((loss,), (torch.ones_like(loss),), False, False, (), accumulate_grad=True)
    return activations


def finish(optimizer: torch.optim.Optimizer, trained: Sequence[nn.Parameter], clip: float) -> None:
    """Clip and apply gradients, as the training loop does."""
    if clip:
        nn.utils.clip_grad_norm_(trained, clip)
    optimizer.step()
    optimizer.zero_grad()


def switch_recomputation(model: nn.Module, wanted: bool) -> bool:
    """Switch the recomputation of activations; return whether the network has such a switch."""
    for module in model.modules():
        if hasattr(module, "set_grad_checkpointing"):  # of timm
            module.set_grad_checkpointing(wanted)
            return True
        if getattr(module, "supports_gradient_checkpointing", False):  # of transformers
            switch = module.gradient_checkpointing_enable if wanted else module.gradient_checkpointing_disable
            switch(*([{"use_reentrant": False}] if wanted else []))
            return True
    return False


def size(tensors: Iterable[torch.Tensor]) -> int:
    """Sum the bytes of tensors, those that share memory once."""
    return sum({s: s.nbytes() for s in (t.untyped_storage() for t in tensors)}.values())
