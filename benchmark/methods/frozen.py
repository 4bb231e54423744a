"""No training: the zero-shot row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.methods.native import Native, freeze
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Frozen(Native):
    """Train nothing."""

    category: ClassVar[Category] = Category.REFERENCE
    paper: ClassVar[str] = ""
    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        if cell.kind.new_head:
            return f"a {cell.kind} head is new, frozen it can only guess: method=head trains the head alone"
        return f"method.lr={self.lr}: a frozen network learns nothing, set it to 0.0" if self.lr else None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        return model
