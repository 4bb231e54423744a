"""The bottleneck that adapters share: W_up f(W_down h).

Where it can stand, and adding it to what a module gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import nn
from transformers.activations import ACT2FN

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError, near
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Part


def unfit(activation: str, widths: Mapping[str, int]) -> str | None:
    """Give the reason why these widths or this activation are impossible.

    Widths are named by their knobs.
    """
    for knob, width in widths.items():
        if width < 1:
            return f"method.{knob}={width}: must be at least 1"
    if activation not in ACT2FN:
        return f"method.activation={activation}: no such activation{near(activation, ACT2FN)}"
    return None


class Bottleneck(Part):
    """Down-project, bend, up-project; the sum with h is the caller's."""

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.activation = ACT2FN[activation]
        self.up = nn.Linear(bottleneck, width)
        # Houlsby et al., section 3.6: Gaussian of deviation 1e-2 cut at two deviations. Zero on the way up makes the
        # start exactly, not nearly, the identity, so that all methods start from the same network.
        nn.init.trunc_normal_(self.down.weight, std=1e-2, a=-2e-2, b=2e-2)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.up(self.activation(self.down(h)))


def add_bottleneck(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Apply the adapter of the hooked module, so that a deep copy uses its own."""
    return h + module.adapter(h)


def add_to_map(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Apply the adapter at every place of a map whose channels come second."""
    return h + module.adapter(h.movedim(1, -1)).movedim(-1, 1)


def add_to_block(block: nn.Module, _: tuple, output: torch.Tensor | tuple) -> torch.Tensor | tuple:
    """Apply the adapter to the hidden states, which come alone or first."""
    if isinstance(output, tuple):
        return (add_bottleneck(block, (), output[0]), *output[1:])
    return add_bottleneck(block, (), output)


def ends(model: nn.Module, family: str) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Give each block with the last projection back to its width.

    Raises InputError where there is none.
    """
    back = modules_with(model, family, ["back"])
    for block in blocks_of(model, family):
        *_, last = (module for name, module in back.items() if name.startswith(f"{block}."))
        yield model.get_submodule(block), last


class Side(Bottleneck):
    """A bottleneck beside a feed-forward.

    It reads at one module; s times its output is added at another.

    Initialised as LoRA (He et al. 2022, appendix; the same in AdaptFormer's and AdapterHub's code).
    """

    def __init__(self, width: int, bottleneck: int, activation: str, scale: float | None) -> None:
        super().__init__(width, bottleneck, activation)
        self.scale = nn.Parameter(torch.ones(1)) if scale is None else scale
        self.read: torch.Tensor | None = None
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.scale * super().forward(h)


def add_sides(
    model: nn.Module, family: str, bottleneck: int, activation: str, scale: float | None, before_norm: bool
) -> None:
    """Put a Side next to every feed-forward.

    Raises InputError where its two ends cannot be found.
    """
    up, down = (modules_with(model, family, [role]) for role in ("up", "down"))
    if len(up) != len(down):
        raise InputError(f"this {family} network has {len(up)} up- and {len(down)} down-projections: no pairs")
    # where the network adds before it norms, the feed-forward reads the stream itself
    normed = getattr(getattr(model, "config", None), "do_stable_layer_norm", True)
    for name, start, end in zip(up, up.values(), down.values(), strict=True):
        if before_norm and normed:
            norm = roles.prenorm(name, family)
            if norm is None:
                raise InputError(f"{family} has no norm between the stream and the feed-forward: before_norm=false")
            start = model.get_submodule(norm)
        start.adapter = end.adapter = Side(width_of(end), bottleneck, activation, scale).to(end.weight)
        start.register_forward_pre_hook(keep_input)
        end.register_forward_hook(add_side)


def keep_input(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Keep what the adapter will read."""
    module.adapter.read = inputs[0]


def add_side(module: nn.Module, _: tuple, h: torch.Tensor) -> torch.Tensor:
    """Add the adapter's output.

    Nothing is stored on the module: a copy of the network would hold a graph.
    """
    read, module.adapter.read = module.adapter.read, None
    return h + module.adapter(read)
