"""Ladder side tuning (Sung et al. 2022, arXiv 2206.06522): a small network beside the frozen one reads its states.

Beside what Rung says, the paper's code differs in this: a gate is sigmoid(a / 0.1), here sigmoid(a); the ladder stands
on the embeddings, here on the first block's state; the side network begins as a pruned copy of the backbone, here at
random; and what it gives replaces the last state, to which it is added here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from benchmark.methods import side
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import Category, Unusable

if TYPE_CHECKING:
    from benchmark.types import Cell


class Rung(Part):
    """Project a block's state to the side network's width, and its layer there.

    The layer has no attention, unlike the paper's: the states it reads have attended already, and generating needs no
    second cache.
    """

    def __init__(self, width: int, inner: int, expansion: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner)
        self.up, self.down = nn.Linear(inner, expansion * inner), nn.Linear(expansion * inner, inner)
        self.state: torch.Tensor | None = None

    def forward(self, below: torch.Tensor | None, gate: torch.Tensor) -> torch.Tensor:
        read, self.state = self.project(self.state), None
        s = read if below is None else gate * read + (1 - gate) * below
        return s + self.down(F.gelu(self.up(self.norm(s))))


class Ladder(Part):
    """Climb the rungs, each gate between the state and what comes from below (section 3.2), and project back."""

    def __init__(self, width: int, inner: int, expansion: int, layers: int) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(Rung(width, inner, expansion) for _ in range(layers))
        self.gates = nn.Parameter(torch.zeros(layers - 1))
        self.norm = nn.LayerNorm(inner)
        self.back = nn.Linear(inner, width)
        for zero in (self.back.weight, self.back.bias):  # the side network starts by adding nothing
            nn.init.zeros_(zero)

    def forward(self) -> torch.Tensor:
        s, (first, *others) = None, self.rungs
        s = first(s, self.gates)
        for rung, gate in zip(others, self.gates.sigmoid(), strict=True):
            s = rung(s, gate)
        return self.back(self.norm(s))


def note(block: nn.Module, _: tuple, output: Any) -> None:
    """Leave the block's state where its rung finds it; no gradient goes back into the block."""
    block.rung.state = (output[0] if isinstance(output, tuple) else output).detach()


def add_ladder(end: nn.Module, _: tuple, output: Any) -> Any:
    """Climb the ladder that stands at the end."""
    return side.added(output, end.ladder())


@dataclass(frozen=True, kw_only=True)
class LadderSideTuning(Native):
    """Train the side network alone: the backbone keeps no activations for a backward pass."""

    category: ClassVar[Category] = Category.ADDITIVE
    paper: ClassVar[str] = "Sung et al. 2022, arXiv 2206.06522"

    reduction: int  # the width over that of the side network
    expansion: int  # inside a layer of the side network

    def conflict(self, cell: Cell) -> str | None:
        for name in ("reduction", "expansion"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        return side.refusal(cell)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises Unusable where the side network would have no width."""
        freeze(model)
        end, width = side.end_of(model, cell), side.width_in(model, cell)
        blocks = side.blocks_before(end, model, cell)
        if self.reduction > width:
            raise Unusable(f"method.reduction={self.reduction}: the network is {width} wide")
        ladder = Ladder(width, width // self.reduction, self.expansion, len(blocks))
        end.ladder = ladder.to(next(blocks[0].parameters()))
        for block, rung in zip(blocks, end.ladder.rungs, strict=True):
            block.rung = rung
            block.register_forward_hook(note)
        end.register_forward_hook(add_ladder)
        return model
