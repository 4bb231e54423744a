"""Norm tuning (Zhao et al. 2024, arXiv 2312.11420): train the normalisation layers alone.

All of them, of any network; the paper tunes those in the attention blocks of a language model that learns to see.
"""

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
class NormTuning(Native):
    """Train the gain, and the shift where there is one, of every normalisation layer."""

    category: ClassVar[Category] = Category.SELECTIVE
    paper: ClassVar[str] = "Zhao et al. 2024, arXiv 2312.11420"
    mergeable: ClassVar[bool] = True

    trains_buffers: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        return roles.refusal(cell.backbone.family, ("norm",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        train(model, cell.backbone.family, ["norm"])
        return model
