"""Encoder and layer adapters (Otake et al. 2023, arXiv 2212.02780).

E: x + LN(W_up f(W_down x)) on each feed-forward's output. L: z_l = LN(f(W_down h_l)) on each layer's output; the head
reads their softmax-weighted mixture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import near
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.methods.side import add_change
from benchmark.types import Input

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Encoder(Part):
    """Branch of the E-adapter; the gain of its norm starts at zero."""

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        self.activation = ACT2FN[activation]
        self.norm = nn.LayerNorm(width)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.up(self.activation(self.down(x))))


class Layers(Part):
    """L-adapters and their mixture.

    In the paper a head of the mixture's width reads only the mixture. Here a projection, zero at first, brings it to
    the network's width and adds it to the last state, so that the head is the same for all methods.
    """

    def __init__(self, width: int, bottleneck: int, activation: str, layers: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Linear(width, bottleneck) for _ in range(layers))
        self.activation = ACT2FN[activation]
        self.norm = nn.ModuleList(nn.LayerNorm(bottleneck) for _ in range(layers))
        self.weight = nn.Parameter(torch.zeros(layers))
        self.back = nn.Linear(bottleneck, width, bias=False)
        nn.init.zeros_(self.back.weight)

    def forward(self, states: tuple[torch.Tensor, ...]) -> torch.Tensor:
        read = zip(self.weight.softmax(0), self.norm, self.down, states, strict=True)
        return self.back(sum(weight * norm(self.activation(down(h))) for weight, norm, down, h in read))


def add_encoder(module: nn.Module, _: tuple, x: torch.Tensor) -> torch.Tensor:
    """Add the E-adapter of the hooked module."""
    return x + module.e_adapter(x)


def ask(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """Make the encoder return every layer's state."""
    return args, kwargs | {"output_hidden_states": True}


def add_layers(encoder: nn.Module, _: tuple, output: Any) -> Any:
    """Add the mixture of all layers' states to the last one."""
    return add_change(output, encoder.l_adapter(output.hidden_states[1:]))


@dataclass(frozen=True, kw_only=True)
class LEAdapter(Native):
    """E-adapters, L-adapters, or both.

    With both, the last layer has no E-adapter, since the mixture reads it directly.
    """

    e_bottleneck: int | None  # null: no E-adapters
    l_bottleneck: int | None  # null: no L-adapters
    activation: str
    norms: bool  # train the layers' norms too, as the paper does

    def conflict(self, cell: Cell) -> str | None:
        widths = [width for width in (self.e_bottleneck, self.l_bottleneck) if width is not None]
        if not widths or min(widths) < 1:
            return "method.e_bottleneck, method.l_bottleneck: a number of at least 1 wanted for one of them"
        if self.activation not in ACT2FN:
            return f"method.activation={self.activation}: no such activation{near(self.activation, ACT2FN)}"
        if not cell.kind.new_head or cell.backbone.reads == Input.IMAGE:
            return f"{cell.backbone.family} gives a new head no sequence of states here"
        return roles.refusal(cell.backbone.family, ("down", "norm"))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        family = cell.backbone.family
        blocks = blocks_of(model, family)
        if self.norms:
            for name, module in modules_with(model, family, ["norm"]).items():
                module.requires_grad_(any(name.startswith(f"{block}.") for block in blocks))
        downs = list(modules_with(model, family, ["down"]).values())
        if self.e_bottleneck:
            for down in downs[:-1] if self.l_bottleneck else downs:
                down.e_adapter = Encoder(width_of(down), self.e_bottleneck, self.activation).to(down.weight)
                down.register_forward_hook(add_encoder)
        if self.l_bottleneck:
            layers = Layers(width_of(downs[0]), self.l_bottleneck, self.activation, len(blocks))
            model.encoder.l_adapter = layers.to(downs[0].weight)
            model.encoder.register_forward_pre_hook(ask, with_kwargs=True)
            model.encoder.register_forward_hook(add_layers)
        return model
