"""fit(): the only training loop. It knows no method and no domain."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.engine.batches import batches, in_order, mates_of, parted
from benchmark.engine.checkpoint import Pause, Training
from benchmark.engine.distributed import here
from benchmark.engine.meter import Meter
from benchmark.engine.optimiser import groups
from benchmark.errors import DivergedError
from benchmark.records import Measurement
from benchmark.types import Features


@dataclass(frozen=True)
class Encoded:
    """The encoded examples that training may see."""

    train: Sequence[Features]
    valid: Sequence[Features]


def fit(
    model: nn.Module, cell: Cell, data: Encoded, processor: Any, meter: Meter, pause: Pause | None = None
) -> Iterator[Measurement]:
    """Train; yield the loss of every step and of every look at valid; leave the best state by valid loss in place.

    Last, where there are any, yield the number of parameters that were to be trained and never had a gradient. Where a
    paused run waits, go on from its step: what it had yielded is yielded again. Raises Paused, DivergedError.
    """
    budget, device = cell.budget, next(model.parameters()).device
    best = Best(model, cell)
    if not any(p.requires_grad for p in model.parameters()):
        yield best.keep(valid_loss(model, cell, data.valid, processor, meter), 0)
        return
    optimizer = torch.optim.AdamW(groups(model, cell), lr=cell.lr, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, budget.warmup, budget.steps))
    order = batches([cell.task.length(f) for f in data.train], budget.batch_size, cell.seed_of("order"))
    mates = mates_of(cell.task, data.train, processor)
    state = Training(model, cell, optimizer, schedule, best, meter)
    if pause and pause.begin(state):
        yield from list(state.points)
    else:
        yield state.note(best.keep(valid_loss(model, cell, data.valid, processor, meter), 0))
    training_mode(model, cell)
    for step, chosen in islice(zip(range(1, cell.last + 1), order, strict=False), state.step, None):
        with meter.phase("train"):
            micro = [mine(part, cell, processor) for part in parts(data.train, chosen, budget.micro_batches, mates)]
            started = meter.now()
            loss = learn(model, [batch for batch, _ in micro], cell, optimizer, device, [count for _, count in micro])
            cell.method.after_step(model, step)
            optimizer.zero_grad()
            schedule.step()
            meter.step(
                meter.now() - started, sum(cell.task.tokens(batch) for batch, count in micro if count), len(chosen)
            )
        meter.check()
        if not math.isfinite(loss):
            raise DivergedError(f"the loss became {loss} at step {step}: lower method.lr={cell.method.lr:g}")
        yield state.note(Measurement("train", "loss", loss, step))
        if step in budget.looks:
            yield state.note(best.keep(valid_loss(model, cell, data.valid, processor, meter), step))
            training_mode(model, cell)
        state.step = step
        if pause:
            pause.check()
    if pause:
        pause.ended()
    best.restore()
    # AdamW knows only what once had a gradient: the rest counts as trained, and no loss reached it
    if idle := sum(p.numel() for g in optimizer.param_groups for p in g["params"] if p not in optimizer.state):
        yield Measurement("cost", "params_without_gradient", idle)


def mine(part: Sequence[Features], cell: Cell, processor: Any) -> tuple[dict[str, torch.Tensor], int]:
    """Collate this process's share of a batch, and count its target items.

    Where there are fewer examples than processes, the others go through one that counts for nothing: a network in
    pieces is gathered by all processes or by none.
    """
    share = here().share(part)
    batch = cell.task.collate(share or part[:1], processor)
    return batch, cell.task.items(batch) if share else 0


def learn(
    model: nn.Module,
    micro: list[dict],
    cell: Cell,
    optimizer: Any,
    device: torch.device,
    items: Sequence[int] | None = None,
) -> float:
    """Take one optimiser step over micro-batches, each weighted by its share of the target items of all processes.

    So two halves give the gradient of the whole, also where the halves differ in length.
    """
    items = [cell.task.items(batch) for batch in micro] if items is None else items
    (everything,) = here().sum(sum(items))
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    total = 0.0
    for batch, count in zip(micro, items, strict=True):
        with precision(cell, device):
            loss = model(**{k: v.to(device) for k, v in batch.items()}).loss * (count / max(everything, 1))
        loss.backward()
        total += loss.item()
    (total,) = here().sum(total)
    here().sum_gradients(trained)
    if cell.budget.clip:
        torch.nn.utils.clip_grad_norm_(trained, cell.budget.clip)
    if math.isfinite(total):  # else the weights stay as they were, for whoever looks at them
        optimizer.step()
    return total


def rate(step: int, warmup: float, steps: int) -> float:
    """Give the learning rate's factor: linear warm-up, then half a cosine down to zero."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1.0)))


def parts(
    examples: Sequence[Features], chosen: list[int], count: int, mates: Sequence[Hashable] | None = None
) -> list[list[Features]]:
    """Cut a step's examples into so many micro-batches, or into more where some must not be padded together."""
    return [[examples[i] for i in part] for part in parted(chosen, math.ceil(len(chosen) / count), mates)]


def precision(cell: Cell, device: torch.device) -> Any:
    """Compute in the budget's precision over weights kept in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=cell.budget.precision == "bf16")


def training_mode(model: nn.Module, cell: Cell) -> None:
    """Switch to training; running statistics of frozen normalisation stay as they are."""
    model.train()
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        frozen = not cell.method.trains_buffers or (own and not any(p.requires_grad for p in own))
        if getattr(module, "running_mean", None) is not None and frozen:
            module.eval()


@torch.no_grad()
def valid_loss(model: nn.Module, cell: Cell, valid: Sequence[Features], processor: Any, meter: Meter) -> float:
    """Average the loss over valid's target items."""
    device = next(model.parameters()).device
    model.eval()
    total, items = 0.0, 0
    with meter.phase("evaluate"):
        lengths, mates = [cell.task.length(f) for f in valid], mates_of(cell.task, valid, processor)
        for chosen in in_order(lengths, cell.budget.eval_batch_size, mates):
            batch, count = mine([valid[i] for i in chosen], cell, processor)
            with precision(cell, device):
                total += model(**{k: v.to(device) for k, v in batch.items()}).loss.item() * count
            items += count
        total, items = here().sum(total, items)
    return total / max(items, 1)


class Best:
    """The trained weights of the lowest valid loss so far, and nothing of the frozen rest."""

    def __init__(self, model: nn.Module, cell: Cell) -> None:
        self.model, self.buffers = model, cell.method.trains_buffers
        self.loss, self.state = math.inf, {}

    def keep(self, loss: float, step: int) -> Measurement:
        """Remember the present weights if they are the best; return the measurement. Raises DivergedError."""
        if not math.isfinite(loss):
            raise DivergedError(f"the valid loss is {loss} at step {step}")
        if loss < self.loss:
            self.loss = loss
            self.state = {name: tensor.detach().clone() for name, tensor in self._trained()}
        return Measurement("valid", "loss", loss, step)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best weights back."""
        for name, tensor in self._trained():
            tensor.copy_(self.state[name])

    def _trained(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)
        if self.buffers:
            yield from self.model.named_buffers()
