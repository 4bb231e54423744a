"""Visual prompt tuning (Jia et al. 2022, arXiv 2203.12119).

Learnt tokens after the class token.

Shallow: they are added before the first block and removed after the last. Deep: each block has new ones, which replace
those of the block before. They are removed before the last norm and the pooling; for a class token, which the paper
reads, this makes no difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.methods.native import Native, Part, freeze

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Prompt(Part):
    """Tokens, initialised by Xavier's rule for (pixels of a patch, width)."""

    def __init__(self, tokens: int, width: int, pixels: int, after: int) -> None:
        super().__init__()
        self.after = after  # number of tokens before them
        bound = math.sqrt(6 / (pixels + width))
        self.tokens = nn.Parameter(torch.empty(tokens, width).uniform_(-bound, bound))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        tokens = self.tokens.to(states.dtype).expand(len(states), -1, -1)
        return torch.cat([states[:, : self.after], tokens, states[:, self.after :]], 1)


def insert(block: nn.Module, inputs: tuple) -> tuple:
    """Insert the block's tokens into its input."""
    return block.prompt(inputs[0]), *inputs[1:]


def remove(block: nn.Module, _: tuple, states: torch.Tensor, start: int, count: int) -> torch.Tensor:
    """Remove the tokens from a block's output."""
    return torch.cat([states[:, :start], states[:, start + count :]], 1)


@dataclass(frozen=True, kw_only=True)
class VPT(Native):
    """Prompt tokens at the first block, or at every block."""

    changes_output_at_init: ClassVar[str | None] = "the learnt tokens are attended to from the first step on"

    tokens: int
    deep: bool

    def conflict(self, cell: Cell) -> str | None:
        if self.tokens < 1:
            return f"method.tokens={self.tokens}: must be at least 1"
        family = cell.backbone.family
        if reason := roles.refusal(family, ()):
            return reason
        if family != "vision_transformer":
            return f"{family} has no sequence of image patches and a class token, into which VPT inserts its tokens"
        return None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        blocks = [model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)]
        patches = model.encoder.patch_embed.proj.weight  # width x channels x height x width of a patch
        start = min(model.encoder.num_prefix_tokens, 1)  # after the class token, where there is one
        for block in blocks if self.deep else blocks[:1]:
            block.prompt = Prompt(self.tokens, len(patches), patches[0].numel(), start).to(patches)
            block.register_forward_pre_hook(insert)
        for block in blocks if self.deep else blocks[-1:]:
            block.register_forward_hook(partial(remove, start=start, count=self.tokens))
        return model
