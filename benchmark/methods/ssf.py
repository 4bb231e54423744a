"""SSF (Lian et al. 2022, arXiv 2210.08823).

y = gamma * x + beta, per channel, after every operation of the network.

The paper draws gamma from N(1, 0.02) and beta from N(0, 0.02). Here they start at one and zero, so that all methods
start from the same network. A layer without a bias (Llama's, or before a batch norm) gets no beta, which could not be
merged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.methods.gains import fold, scale
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

NO_OPERATION = {"embedding", "head"}


@dataclass(frozen=True, kw_only=True)
class SSF(Native):
    """Scale and shift of each linear layer, convolution and norm with a role."""

    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        return roles.refusal(cell.backbone.family, ())

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        family = cell.backbone.family
        for name, module in list(model.named_modules()):
            played = set(roles.of(name, module, family))
            if played and not played & NO_OPERATION:
                scale(module, shift=True)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        return fold(model)
