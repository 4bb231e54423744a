"""Attention tuning (Touvron et al. 2022, arXiv 2203.09795): train the projections of attention alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.methods.native import Native, freeze
from benchmark.methods.places import train
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class AttentionTuning(Native):
    """Train query, key, value and output, their biases among them."""

    category: ClassVar[Category] = Category.SELECTIVE
    paper: ClassVar[str] = "Touvron et al. 2022, arXiv 2203.09795"
    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        return roles.refusal(cell.backbone.family, ("attention",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        train(model, cell.backbone.family, ["attention"])
        return model
