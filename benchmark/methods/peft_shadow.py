"""ShadowPEFT (Li et al. 2026, arXiv 2604.19254).

The state of a small network corrects that of the frozen one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from peft.tuners.shadow.layers import ShadowLayer

from benchmark.backbones.blocks import blocks_of
from benchmark.methods.hf_peft import Peft
from benchmark.types import Kind

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

UNREAD = ("shadow_update_transform", "shadow_update_gate")


@dataclass(frozen=True, kw_only=True)
class Shadow(Peft):
    """ShadowPEFT on frozen embeddings, with unused parts frozen."""

    shards: ClassVar[bool] = False

    def misplaced(self, cell: Cell) -> str | None:
        if cell.kind != Kind.CAUSAL_LM:
            return f"SHADOW needs a decoder, and {cell.backbone.family} is none here"
        return super().misplaced(cell)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        """Find the blocks, which it wraps."""
        return {name: model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)}

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        model = super().attach(model, cell)
        last = [module for module in model.modules() if isinstance(module, ShadowLayer)][-1]
        for name in UNREAD:  # they compute the state after the last block
            getattr(last, name).requires_grad_(False)
        for name, p in model.base_model.shadow_backbone.named_parameters():
            if name.endswith("wte.weight"):  # of GPT-2; the library removes those of other architectures
                p.requires_grad_(False)
        return model
