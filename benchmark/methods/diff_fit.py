"""DiffFit (Xie et al. 2023, arXiv 2304.06648).

All bias vectors, and a gain per channel of each branch.

The gains start at one, on query, key, value and output of attention, and on the output of the feed-forward. Public
implementations also train the norms and the embedding of classes; here the gains of norms stay frozen.
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
    """Biases and gains, which merge into the weights."""

    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        family = cell.backbone.family
        reason = roles.refusal(family, BRANCHES)
        if reason or roles.FAMILIES[family].biases:
            return reason
        return f"{family} has no bias vectors, which DiffFit trains with its gains"

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        for bias in bias_vectors(model, cell.backbone.family):
            bias.requires_grad_(True)
        for module in modules_with(model, cell.backbone.family, BRANCHES).values():
            scale(module, shift=False)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        return fold(model)
