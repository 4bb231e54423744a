"""TSA, task-specific adapters (Li et al. 2022, arXiv 2107.00358).

y = f(x) + alpha x beside each 3 x 3 convolution f.

alpha is a 1 x 1 convolution of the same stride, which is computed and merged as a part of the middle of f's kernel. The
paper starts it at 1e-4 times the identity; here it starts at zero, so that all methods start from the same network. The
alignment is a d x d matrix on the features before the head, at first the identity. The paper's classifier, which has no
weights, needs it; the linear head here could learn the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from benchmark.backbones import roles
from benchmark.errors import InputError
from benchmark.methods.layers import modules_with
from benchmark.methods.native import Native, Part, freeze

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Alpha(Part):
    """Convolution of 1 x 1, with the kernel's groups, in the middle of a 3 x 3 one."""

    def __init__(self, kernel: torch.Tensor) -> None:
        super().__init__()
        self.alpha = nn.Parameter(kernel.new_zeros(*kernel.shape[:2], 1, 1))

    def forward(self, kernel: torch.Tensor) -> torch.Tensor:
        return kernel + F.pad(self.alpha, (1, 1, 1, 1))


class Alignment(Part):
    """Linear map of the features that the head reads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(width))


def align(encoder: nn.Module, _: tuple, features: torch.Tensor) -> torch.Tensor:
    """Apply the encoder's alignment."""
    return features @ encoder.alignment.matrix.T


@dataclass(frozen=True, kw_only=True)
class TSA(Native):
    """Adapters of 3 x 3 convolutions in residual blocks, and the alignment."""

    mergeable: ClassVar[bool] = True

    alignment: bool

    def conflict(self, cell: Cell) -> str | None:
        family = cell.backbone.family
        if reason := roles.refusal(family, ()):
            return reason
        if roles.refusal(family, ("conv",)):
            return f"{family} has no residual blocks of 3 x 3 convolutions, to which TSA adds its own"
        return None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError without 3 x 3 convolutions, or with a head of pairs."""
        freeze(model)
        convolutions = modules_with(model, cell.backbone.family, ["conv"]).values()
        spatial = [module for module in convolutions if module.kernel_size == (3, 3)]
        if not spatial:
            raise InputError(f"this {cell.backbone.family} network has no 3 x 3 convolution, to which TSA adds its own")
        for module in spatial:
            parametrize.register_parametrization(module, "weight", Alpha(module.weight.detach()), unsafe=True)
        if self.alignment:
            head = model.new_head
            if head.pair:
                raise InputError("method.alignment=true: the head reads the difference of two inputs, set it to false")
            weight = head.project.weight
            model.encoder.alignment = Alignment(weight.shape[1]).to(weight)
            model.encoder.register_forward_hook(align)
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        for module in list(model.modules()):
            if parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations.weight[0], Alpha):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        if self.alignment:
            with torch.no_grad():
                weight = model.new_head.project.weight
                weight.copy_(weight @ model.encoder.alignment.matrix)
            hooks = model.encoder._forward_hooks
            del hooks[next(key for key, hook in hooks.items() if hook is align)]
            del model.encoder.alignment
        return model
