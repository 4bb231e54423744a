"""Bottlenecks of adapters, W_up f(W_down h), and hooks that add their output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError, near
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Part


def unfit(activation: str, widths: Mapping[str, int]) -> str | None:
    """Give the reason why widths, by their knobs, or an activation are impossible."""
    for knob, width in widths.items():
        if width < 1:
            return f"method.{knob}={width}: must be at least 1"
    if activation not in ACT2FN:
        return f"method.activation={activation}: no such activation{near(activation, ACT2FN)}"
    return None


class Bottleneck(Part):
    """Bottleneck without the residual sum, which the caller adds."""

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.activation = ACT2FN[activation]
        self.up = nn.Linear(bottleneck, width)
        # Houlsby et al., section 3.6: Gaussian of deviation 1e-2, cut at two deviations. The up-projection is zero, so
        # that the adapter is exactly the identity and all methods start from the same network.
        nn.init.trunc_normal_(self.down.weight, std=1e-2, a=-2e-2, b=2e-2)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.up(self.activation(self.down(h)))


def add_bottleneck(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Add the adapter of the hooked module; as a hook, it works in a deep copy too."""
    return h + module.adapter(h)


def add_to_map(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Add the adapter at every position of a map of shape (batch, channels, ...)."""
    return h + module.adapter(h.movedim(1, -1)).movedim(-1, 1)


def add_to_block(block: nn.Module, _: tuple, output: torch.Tensor | tuple) -> torch.Tensor | tuple:
    """Add the adapter to the hidden states, alone or first in a tuple."""
    if isinstance(output, tuple):
        return (add_bottleneck(block, (), output[0]), *output[1:])
    return add_bottleneck(block, (), output)


def ends(model: nn.Module, family: str) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Yield each block with its last projection back to its width.

    Raises InputError where there is none.
    """
    back = modules_with(model, family, ["back"])
    for block in blocks_of(model, family):
        *_, last = (module for name, module in back.items() if name.startswith(f"{block}."))
        yield model.get_submodule(block), last


class Side(Bottleneck):
    """Bottleneck parallel to a feed-forward layer, times s.

    Initialised as LoRA (He et al. 2022, appendix; the same in AdaptFormer's and AdapterHub's code).
    """

    def __init__(self, width: int, bottleneck: int, activation: str, scale: float | None) -> None:
        super().__init__(width, bottleneck, activation)
        self.scale = nn.Parameter(torch.ones(1)) if scale is None else scale
        self.read: torch.Tensor | None = None
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.scale * super().forward(h)


def add_sides(model: nn.Module, family: str, method: Any) -> None:
    """Add a Side to every feed-forward layer.

    method has bottleneck, activation, scale and before_norm. Raises InputError where the feed-forward is not found.
    """
    up, down = (modules_with(model, family, [role]) for role in ("up", "down"))
    if len(up) != len(down):
        raise InputError(f"this {family} network has {len(up)} up- and {len(down)} down-projections: no pairs")
    # without do_stable_layer_norm, no norm comes before the feed-forward
    normed = getattr(getattr(model, "config", None), "do_stable_layer_norm", True)
    for name, start, end in zip(up, up.values(), down.values(), strict=True):
        if method.before_norm and normed:
            norm = roles.prenorm(name, family)
            if norm is None:
                raise InputError(f"{family} has no norm between the stream and the feed-forward: before_norm=false")
            start = model.get_submodule(norm)
        side = Side(width_of(end), method.bottleneck, method.activation, method.scale)
        start.adapter = end.adapter = side.to(end.weight)
        start.register_forward_pre_hook(keep_input)
        end.register_forward_hook(add_side)


def keep_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Store the adapter's input."""
    module.adapter.read = inputs[0]


def add_side(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Add the adapter's output, and drop its input, which a copy must not hold."""
    read, module.adapter.read = module.adapter.read, None
    return h + module.adapter(read)
