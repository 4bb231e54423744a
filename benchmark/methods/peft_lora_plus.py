"""LoRA+ (Hayou et al. 2024, arXiv 2402.12354).

In W + s B A, the learning rate of B is a multiple of that of A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.methods.peft_lora import Lora

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class LoraPlus(Lora):
    """LoRA+; the learning rate is that of B."""

    ratio: float  # of B's learning rate to A's: lambda in the paper

    def conflict(self, cell: Cell) -> str | None:
        if self.ratio <= 0:
            return f"method.ratio={self.ratio}: must be more than 0"
        return super().conflict(cell)

    def groups(self, model: nn.Module, lr: float) -> list[dict]:
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        slow = [p for name, p in trained.items() if "lora_A" in name]
        fast = [p for name, p in trained.items() if "lora_A" not in name]
        return [{"params": slow, "lr": lr / self.ratio}, {"params": fast, "lr": lr}]
