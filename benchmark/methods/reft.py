"""Representation fine-tuning (Wu et al. 2024, arXiv 2404.03592).

Hidden states change, the weights do not.

LoReFT: h + R^T (W h + b - R h), the rows of R orthonormal. NoReFT drops the orthogonality, DiReFT also R h, as in the
paper and AdapterHub; pyreft's class of that name keeps the rows orthonormal.
The paper draws W at random, which changes the output from the start. Here W starts as R, or as zero where R h is
dropped, and b as zero, so that nothing is added at first, and W and b still have gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.layers import width_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import IGNORED, Input, Kind

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Intervention(Part):
    """Change of hidden states at the first and last positions of the input."""

    def __init__(self, width: int, method: Reft) -> None:
        super().__init__()
        self.first, self.last, self.difference = method.first, method.last, method.difference
        self.base = nn.Linear(width, method.rank, bias=False)  # R
        nn.init.orthogonal_(self.base.weight)
        if method.orthogonal:  # by Householder reflections of R's size, without a width x width matrix
            parametrizations.orthogonal(self.base, orthogonal_map="householder", use_trivialization=False)
        self.source = nn.Linear(width, method.rank)  # W and b
        with torch.no_grad():
            self.source.weight.copy_(self.base.weight if method.difference else torch.zeros(method.rank, width))
            self.source.bias.zero_()
        self.real: torch.Tensor | None = None  # mask of the input, (batch, positions); None: all positions
        self.writing = False  # generation after the input, token by token

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        if self.writing:
            return h
        base = self.base.weight
        weight = self.source.weight - base if self.difference else self.source.weight
        return h + F.linear(h, weight, self.source.bias) @ base * self.chosen(h).unsqueeze(-1)

    def chosen(self, h: torch.Tensor) -> torch.Tensor:
        """Mark the positions to change, shape (batch, positions); padding does not count."""
        real = h.new_ones(h.shape[:2], dtype=torch.long) if self.real is None else self.real.long()
        from_start, from_end = real.cumsum(1), real.flip(1).cumsum(1).flip(1)
        return (real * ((from_start <= self.first) | (from_end <= self.last))).to(h.dtype)


def intervene(block: nn.Module, _: tuple, output: Any) -> Any:
    """Change a block's output: hidden states, or a tuple that begins with them."""
    if isinstance(output, tuple):
        return block.intervention(output[0]), *output[1:]
    return block.intervention(output)


def note_input(reader: nn.Module, _: tuple, kwargs: dict[str, Any], answers: bool) -> None:
    """Store the mask of the input, without padding and answer, in the interventions."""
    real, cache = kwargs.get("attention_mask"), kwargs.get("past_key_values")
    if real is not None and hasattr(reader, "frames"):  # turn a mask of samples into one of frames
        real = reader.frames(real, int(reader.ends(torch.tensor(real.shape[1]))))
    labels = kwargs.get("labels") if answers else None
    if labels is not None:
        real = torch.ones_like(labels) if real is None else real
        source = real * ((labels != IGNORED).cumsum(1) == 0)
        real = torch.where(source.any(1, keepdim=True), source, real)  # language modelling has no source
    for part in (module for module in reader.modules() if isinstance(module, Intervention)):
        part.real, part.writing = real, bool(cache is not None and cache.get_seq_length())


@dataclass(frozen=True, kw_only=True)
class Reft(Native):
    """Interventions after each block, of the encoder if there is one."""

    rank: int
    first: int  # positions from the start of the input
    last: int  # positions from its end
    orthogonal: bool
    difference: bool  # subtract R h

    def conflict(self, cell: Cell) -> str | None:
        for name, least in (("rank", 1), ("first", 0), ("last", 0)):
            if getattr(self, name) < least:
                return f"method.{name}={getattr(self, name)}: must be at least {least}"
        if self.first + self.last == 0:
            return "method.first=0, method.last=0: no position would be changed"
        family = cell.backbone.family
        if cell.backbone.reads == Input.IMAGE and family != "vision_transformer":
            return f"{family} carries maps: ReFT changes the first and last positions of a sequence, a map has none"
        return roles.refusal(family, ("default",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the hidden states are narrower than the rank."""
        freeze(model)
        reader = model.get_encoder() if cell.kind == Kind.SEQ2SEQ else model  # generate() calls the encoder directly
        inside = {id(module) for module in reader.modules()}
        for block in map(model.get_submodule, blocks_of(model, cell.backbone.family)):
            if id(block) in inside:
                width, weight = width_of_block(block, cell.backbone.family)
                if self.rank > width:
                    raise InputError(f"method.rank={self.rank}: the hidden states are {width} wide")
                block.intervention = Intervention(width, self).to(weight)
                block.register_forward_hook(intervene)
        reader.register_forward_pre_hook(partial(note_input, answers=cell.kind == Kind.CAUSAL_LM), with_kwargs=True)
        return model

    def groups(self, model: nn.Module, lr: float) -> list[dict]:
        """Exclude R's reflections from weight decay, so that its rows stay orthonormal."""
        turned = {id(p) for name, p in model.named_parameters() if "intervention.base.parametrizations" in name}
        (every,) = super().groups(model, lr)
        groups = [[p for p in every["params"] if (id(p) in turned) == wanted] for wanted in (False, True)]
        options = ({}, {"weight_decay": 0.0})
        return [{"params": ps, "lr": lr, **more} for ps, more in zip(groups, options, strict=True) if ps]


def width_of_block(block: nn.Module, family: str) -> tuple[int, torch.Tensor]:
    """Give the width of the hidden states, and a weight of the block."""
    back = next(m for name, m in block.named_modules() if roles.plays(name, family, roles.ALIASES["back"]))
    return width_of(back), back.weight
