"""Full fine-tuning: the reference that every other method is measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.methods.native import Native
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Full(Native):
    """Train every parameter."""

    category: ClassVar[Category] = Category.REFERENCE
    paper: ClassVar[str] = ""
    mergeable: ClassVar[bool] = True

    trains_buffers: ClassVar[bool] = True

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        return model.requires_grad_(True)
