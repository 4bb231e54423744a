"""Embedding prompts (Feng and Narayanan 2023, arXiv 2306.05350).

Tokens in front of each layer of a speech encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from benchmark.backbones.blocks import blocks_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import Input

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Prompt(Part):
    """Learned frames, initialised by Xavier's rule from (tokens, width).

    The paper's code uses the shape (1, tokens, width), which gives a smaller bound.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.frames = nn.Parameter(torch.empty(tokens, width))
        nn.init.xavier_uniform_(self.frames)


def prepend(block: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Prepend the prompt to the frames, and widen the mask."""
    frames, (x, *others) = block.prompt.frames, args
    x = torch.cat([frames.to(x.dtype).expand(len(x), -1, -1), x], 1)
    if others:
        others[0] = widen(others[0], len(frames))
    if "attention_mask" in kwargs:
        kwargs = kwargs | {"attention_mask": widen(kwargs["attention_mask"], len(frames))}
    return (x, *others), kwargs


def widen(mask: torch.Tensor | None, tokens: int) -> torch.Tensor | None:
    """Widen a mask, boolean or additive, by tokens that every frame sees.

    Its shape is (batch, keys) or (batch, heads, queries, keys).
    """
    if mask is None:
        return None
    if mask.ndim == 4:  # the prompt sees as much as the first frame
        mask = torch.cat([mask[:, :, :1].expand(-1, -1, tokens, -1), mask], 2)
    value = 0.0 if mask.is_floating_point() else 1
    return F.pad(mask, (tokens, 0), value=value)


def take_off(block: nn.Module, _: tuple, output: Any) -> Any:
    """Remove the prompt's positions; the next layer has another prompt."""
    tokens = len(block.prompt.frames)
    if isinstance(output, tuple):  # WavLM's layers also return the relative positions
        return (output[0][:, tokens:], *output[1:])
    return output[:, tokens:]


@dataclass(frozen=True, kw_only=True)
class EmbeddingPrompt(Native):
    """Prompts that each layer reads and that are removed from its output."""

    changes_output_at_init: ClassVar[str | None] = "the frames attend to the prompts from the first step on"

    tokens: int

    def conflict(self, cell: Cell) -> str | None:
        if self.tokens < 1:
            return f"method.tokens={self.tokens}: must be at least 1"
        if cell.backbone.reads != Input.AUDIO:
            return f"its prompts are frames of a speech encoder, {cell.backbone.family} reads {cell.backbone.reads}"
        return None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        for name in blocks_of(model, cell.backbone.family):
            block = model.get_submodule(name)
            block.prompt = Prompt(self.tokens, model.config.hidden_size).to(next(block.parameters()))
            block.register_forward_pre_hook(prepend, with_kwargs=True)
            block.register_forward_hook(take_off)
        return model
