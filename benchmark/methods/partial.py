"""Partial fine-tuning (Yosinski et al. 2014, arXiv 1411.1792): train the last blocks alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark import roles
from benchmark.methods.native import Native, freeze
from benchmark.types import Unusable

if TYPE_CHECKING:
    from torch import nn

    from benchmark.types import Cell

NUMBER = re.compile(r"(?:^|\.)\d+(?=\.|$)")


@dataclass(frozen=True, kw_only=True)
class Partial(Native):
    """Train the last blocks; of an encoder-decoder the decoder's."""

    trains_buffers: ClassVar[bool] = True

    blocks: int

    def conflict(self, cell: Cell) -> str | None:
        if self.blocks < 1:
            return f"method.blocks={self.blocks}: must be at least 1"
        return roles.refusal(cell.backbone.family, ("default",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises Unusable where the network has fewer blocks."""
        freeze(model)
        blocks = blocks_of(model, cell.backbone.family)
        if self.blocks > len(blocks):
            raise Unusable(f"method.blocks={self.blocks}: this {cell.backbone.family} network has {len(blocks)}")
        for name in blocks[-self.blocks :]:
            model.get_submodule(name).requires_grad_(True)
        return model


def blocks_of(model: nn.Module, family: str) -> list[str]:
    """List the blocks in the order of the network: the smallest numbered modules in which every wrapped role occurs."""
    wrapped = roles.resolve([name for name, _ in model.named_modules()], family, ("default",))
    default = roles.expand(family, ("default",))
    played = [role for role in default if any(roles.plays(name, family, [role]) for name in wrapped)]

    def whole(prefix: str) -> bool:
        inside = [name for name in wrapped if name.startswith(f"{prefix}.")]
        return all(any(roles.plays(name, family, [role]) for name in inside) for role in played)

    found: dict[str, None] = {}
    for name in wrapped:
        numbered = [name[: place.end()] for place in NUMBER.finditer(name)]
        block = next((prefix for prefix in reversed(numbered) if whole(prefix)), None)
        if block:
            found[block] = None
    return list(found)
