"""Parallel adapters (He et al. 2022, arXiv 2110.04366).

FFN(x) + s W_up f(W_down x); AdaptFormer is one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.backbones import roles
from benchmark.methods.bottleneck import add_sides, unfit
from benchmark.methods.invertible import Inversion
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Parallel(Native):
    """Adapter parallel to every feed-forward layer."""

    bottleneck: int
    activation: str
    scale: float | None  # null: learned, starting at 1
    before_norm: bool  # true: reads the residual stream; false: the input of the feed-forward

    def conflict(self, cell: Cell) -> str | None:
        reason = unfit(self.activation, {"bottleneck": self.bottleneck})
        return reason or roles.refusal(cell.backbone.family, ("up", "down"))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        add_sides(model, cell.backbone.family, self)
        return model


@dataclass(frozen=True, kw_only=True)
class ParallelInv(Inversion, Parallel):
    """Parallel adapters with coupled embeddings."""


@dataclass(frozen=True, kw_only=True)
class AdaptFormer(Parallel):
    """Parallel adapters with the defaults of AdaptFormer."""
