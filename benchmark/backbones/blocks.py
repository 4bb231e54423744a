"""Blocks of a network."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmark.backbones import roles

if TYPE_CHECKING:
    from torch import nn

NUMBER = re.compile(r"(?:^|\.)\d+(?=\.|$)")


def blocks_of(model: nn.Module, family: str) -> list[str]:
    """List the blocks in order: the smallest numbered modules with every wrapped role."""
    wrapped = roles.resolve(dict(model.named_modules()), family, ("default",))
    default = roles.expand(family, ("default",))
    played = [role for role in default if any(roles.plays(name, family, [role]) for name in wrapped)]

    def is_block(prefix: str) -> bool:
        inside = [name for name in wrapped if name.startswith(f"{prefix}.")]
        return all(any(roles.plays(name, family, [role]) for name in inside) for role in played)

    blocks: dict[str, None] = {}
    for name in wrapped:
        numbered = [name[: match.end()] for match in NUMBER.finditer(name)]
        block = next((prefix for prefix in reversed(numbered) if is_block(prefix)), None)
        if block:
            blocks[block] = None
    return list(blocks)
