"""Invertible adapters (Pfeiffer et al. 2020, arXiv 2005.00052).

NICE coupling of the embeddings, undone at the head.

o1 = e1 + F(e2), o2 = e2 + G(o1), where e1 and e2 are the halves of an embedding; F, G: two layers each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.bottleneck import unfit
from benchmark.methods.layers import modules_with
from benchmark.methods.native import Native, Part

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Coupling(Part):
    """Additive coupling of two halves, exactly invertible.

    Dinh et al. 2015, arXiv 1410.8516, section 3.2.
    """

    def __init__(self, half: int, inner: int, activation: str) -> None:
        super().__init__()
        self.f, self.g = (
            nn.Sequential(nn.Linear(half, inner), ACT2FN[activation], nn.Linear(inner, half)) for _ in range(2)
        )
        for last in (self.f[-1], self.g[-1]):  # our choice: the coupling starts as the identity
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, e: torch.Tensor) -> torch.Tensor:
        one, two = e.chunk(2, -1)
        one = one + self.f(two)
        return torch.cat([one, two + self.g(one)], -1)

    def inverse(self, o: torch.Tensor) -> torch.Tensor:
        """Invert forward()."""
        one, two = o.chunk(2, -1)
        two = two - self.g(one)
        return torch.cat([one - self.f(two), two], -1)


def couple(block: nn.Module, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Couple the input of the first block."""
    if inputs:
        return (block.coupling(inputs[0]), *inputs[1:]), named
    return inputs, {**named, "hidden_states": block.coupling(named["hidden_states"])}


def undo(head: nn.Module, inputs: tuple) -> tuple:
    """Invert the coupling before the language model's head."""
    return (head.coupling.inverse(inputs[0]), *inputs[1:])


@dataclass(frozen=True, kw_only=True)
class Inversion(Native):
    """Mix-in for bottleneck methods: coupled embeddings (of the encoder).

    "Embeddings" are the input of the first block, with positions (AdapterHub). Before a new head they are not inverted.
    """

    inversion: int  # width inside F and G

    def conflict(self, cell: Cell) -> str | None:
        reason = unfit(self.activation, {"inversion": self.inversion})
        return reason or roles.refusal(cell.backbone.family, ("embedding",)) or super().conflict(cell)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        model, family = super().attach(model, cell), cell.backbone.family
        weight = next(iter(modules_with(model, family, ["embedding"]).values())).weight
        if weight.shape[1] % 2:
            raise InputError(f"embeddings of odd width {weight.shape[1]} cannot be halved: choose another method")
        first = model.get_submodule(blocks_of(model, family)[0])
        first.coupling = Coupling(weight.shape[1] // 2, self.inversion, self.activation).to(weight)
        first.register_forward_pre_hook(couple, with_kwargs=True)
        if not cell.kind.new_head:
            for head in modules_with(model, family, ["head"]).values():
                head.coupling = first.coupling
                head.register_forward_pre_hook(undo)
        return model
