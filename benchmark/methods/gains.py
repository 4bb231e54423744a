"""Gain per output channel: gamma * (W x + b) = (gamma W) x + gamma b.

A parametrization of the weight works for layers of every layout, and merges by keeping the product.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from benchmark.methods.native import Part

if TYPE_CHECKING:
    from torch.nn import Parameter


class Gain(Part):
    """Gain on a weight's outputs, its first dimension; its second in GPT-2's Conv1D."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        weight: Parameter = module.weight
        self.shape = (1, -1) if isinstance(module, Conv1D) else (-1, *[1] * (weight.ndim - 1))
        self.gamma = nn.Parameter(weight.new_ones(weight.shape[1 if isinstance(module, Conv1D) else 0]))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.gamma.view(self.shape)


class Shift(Part):
    """Gain on a bias, and optionally a shift."""

    def __init__(self, gain: Gain, shift: bool) -> None:
        super().__init__()
        self.gain = gain
        self.beta = nn.Parameter(torch.zeros_like(gain.gamma)) if shift else None

    def forward(self, bias: torch.Tensor) -> torch.Tensor:
        scaled = bias * self.gain.gamma
        return scaled if self.beta is None else scaled + self.beta


def scale(module: nn.Module, shift: bool) -> None:
    """Add a gain of one to a layer, and with `shift` a shift of zero to its bias."""
    gain = Gain(module)
    parametrize.register_parametrization(module, "weight", gain, unsafe=True)
    if getattr(module, "bias", None) is not None:
        parametrize.register_parametrization(module, "bias", Shift(gain, shift), unsafe=True)


def fold(model: nn.Module) -> nn.Module:
    """Merge gains and shifts into weights and biases."""
    for module in list(model.modules()):
        for name, kind in (("bias", Shift), ("weight", Gain)):
            if parametrize.is_parametrized(module, name) and isinstance(module.parametrizations[name][0], kind):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    return model
