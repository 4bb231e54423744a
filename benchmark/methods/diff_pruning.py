"""Diff pruning (Guo et al. 2021, arXiv 2012.07463).

A task vector z * w whose mask z a relaxed L0 penalty makes sparse.

The paper learns both, keeps a fixed number of entries by magnitude, and trains these on. Here the first half is done
beforehand, and only which entries it found is kept: the values begin at zero again, so that no method trains longer
than the budget says. An entry's mask is its own: the paper's better variant multiplies it with one of the whole matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmark.methods.sparse import Sparse, Weight, matrix_of

if TYPE_CHECKING:
    from benchmark.cell import Cell

# the hard concrete distribution of Louizos et al. 2018, arXiv 1712.01312; the paper's code takes -1.5, 1.5 and 1, and
# starts from masks that are open, at a logit of 5, where ours starts at 0
LOW, HIGH, HEAT = -0.1, 1.1, 2 / 3


class Relaxed(nn.Module):
    """A dense task vector under a random mask that can be exactly 0 or 1."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros_like(matrix))
        self.log_alpha = nn.Parameter(torch.zeros_like(matrix))

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        noise = torch.rand_like(self.log_alpha).clamp(1e-6, 1 - 1e-6)
        return matrix + self.mask((noise.logit() + self.log_alpha) / HEAT) * self.vector

    def mask(self, logit: torch.Tensor) -> torch.Tensor:
        return (logit.sigmoid() * (HIGH - LOW) + LOW).clamp(0, 1)

    def open(self) -> torch.Tensor:
        """Sum the probabilities that an entry of the mask is not zero (section 3.1)."""
        return (self.log_alpha - HEAT * math.log(-LOW / HIGH)).sigmoid().sum()


@dataclass(frozen=True, kw_only=True)
class DiffPruning(Sparse):
    """Rate an entry by the magnitude of its masked task vector."""

    penalty: float  # weight of the share of entries that are open
    mask_lr: float  # of logits, whose scale is the same in every network: no backbone's factor applies

    def conflict(self, cell: Cell) -> str | None:
        for name in ("penalty", "mask_lr"):
            if getattr(self, name) <= 0:
                return f"method.{name}={getattr(self, name)}: a positive number wanted"
        return super().conflict(cell)

    def scores(
        self, model: nn.Module, weights: list[Weight], batches: Iterator[dict[str, Any]], cell: Cell
    ) -> list[torch.Tensor]:
        trials = [Relaxed(matrix_of(weight, weight.original.detach())) for weight in weights]
        for weight, trial in zip(weights, trials, strict=True):
            weight[0].change.trial = trial
        optimizer = torch.optim.Adam(
            [
                {"params": [trial.vector for trial in trials], "lr": cell.lr},
                {"params": [trial.log_alpha for trial in trials], "lr": self.mask_lr},
            ]
        )
        entries = sum(trial.vector.numel() for trial in trials)
        for batch in islice(batches, self.batches):
            optimizer.zero_grad()
            share = sum(trial.open() for trial in trials) / entries
            (model(**batch).loss + self.penalty * share).backward()
            optimizer.step()
        model.zero_grad()  # a new head has gradients too, and stays as it is
        for weight in weights:
            weight[0].change.trial = None
        return [(trial.mask(trial.log_alpha) * trial.vector).detach().abs() for trial in trials]
