"""Norm tuning (Zhao et al. 2024, arXiv 2312.11420): train the normalisation layers alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark import roles
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from torch import nn

    from benchmark.types import Cell


@dataclass(frozen=True, kw_only=True)
class NormTuning(Native):
    """Train the gain, and the shift where there is one, of every normalisation layer."""

    trains_buffers: ClassVar[bool] = True

    def conflict(self, cell: Cell) -> str | None:
        return roles.refusal(cell.backbone.family, ("norm",))

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        names = [name for name, _ in model.named_modules()]
        for name in roles.resolve(names, cell.backbone.family, ("norm",)):
            model.get_submodule(name).requires_grad_(True)
        return model
