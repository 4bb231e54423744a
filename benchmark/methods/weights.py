"""Base of methods that change a frozen weight, W' = f(W), on each forward pass."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn
from torch.nn.utils import parametrize
from transformers.pytorch_utils import Conv1D

from benchmark.backbones import roles
from benchmark.methods.layers import unshared_modules_with
from benchmark.methods.native import Native, Part, freeze

if TYPE_CHECKING:
    import torch

    from benchmark.cell import Cell


class Rewrite(Part):
    """Parametrization that applies f to a weight as a matrix, outputs x inputs."""

    def __init__(self, change: nn.Module, transposed: bool) -> None:
        super().__init__()
        self.change, self.transposed = change, transposed

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        matrix = weight.T if self.transposed else weight.flatten(1)
        changed = self.change(matrix)
        return changed.T if self.transposed else changed.view_as(weight)


@dataclass(frozen=True, kw_only=True)
class Rewriting(Native):
    """Method that changes the weights with the chosen roles, and nothing else."""

    mergeable: ClassVar[bool] = True

    targets: list[str]  # roles

    def conflict(self, cell: Cell) -> str | None:
        return roles.refusal(cell.backbone.family, self.targets)

    @abstractmethod
    def change(self, matrix: torch.Tensor) -> Part:
        """Make the module that adapts this frozen matrix, outputs x inputs.

        Raises InputError.
        """

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        freeze(model)
        for module in unshared_modules_with(model, cell.backbone.family, self.targets).values():
            transposed = isinstance(module, Conv1D)  # GPT-2's weights are inputs x outputs
            weight = module.weight.detach()
            change = self.change(weight.T if transposed else weight.flatten(1)).to(weight)
            # unsafe=True skips a trial run, which would need values that a skeleton lacks
            parametrize.register_parametrization(module, "weight", Rewrite(change, transposed), unsafe=True)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        for module in list(model.modules()):
            if parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations.weight[0], Rewrite):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        return model
