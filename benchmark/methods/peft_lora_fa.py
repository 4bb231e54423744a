"""LoRA-FA (Zhang et al. 2023, arXiv 2308.03303).

In W + s B A, only B is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.methods.peft_lora import Lora

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class LoraFa(Lora):
    """LoRA with frozen A, which saves the memory of A's inputs."""

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        model = super().attach(model, cell)
        for name, p in model.named_parameters():
            if "lora_A" in name:
                p.requires_grad_(False)
        return model
