"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751).

h + W_up f(W_down h) after each sub-layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from benchmark.backbones import roles
from benchmark.methods.bottleneck import Bottleneck, add_bottleneck, add_to_map, unfit
from benchmark.methods.invertible import Inversion
from benchmark.methods.layers import modules_with, train, width_of
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from benchmark.cell import Cell

BACK = ("back",)  # projection back to the input size, before the skip connection (section 2.1)


@dataclass(frozen=True, kw_only=True)
class Houlsby(Native):
    """Adapters after every attention and every feed-forward."""

    compiles: ClassVar[bool] = True

    bottleneck: int
    activation: str
    norms: bool  # train the normalisation layers too, as the paper does

    def conflict(self, cell: Cell) -> str | None:
        wanted = (*BACK, "norm") if self.norms else BACK
        return unfit(self.activation, {"bottleneck": self.bottleneck}) or roles.refusal(cell.backbone.family, wanted)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        if self.norms:
            train(model, cell.backbone.family, ["norm"])
        for module in modules_with(model, cell.backbone.family, BACK).values():
            module.adapter = Bottleneck(width_of(module), self.bottleneck, self.activation).to(module.weight)
            module.register_forward_hook(add_to_map if isinstance(module, nn.Conv2d) else add_bottleneck)
        return model


@dataclass(frozen=True, kw_only=True)
class HoulsbyInv(Inversion, Houlsby):
    """Houlsby adapters with coupled embeddings."""
