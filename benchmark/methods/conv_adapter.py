"""Convolutional adapters (Li et al. 2023, arXiv 2303.03267).

h + SE(C3(C5(relu(C3(LN h))))) after each FFN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from benchmark.backbones import roles
from benchmark.errors import InputError
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import Input

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Convolutions(Part):
    """Three convolutions in groups of two channels, and a gate per channel.

    The gate (squeeze and excite, Hu et al. 2018) reads the mean over all frames, including padding.
    """

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        half = width // 2
        self.norm = nn.LayerNorm(width)
        self.first = nn.Conv1d(width, half, 3, padding="same", groups=half, bias=False)
        self.middle = nn.Conv1d(half, half, 5, padding="same", groups=half, bias=False)
        self.last = nn.Conv1d(half, width, 3, padding="same", groups=half, bias=False)
        self.squeeze = nn.Linear(width, width // ratio, bias=False)
        self.excite = nn.Linear(width // ratio, width, bias=False)
        nn.init.zeros_(self.last.weight)  # unlike the paper, so that all methods start from the same network

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        x = self.norm(h).transpose(1, 2)
        x = self.last(self.middle(F.relu(self.first(x)))).transpose(1, 2)
        return x * self.excite(F.relu(self.squeeze(x.mean(1, keepdim=True)))).sigmoid()


def add_convolutions(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Add the convolutions of the hooked module."""
    return h + module.convolutions(h)


@dataclass(frozen=True, kw_only=True)
class ConvAdapter(Native):
    """Convolutions along the sequence, on each feed-forward's output."""

    ratio: int  # channels per inner unit of the gate

    def conflict(self, cell: Cell) -> str | None:
        if self.ratio < 1:
            return f"method.ratio={self.ratio}: must be at least 1"
        if not cell.kind.new_head:
            return "its convolutions read later positions, which a language model must not see"
        if cell.backbone.reads == Input.IMAGE:
            return f"its convolutions run along a sequence, {cell.backbone.family} reads images"
        return roles.refusal(cell.backbone.family, ("down",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the gate would have no inner unit, or the width is odd."""
        freeze(model)
        for name, module in modules_with(model, cell.backbone.family, ("down",)).items():
            width = width_of(module)
            if self.ratio > width or width % 2:
                raise InputError(f"method.ratio={self.ratio}: {name} is {width} wide, an even width above wanted")
            module.convolutions = Convolutions(width, self.ratio).to(module.weight)
            module.register_forward_hook(add_convolutions)
        return model
