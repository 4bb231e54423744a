"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751): h + W_up f(W_down h) after each sub-layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers.activations import ACT2FN

from benchmark import roles
from benchmark.methods.native import Native, freeze
from benchmark.types import Unusable
from benchmark.wording import near

if TYPE_CHECKING:
    from benchmark.types import Cell

PLACES = ("back",)  # section 2.1: after the projection back to the input size, before the skip connection


class Bottleneck(nn.Module):
    """Down-project, bend, up-project; the sum with h is the caller's."""

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.activation = ACT2FN[activation]
        self.up = nn.Linear(bottleneck, width)
        # Section 3.6: Gaussian of deviation 1e-2 cut at two deviations. Zero on the way up makes the start exactly,
        # not nearly, the identity, so that all methods start from the same network.
        nn.init.trunc_normal_(self.down.weight, std=1e-2, a=-2e-2, b=2e-2)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.up(self.activation(self.down(h)))


def add_bottleneck(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Apply the adapter that the hooked module itself carries, so that a deep copy uses its own."""
    return h + module.adapter(h)


def add_to_map(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Apply the adapter at every place of a map whose channels come second."""
    return h + module.adapter(h.movedim(1, -1)).movedim(-1, 1)


def width_of(module: nn.Module) -> int:
    """Count a projection's outputs; GPT-2's Conv1D says nf."""
    return next(getattr(module, name) for name in ("nf", "out_features", "out_channels") if hasattr(module, name))


@dataclass(frozen=True, kw_only=True)
class Houlsby(Native):
    """Adapters after every attention and every feed-forward sub-layer."""

    bottleneck: int
    activation: str
    norms: bool  # train the normalisation layers too, as the paper does

    def conflict(self, cell: Cell) -> str | None:
        if self.bottleneck < 1:
            return f"method.bottleneck={self.bottleneck}: must be at least 1"
        if self.activation not in ACT2FN:
            return f"method.activation={self.activation}: no such activation{near(self.activation, ACT2FN)}"
        return roles.refusal(cell.backbone.family, (*PLACES, "norm") if self.norms else PLACES)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        names = [name for name, _ in model.named_modules()]
        for name in roles.resolve(names, cell.backbone.family, ("norm",) if self.norms else ()):
            model.get_submodule(name).requires_grad_(True)
        places = roles.resolve(names, cell.backbone.family, PLACES)
        if not places:
            raise Unusable(f"this {cell.backbone.family} network's blocks have no place for a bottleneck adapter")
        for name in places:
            module = model.get_submodule(name)
            module.adapter = Bottleneck(width_of(module), self.bottleneck, self.activation).to(module.weight)
            module.register_forward_hook(add_to_map if isinstance(module, nn.Conv2d) else add_bottleneck)
        return model
