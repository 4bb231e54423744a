"""UniPELT (Mao et al. 2022, arXiv 2110.07577).

LoRA, prefixes and Pfeiffer adapters, each behind a gate sigma(w h + b).

The paper's code averages a gate over the sequence. Here each position has its gate, since an average would show a
decoder the answer, and depend on the padding of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from benchmark.backbones import roles
from benchmark.methods.bottleneck import Bottleneck, add_to_block, ends, unfit
from benchmark.methods.layers import inputs_of, unshared_modules_with, width_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.methods.prefixes import CHANGED_OUTPUT, HEADS, Gate, add_prefixes

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Gated(Part):
    """Product of a gate and a module, g(h) f(h)."""

    def __init__(self, width: int, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.gate = inner, Gate(width)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.gate(h) * self.inner(h)


def low_rank(inputs: int, outputs: int, rank: int) -> nn.Sequential:
    """Make LoRA's B A; the gate replaces alpha / rank (AdapterHub)."""
    up = nn.Linear(rank, outputs, bias=False)
    nn.init.zeros_(up.weight)
    return nn.Sequential(nn.Linear(inputs, rank, bias=False), up)


def add_update(module: nn.Module, inputs: tuple[torch.Tensor, ...], h: torch.Tensor) -> torch.Tensor:
    """Add the gated LoRA of the hooked module."""
    return h + module.update(inputs[0])


@dataclass(frozen=True, kw_only=True)
class UniPELT(Native):
    """LoRA, prefixes and adapters, with learned gates."""

    changes_output_at_init: ClassVar[str | None] = CHANGED_OUTPUT

    targets: list[str]  # roles, of LoRA
    rank: int
    length: int
    prefix_bottleneck: int
    bottleneck: int  # of the adapters
    activation: str

    def conflict(self, cell: Cell) -> str | None:
        widths = {knob: getattr(self, knob) for knob in ("rank", "length", "prefix_bottleneck", "bottleneck")}
        family = cell.backbone.family
        return unfit(self.activation, widths) or roles.refusal(family, HEADS) or roles.refusal(family, self.targets)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        family = cell.backbone.family
        add_prefixes(model, family, self.length, self.prefix_bottleneck, gated=True)
        for module in unshared_modules_with(model, family, self.targets).values():
            inputs = inputs_of(module)
            module.update = Gated(inputs, low_rank(inputs, width_of(module), self.rank)).to(module.weight)
            module.register_forward_hook(add_update)
        for block, last in ends(model, family):
            inner = Bottleneck(width_of(last), self.bottleneck, self.activation)
            nn.init.normal_(inner.down.weight, std=0.02)
            block.adapter = Gated(width_of(last), inner).to(last.weight)
            block.register_forward_hook(add_to_block)
        return model
