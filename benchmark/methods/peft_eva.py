"""EVA (Paischer et al. 2024, arXiv 2410.07170).

In W + s B A, A starts as the principal directions of W's inputs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft.tuners.lora import LoraLayer
from torch import nn

from benchmark.errors import InputError
from benchmark.methods.peft_lora import Lora

if TYPE_CHECKING:
    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Eva(Lora):
    """LoRA with this start, and equal ranks in all layers (rho = 1, section 3.3)."""

    calibrates: ClassVar[bool] = True

    batches: int  # from which directions are computed

    def conflict(self, cell: Cell) -> str | None:
        if self.batches < 1:
            return f"method.batches={self.batches}: must be at least 1"
        return super().conflict(cell)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers = super().layers(model, cell)
        for name, layer in layers.items():
            if isinstance(layer, nn.Conv2d):
                raise InputError(
                    f"method=eva needs inputs that are vectors, and {name} is a Conv2d layer: choose other targets"
                )
        return layers

    @torch.no_grad()
    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        """Set A to the right singular vectors of all inputs; B stays zero."""
        layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
        for layer in layers:
            weight = layer.lora_A["default"].weight
            layer.moments = torch.zeros(weight.shape[1], weight.shape[1], device=weight.device)
        handles = [layer.register_forward_pre_hook(_gather) for layer in layers]
        model.eval()
        for batch in itertools.islice(batches, self.batches):
            model(**batch)
        for layer, handle in zip(layers, handles, strict=True):
            handle.remove()
            _, directions = torch.linalg.eigh(layer.moments)  # the smallest first
            weight = layer.lora_A["default"].weight
            weight.copy_(directions.T.flip(0)[: len(weight)])
            del layer.moments


def _gather(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    rows = inputs[0].detach().float().flatten(0, -2)
    layer.moments += rows.T @ rows
