"""DiffFit (Xie et al. 2023, arXiv 2304.06648).

All bias vectors, and a gain per channel of each branch.

The gains begin at one, on query, key, value and output of attention and on what the feed-forward layer gives. Its
public implementations also train whatever is called norm, and the embedding of classes: here norms keep their gains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.methods.gains import fold, scale
from benchmark.methods.layers import bias_vectors, modules_with
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

BRANCHES = ("attention", "down")


@dataclass(frozen=True, kw_only=True)
class DiffFit(Native):
    """Biases and gains; both are folded in afterwards."""

    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        family = cell.backbone.family
        reason = roles.refusal(family, BRANCHES)
        if reason or roles.FAMILIES[family].biases:
            return reason
        return f"{family} has no bias vectors, which DiffFit trains beside its gains"

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        for bias in bias_vectors(model, cell.backbone.family):
            bias.requires_grad_(True)
        for module in modules_with(model, cell.backbone.family, BRANCHES).values():
            scale(module, shift=False)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        return fold(model)
