"""Prefix-tuning (Li and Liang 2021, arXiv 2101.00190).

In encoder, decoder and cross-attention: flat or from an MLP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.methods.native import Native, freeze
from benchmark.methods.prefixes import CHANGED_OUTPUT, HEADS, add_prefixes

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Native):
    """Learned keys and values before those of every attention."""

    changes_output_at_init: ClassVar[str | None] = CHANGED_OUTPUT

    length: int
    bottleneck: int | None  # of the MLP that computes the prefix; null: the prefix itself is trained

    def conflict(self, cell: Cell) -> str | None:
        for knob in ("length", "bottleneck"):
            if (value := getattr(self, knob)) is not None and value < 1:
                return f"method.{knob}={value}: must be at least 1"
        return roles.refusal(cell.backbone.family, HEADS)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        add_prefixes(model, cell.backbone.family, self.length, self.bottleneck)
        return model
