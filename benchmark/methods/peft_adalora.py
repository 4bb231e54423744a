"""AdaLoRA (Zhang et al. 2023, arXiv 2303.10512).

W + P diag(E) Q, whose entries of E are pruned as training goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import peft
import torch

from benchmark.methods.hf_peft import Peft

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


GATHERED = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # statistics of the library's allocator, per parameter


class Regularised(peft.AdaLoraModel):
    """Network whose training loss includes the penalty on P and Q (equation 4).

    The validation loss does not include it.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs) if self.training else self.model(*args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class AdaLora(Peft):
    """AdaLoRA; `rank` is the initial rank, options.target_r the final average."""

    warmup: float  # fraction of the steps before the first pruning
    settled: float  # fraction of the steps after the last one

    def conflict(self, cell: Cell) -> str | None:
        """Refuse also a schedule whose last pruning the library cannot do."""
        if reason := super().conflict(cell):
            return reason
        config = self.configuration(cell, [])
        if (last := config.total_step - config.tfinal) < 2:  # pruning needs gradients of earlier steps
            return (
                f"budget.steps={cell.budget.steps}: the last pruning is at step {last}, it must be at step 2 or later"
            )
        if config.target_r >= config.init_r:
            return f"method.rank={config.init_r}: must be more than method.options.target_r={config.target_r}"
        return None

    def library_options(self, cell: Cell) -> dict[str, Any]:
        steps = cell.budget.steps
        return {"tinit": int(self.warmup * steps), "tfinal": int(self.settled * steps), **self.options}

    def corrected(self, model: nn.Module) -> nn.Module:
        model.base_model.__class__ = Regularised
        for name, count in model.named_parameters():
            if ".ranknum." in name:  # the library forgets that it is frozen where it moves it to another device
                count.requires_grad_(False)
        return model

    def after_step(self, model: nn.Module, step: int) -> None:
        model.base_model.update_and_allocate(step)  # by the gradients of this step

    def progress(self, model: nn.Module) -> dict[str, torch.Tensor]:
        allocator, pattern = model.base_model.rankallocator, model.peft_config["default"].rank_pattern
        gathered = {f"{kind}.{n}": t for kind in GATHERED for n, t in getattr(allocator, kind).items()}
        return gathered | {f"rank_pattern.{name}": torch.tensor(ranks) for name, ranks in (pattern or {}).items()}

    def resume(self, model: nn.Module, progress: dict[str, torch.Tensor]) -> None:
        parts: dict[str, dict[str, torch.Tensor]] = {kind: {} for kind in (*GATHERED, "rank_pattern")}
        for name, tensor in progress.items():
            kind, _, inner = name.partition(".")
            parts[kind][inner] = tensor
        for kind in GATHERED:
            setattr(model.base_model.rankallocator, kind, parts[kind])
        if parts["rank_pattern"]:
            pattern = {name: tensor.tolist() for name, tensor in parts["rank_pattern"].items()}
            model.peft_config["default"].rank_pattern = pattern

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write all of E: the best state may precede the last pruning."""
        model.peft_config["default"].rank_pattern = None
        super().save(model, folder)
