"""Pfeiffer adapters (Pfeiffer et al. 2021, arXiv 2005.00247).

One bottleneck per block, h + W_up f(W_down h).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from benchmark.backbones import roles
from benchmark.methods.bottleneck import Bottleneck, add_to_block, add_to_map, ends, unfit
from benchmark.methods.invertible import Inversion
from benchmark.methods.layers import width_of
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Pfeiffer(Native):
    """Adapter after every block, on the sum of feed-forward and residual.

    This is AdapterHub's `seq_bn` in blocks that begin with a norm; in blocks that end with one, AdapterHub applies
    another norm.
    """

    bottleneck: int
    activation: str

    def conflict(self, cell: Cell) -> str | None:
        reason = unfit(self.activation, {"bottleneck": self.bottleneck})
        return reason or roles.refusal(cell.backbone.family, ("back",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        for block, last in ends(model, cell.backbone.family):
            block.adapter = Bottleneck(width_of(last), self.bottleneck, self.activation)
            nn.init.normal_(block.adapter.down.weight, std=0.02)  # as BERT's weights
            block.adapter.to(last.weight)
            maps = any(isinstance(module, nn.Conv2d) for module in block.modules())
            block.register_forward_hook(add_to_map if maps else add_to_block)
        return model


@dataclass(frozen=True, kw_only=True)
class PfeifferInv(Inversion, Pfeiffer):
    """Pfeiffer adapters with coupled embeddings."""
