"""The linear probe: the new head alone on the frozen network, the reference where there is no zero-shot answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.methods.native import Native, freeze
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Head(Native):
    """Train what every other method trains as well."""

    category: ClassVar[Category] = Category.REFERENCE
    paper: ClassVar[str] = ""
    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        if cell.kind.new_head:
            return f"method.lr={self.lr}: the head learns at backbone.head_lr, set it to 0.0" if self.lr else None
        return f"the head of a {cell.kind} network comes pretrained: method=frozen is the reference"

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        return model
