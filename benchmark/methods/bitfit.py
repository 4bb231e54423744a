"""BitFit (Ben Zaken et al. 2022, arXiv 2106.10199): train the bias vectors alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.errors import InputError
from benchmark.methods.native import Native, freeze
from benchmark.methods.places import bias_vectors
from benchmark.types import Category

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class BitFit(Native):
    """Train all bias vectors, those of normalisation layers among them; those of keys that have no effect are left."""

    category: ClassVar[Category] = Category.SELECTIVE
    paper: ClassVar[str] = "Ben Zaken et al. 2022, arXiv 2106.10199"
    compiles: ClassVar[bool] = True
    mergeable: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        family = cell.backbone.family
        reason = roles.refusal(family, ())
        if reason or roles.FAMILIES[family].biases:
            return reason
        others = ", ".join(sorted(name for name, facts in roles.FAMILIES.items() if facts.biases))
        return f"{family} has no bias vectors to train (families that have: {others})"

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the network has no bias vector."""
        freeze(model)
        biases = bias_vectors(model, cell.backbone.family)
        if not biases:
            raise InputError(f"this {cell.backbone.family} network has no bias vectors: choose another method")
        for bias in biases:
            bias.requires_grad_(True)
        return model
