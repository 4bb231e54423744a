"""LoRA (Hu et al. 2022, arXiv 2106.09685) and its other starts: W + s B A."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import InputError
from benchmark.methods.hf_peft import Peft

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

GATHERED = ("eva", "lora_ga", "corda", "loftq")  # starts that the library computes from data or for quantisation
FLAT = {  # start -> layers that it does not support
    "mica": ("Conv2d",),
    "olora": ("Conv1D", "Conv2d"),
    "orthogonal": ("Conv2d",),
    "pissa": ("Conv2d",),
}


@dataclass(frozen=True, kw_only=True)
class Lora(Peft):
    """LoRA, with the start that options.init_lora_weights names."""

    @property
    def start(self) -> str:
        """Name of the factors' start."""
        return str(self.options.get("init_lora_weights", ""))

    @property
    def weightless(self) -> bool:
        return self.start not in ("pissa", "olora")  # these decompose the weights

    def conflict(self, cell: Cell) -> str | None:
        if self.start in GATHERED:
            return (
                f"method.options.init_lora_weights={self.start}: the data for this start are not computed here "
                "(try method=eva)"
            )
        return super().conflict(cell)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers = super().layers(model, cell)
        for name, layer in layers.items():
            kind = type(layer).__name__
            if kind in FLAT.get(self.start.partition("_")[0], ()):  # pissa_niter_4 is a faster pissa
                raise InputError(f"method.options.init_lora_weights={self.start} cannot start a {kind} layer: {name}")
        return layers
