"""Training loop, the same for every method and domain."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.engine.batches import batches, in_order, mates_of, split_batches
from benchmark.engine.checkpoint import Training
from benchmark.engine.context import Run
from benchmark.engine.optimiser import groups
from benchmark.errors import DivergedError
from benchmark.records import Measurement
from benchmark.types import Features

# Increase this when a training step computes other numbers than before (loss, gradient, optimiser, schedule, order of
# the examples, random draws): a run that was paused under another number then starts again instead of continuing.
NUMERICS = 1


@dataclass(frozen=True)
class Encoded:
    """Encoded examples for training and validation."""

    train: Sequence[Features]
    valid: Sequence[Features]


def fit(run: Run, data: Encoded) -> Iterator[Measurement]:
    """Train; yield every loss; restore the state of the lowest validation loss.

    Last, yield the number of parameters that should train but never had a gradient, if any. A paused run continues at
    its step, and its earlier losses are yielded again. Raises Paused, DivergedError.
    """
    cell, budget = run.cell, run.cell.budget
    if not any(p.requires_grad for p in run.model.parameters()):
        yield Best(run.model, cell).keep(valid_loss(run, data.valid), 0)
        return
    training = set_up(run)
    best, optimizer = training.best, training.optimizer
    order = batches([cell.task.length(f) for f in data.train], budget.batch_size, cell.seed_of("order"))
    mates = mates_of(cell.task, data.train, run.processor)
    if run.pause and run.pause.begin(training):
        yield from list(training.points)
    else:
        yield training.note(best.keep(valid_loss(run, data.valid), 0))
    training_mode(run.model, cell)
    for step, chosen in islice(zip(range(1, cell.last + 1), order, strict=False), training.step, None):
        loss = take_step(run, training, parts(data.train, chosen, budget.micro_batches, mates), step)
        yield training.note(Measurement("train", "loss", loss, step))
        if step in budget.validation_steps:
            yield training.note(best.keep(valid_loss(run, data.valid), step))
            training_mode(run.model, cell)
        training.step = step
        if run.pause:
            run.pause.check(run.group)
    if run.pause:
        run.pause.end()
    best.restore()
    # AdamW has state only for parameters that had a gradient at least once.
    if idle := sum(p.numel() for g in optimizer.param_groups for p in g["params"] if p not in optimizer.state):
        yield Measurement("cost", "params_without_gradient", idle)


def set_up(run: Run) -> Training:
    """Make the optimiser, its schedule and the initial state."""
    cell, budget = run.cell, run.cell.budget
    optimizer = torch.optim.AdamW(groups(run.model, cell), lr=cell.lr, weight_decay=budget.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, budget.warmup, budget.steps))
    return Training(run.model, cell, optimizer, schedule, Best(run.model, cell), run.meter, NUMERICS)


def take_step(run: Run, training: Training, micro_batches: Sequence[Sequence[Features]], step: int) -> float:
    """Collate, update the parameters, call the method's hook; return the loss.

    Raises DivergedError.
    """
    cell, meter = run.cell, run.meter
    with meter.phase("train"):
        micro = [local_batch(run, part) for part in micro_batches]
        started = meter.now()
        loss = learn(run, training.optimizer, micro)
        cell.method.after_step(run.model, step)
        training.optimizer.zero_grad()
        training.schedule.step()
        seconds = meter.now() - started
        tokens = sum(cell.task.tokens(batch) for batch, count in micro if count)
        meter.step(seconds, tokens, sum(map(len, micro_batches)))
    meter.check()
    if not math.isfinite(loss):
        raise DivergedError(f"the loss became {loss} at step {step}: lower method.lr={cell.method.lr:g}")
    return loss


def local_batch(run: Run, part: Sequence[Features]) -> tuple[dict[str, torch.Tensor], int]:
    """Collate this process's share of a batch, and count its target items.

    Where there are fewer examples than processes, the others compute one with weight 0: a sharded network needs all
    processes to take part.
    """
    share = run.group.share(part)
    batch = run.cell.task.collate(share or part[:1], run.processor)
    return batch, run.cell.task.items(batch) if share else 0


def learn(run: Run, optimizer: Any, micro: Sequence[tuple[dict[str, torch.Tensor], int]]) -> float:
    """Take one optimiser step over micro-batches, and return the loss.

    Each is weighted by its share of the target items of all processes, so that two halves give the gradient of the
    whole batch also where they differ in length.
    """
    (everything,) = run.group.sum(sum(count for _, count in micro))
    trained = [p for g in optimizer.param_groups for p in g["params"]]
    total = 0.0
    for batch, count in micro:
        with precision(run):
            loss = run.model(**{k: v.to(run.device) for k, v in batch.items()}).loss * (count / max(everything, 1))
        loss.backward()
        total += loss.item()
    (total,) = run.group.sum(total)
    run.group.sum_gradients(trained)
    if run.cell.budget.clip:
        torch.nn.utils.clip_grad_norm_(trained, run.cell.budget.clip)
    if math.isfinite(total):  # else the weights stay as they were, for debugging
        optimizer.step()
    return total


def rate(step: int, warmup: float, steps: int) -> float:
    """Give the factor of the learning rate: linear warm-up, then a half cosine to 0."""
    warm = warmup * steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * min((step - warm) / max(steps - warm, 1), 1.0)))


def parts(
    examples: Sequence[Features], chosen: list[int], count: int, mates: Sequence[Hashable] | None = None
) -> list[list[Features]]:
    """Cut a step's examples into micro-batches that may be padded together."""
    return [[examples[i] for i in part] for part in split_batches(chosen, math.ceil(len(chosen) / count), mates)]


def precision(run: Run) -> Any:
    """Give a context that computes in the budget's precision; weights stay in fp32."""
    return torch.autocast(run.device, torch.bfloat16, enabled=run.cell.budget.precision == "bf16")


def training_mode(model: nn.Module, cell: Cell) -> None:
    """Switch to training mode, except frozen layers with running statistics."""
    model.train()
    for module in model.modules():
        direct = list(module.parameters(recurse=False))
        frozen = not cell.method.trains_buffers or (direct and not any(p.requires_grad for p in direct))
        if getattr(module, "running_mean", None) is not None and frozen:
            module.eval()


@torch.no_grad()
def valid_loss(run: Run, valid: Sequence[Features]) -> float:
    """Compute the validation loss, averaged over target items."""
    task, size = run.cell.task, run.cell.budget.eval_batch_size
    run.model.eval()
    total, items = 0.0, 0
    with run.meter.phase("evaluate"):
        for chosen in in_order([task.length(f) for f in valid], size, mates_of(task, valid, run.processor)):
            batch, count = local_batch(run, [valid[i] for i in chosen])
            with precision(run):
                total += run.model(**{k: v.to(run.device) for k, v in batch.items()}).loss.item() * count
            items += count
        total, items = run.group.sum(total, items)
    return total / max(items, 1)


class Best:
    """Trained weights of the lowest validation loss so far."""

    def __init__(self, model: nn.Module, cell: Cell) -> None:
        self.model, self.buffers = model, cell.method.trains_buffers
        self.loss, self.state = math.inf, {}

    def keep(self, loss: float, step: int) -> Measurement:
        """Store the weights if they are the best; return the measurement.

        Raises DivergedError.
        """
        if not math.isfinite(loss):
            raise DivergedError(f"the validation loss is {loss} at step {step}: lower method.lr")
        if loss < self.loss:
            self.loss = loss
            self.state = {name: tensor.detach().clone() for name, tensor in self._trained()}
        return Measurement("valid", "loss", loss, step)

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the best weights."""
        for name, tensor in self._trained():
            tensor.copy_(self.state[name])

    def _trained(self) -> Iterator[tuple[str, torch.Tensor]]:
        yield from ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)
        if self.buffers:
            yield from self.model.named_buffers()
