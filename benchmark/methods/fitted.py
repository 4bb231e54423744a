"""Fitted head for methods that calibrate by gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from benchmark.engine.optimiser import in_head

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

STEPS = 64  # of fitting the head, or the budget's steps if these are fewer


@contextmanager
def fitted_head(model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> Iterator[None]:
    """Fit a new head for the block, and restore it afterwards.

    Every method gets the same head, from the same batches, at the backbone's head_lr. The rate falls linearly to zero,
    since with a constant rate the head would depend on the last batches. Training starts with the untrained head in
    every method. A pretrained head is not changed.
    """
    head = [p for name, p in model.named_parameters() if p.requires_grad and in_head(name)]
    start = [p.detach().clone() for p in head]
    if head:
        model.eval()
        steps = min(STEPS, cell.budget.steps)
        optimizer = torch.optim.AdamW(head, lr=cell.head_lr, weight_decay=0.0)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
        for batch in islice(batches, steps):
            gradients = torch.autograd.grad(model(**batch).loss, head)
            for parameter, gradient in zip(head, gradients, strict=True):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
        optimizer.zero_grad()
    yield
    with torch.no_grad():
        for parameter, value in zip(head, start, strict=True):
            parameter.copy_(value)
