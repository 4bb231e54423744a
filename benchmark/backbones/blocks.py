"""Where the blocks of a network are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from benchmark.backbones import roles

if TYPE_CHECKING:
    from torch import nn

NUMBER = re.compile(r"(?:^|\.)\d+(?=\.|$)")


def blocks_of(model: nn.Module, family: str) -> list[str]:
    """List the blocks in the order of the network: the smallest numbered modules in which every wrapped role occurs."""
    wrapped = roles.resolve(dict(model.named_modules()), family, ("default",))
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
