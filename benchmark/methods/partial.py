"""Partial fine-tuning (Yosinski et al. 2014, arXiv 1411.1792): train the last blocks alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.native import Native, freeze
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Partial(Native):
    """Train the last blocks; of an encoder-decoder the decoder's."""

    category: ClassVar[Category] = Category.SELECTIVE
    paper: ClassVar[str] = "Yosinski et al. 2014, arXiv 1411.1792"
    mergeable: ClassVar[bool] = True

    trains_buffers: ClassVar[bool] = True

    blocks: int

    def conflict(self, cell: Cell) -> str | None:
        if self.blocks < 1:
            return f"method.blocks={self.blocks}: must be at least 1"
        return roles.refusal(cell.backbone.family, ("default",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the network has fewer blocks."""
        freeze(model)
        blocks = blocks_of(model, cell.backbone.family)
        if self.blocks > len(blocks):
            raise InputError(f"method.blocks={self.blocks}: this {cell.backbone.family} network has {len(blocks)}")
        for name in blocks[-self.blocks :]:
            model.get_submodule(name).requires_grad_(True)
        return model
