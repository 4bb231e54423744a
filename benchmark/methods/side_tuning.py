"""Side-tuning (Zhang et al. 2020, arXiv 1912.13503): (1 - a) B(x) + a S(x).

B is the frozen network, S a small copy. The share a is a sigmoid, as in the authors' code, and starts at one half.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from benchmark.methods import side
from benchmark.methods.native import Native, Part, freeze

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Side(Part):
    """Copy of the first block, with the same input, and a norm."""

    def __init__(self, block: nn.Module, width: int) -> None:
        super().__init__()
        self.block = copy.deepcopy(block).requires_grad_(True)
        self.norm = nn.LayerNorm(width)
        self.share = nn.Parameter(torch.zeros(1))  # before the sigmoid
        self.read: tuple[tuple, dict[str, Any]] | None = None

    def forward(self, base: torch.Tensor) -> torch.Tensor:
        """Compute the change of the base's state that gives the mixture of both."""
        (args, kwargs), self.read = self.read, None
        output = self.block(*args, **kwargs)
        return self.share.sigmoid() * (self.norm(output[0] if isinstance(output, tuple) else output) - base)


def note(block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> None:
    """Store the input of the first block for its copy."""
    block.side.read = (args, kwargs)


def mix(end: nn.Module, _: tuple, output: Any) -> Any:
    """Mix the side network's state into the last one."""
    return side.add_change(output, end.side(side.last_state(output)))


@dataclass(frozen=True, kw_only=True)
class SideTuning(Native):
    """Side-tuning, without gradients through the frozen network."""

    changes_output_at_init: ClassVar[str | None] = "half of the last state is the side network's from the first step on"

    def conflict(self, cell: Cell) -> str | None:
        if not cell.kind.new_head:
            return "a copy of the first block would share its cache of keys when text is generated"
        return side.refusal(cell)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        end = side.end_of(model, cell)
        first = side.blocks_before(end, model, cell)[0]
        end.side = first.side = Side(first, side.width_in(model, cell)).to(next(first.parameters()))
        first.register_forward_pre_hook(note, with_kwargs=True)
        end.register_forward_hook(mix)
        return model
