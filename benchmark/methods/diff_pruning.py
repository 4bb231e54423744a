"""Diff pruning (Guo et al. 2021, arXiv 2012.07463).

A task vector z * w whose mask z a relaxed L0 penalty makes sparse.

The paper learns both, selects a fixed number of entries by magnitude, and continues to train these. Here the first part
is a calibration that only selects entries. Their values then start at zero, so that no method trains longer than the
budget. Each entry has one mask; the paper's better variant multiplies it with a mask of the whole matrix.
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

# Hard concrete distribution of Louizos et al. 2018, arXiv 1712.01312. The paper's code uses -1.5, 1.5 and 1, and starts
# with a logit of 5 (open masks), ours with 0.
LOW, HIGH, HEAT = -0.1, 1.1, 2 / 3


class Relaxed(nn.Module):
    """Dense task vector under a random mask that can be exactly 0 or 1."""

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
        """Sum over entries the probability that the mask is not zero (section 3.1)."""
        return (self.log_alpha - HEAT * math.log(-LOW / HIGH)).sigmoid().sum()


@dataclass(frozen=True, kw_only=True)
class DiffPruning(Sparse):
    """Sparse method with scores by the magnitude of the masked task vector."""

    penalty: float  # weight of the share of open entries in the loss
    mask_lr: float  # of the masks' logits; without the backbone's factor, since their scale is the same everywhere

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
        model.zero_grad()  # of a new head too
        for weight in weights:
            weight[0].change.trial = None
        return [(trial.mask(trial.log_alpha) * trial.vector).detach().abs() for trial in trials]
