"""Mix-and-match adapter (He et al. 2022, arXiv 2110.04366, section 4.6).

Prefixes and parallel adapters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.methods.bottleneck import add_sides, unfit
from benchmark.methods.native import Native, freeze
from benchmark.methods.prefixes import CHANGED_OUTPUT, HEADS, add_prefixes

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Mam(Native):
    """Prefix-tuning from an MLP, and scaled parallel adapters."""

    changes_output_at_init: ClassVar[str | None] = CHANGED_OUTPUT

    length: int
    prefix_bottleneck: int
    bottleneck: int  # this and the following: of the adapters, see parallel.yaml
    activation: str
    scale: float | None
    before_norm: bool

    def conflict(self, cell: Cell) -> str | None:
        widths = {knob: getattr(self, knob) for knob in ("length", "prefix_bottleneck", "bottleneck")}
        return unfit(self.activation, widths) or roles.refusal(cell.backbone.family, (*HEADS, "up", "down"))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        family = cell.backbone.family
        add_prefixes(model, family, self.length, self.prefix_bottleneck)
        add_sides(model, family, self)
        return model
