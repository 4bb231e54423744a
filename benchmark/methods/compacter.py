"""Compacter (Mahabadi et al. 2021, arXiv 2106.04647).

Bottleneck adapters whose W = sum_i A_i kron (s_i t_i).

In a decoder with cross-attention, an adapter follows both attentions. The authors have none after cross-attention: they
train 0.073 % of T5-base's parameters, we 0.085 %. Compacter++ has no such adapter, and the size of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from transformers.activations import ACT2FN

from benchmark.backbones import roles
from benchmark.errors import InputError
from benchmark.methods.bottleneck import add_bottleneck, add_to_block, add_to_map, ends, unfit
from benchmark.methods.layers import modules_with, train, width_of
from benchmark.methods.native import Native, Part, freeze

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmark.cell import Cell


def glorot(*shape: int) -> nn.Parameter:
    """Draw a stack of matrices by Glorot's rule; shape (count, rows, columns)."""
    return nn.Parameter(torch.stack([nn.init.xavier_normal_(torch.empty(shape[1:])) for _ in range(shape[0])]))


class Rule(Part):
    """Matrices A_i, shared by every layer of every adapter (section 3).

    The paper's code draws them with a deviation of 0.01.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.a = glorot(number, number, number)


class Kronecker(Part):
    """Layer x W + b with W of shape (inputs, outputs), equation 5."""

    def __init__(self, inputs: int, outputs: int, rank: int, rule: Rule) -> None:
        super().__init__()
        number, self.rule = len(rule.a), rule
        self.s = glorot(number, inputs // number, rank)
        self.t = glorot(number, rank, outputs // number)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.einsum("iab,icr,ird->bdac", self.rule.a, self.s, self.t)
        return functional.linear(x, weight.reshape(len(self.bias), -1), self.bias)


class Compact(Part):
    """Bottleneck of Kronecker layers; zero at first, since s is zero."""

    def __init__(self, width: int, bottleneck: int, activation: str, rank: int, rule: Rule) -> None:
        super().__init__()
        self.down = Kronecker(width, bottleneck, rank, rule)
        self.activation = ACT2FN[activation]
        self.up = Kronecker(bottleneck, width, rank, rule)
        nn.init.zeros_(self.up.s)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.up(self.activation(self.down(h)))


@dataclass(frozen=True, kw_only=True)
class Compacter(Native):
    """Adapters of Kronecker layers after attention and feed-forward."""

    bottleneck: int
    activation: str
    number: int  # of summands; n in the paper
    rank: int
    norms: bool  # train the normalisation layers too, as the paper does

    def conflict(self, cell: Cell) -> str | None:
        widths = {"bottleneck": self.bottleneck, "number": self.number, "rank": self.rank}
        if reason := unfit(self.activation, widths):
            return reason
        if self.bottleneck % self.number:
            return f"method.bottleneck={self.bottleneck}: no multiple of method.number={self.number}"
        return roles.refusal(cell.backbone.family, ("back", "norm") if self.norms else ("back",))

    def carriers(self, model: nn.Module, family: str) -> Iterator[tuple[nn.Module, nn.Module]]:
        """Yield each module that gets an adapter, with a projection of its width."""
        return ((module, module) for module in modules_with(model, family, ["back"]).values())

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        if self.norms:
            train(model, cell.backbone.family, ["norm"])
        rule = Rule(self.number)
        for carrier, back in self.carriers(model, cell.backbone.family):
            width = width_of(back)
            if width % self.number:
                raise InputError(f"method.number={self.number} does not divide {width}, the width of a block")
            carrier.adapter = Compact(width, self.bottleneck, self.activation, self.rank, rule).to(back.weight)
            maps = any(isinstance(module, nn.Conv2d) for module in carrier.modules())
            carrier.register_forward_hook(add_to_map if maps else add_bottleneck if carrier is back else add_to_block)
        return model


@dataclass(frozen=True, kw_only=True)
class CompacterPP(Compacter):
    """One adapter per block, after its feed-forward."""

    def carriers(self, model: nn.Module, family: str) -> Iterator[tuple[nn.Module, nn.Module]]:
        return ends(model, family)
