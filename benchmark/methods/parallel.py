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
    """An adapter beside every feed-forward."""

    bottleneck: int
    activation: str
    scale: float | None  # null: learned, from 1 on
    before_norm: bool  # read the residual stream; false: what the feed-forward reads

    def conflict(self, cell: Cell) -> str | None:
        reason = unfit(self.activation, {"bottleneck": self.bottleneck})
        return reason or roles.refusal(cell.backbone.family, ("up", "down"))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        add_sides(model, cell.backbone.family, self.bottleneck, self.activation, self.scale, self.before_norm)
        return model


@dataclass(frozen=True, kw_only=True)
class ParallelInv(Inversion, Parallel):
    """The same, with coupled embeddings."""


@dataclass(frozen=True, kw_only=True)
class AdaptFormer(Parallel):
    """A small scale; the stream is read before its norm, as in the paper's code."""
