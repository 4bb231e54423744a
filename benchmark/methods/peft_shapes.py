"""Types of the library with further conditions on the shapes of layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peft.tuners.frod.model import _category_from_key

from benchmark.errors import InputError
from benchmark.methods.hf_peft import Peft
from benchmark.methods.layers import inputs_of

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Shira(Peft):
    """SHiRA (Bhardwaj et al. 2024, arXiv 2406.13175), with as many entries as LoRA."""

    def misfit(self, outputs: int, inputs: int) -> str | None:
        if (self.rank or 0) * (outputs + inputs) > outputs * inputs:
            return f"method.rank={self.rank} asks SHIRA for more entries than the matrix has"
        return None


@dataclass(frozen=True, kw_only=True)
class Osf(Peft):
    """OSF (Nayak et al. 2025, arXiv 2504.07097); `rank` directions stay frozen."""

    def misfit(self, outputs: int, inputs: int) -> str | None:
        if (self.rank or 0) >= min(outputs, inputs):
            return f"method.rank={self.rank} keeps every direction, and leaves OSF none to train"
        return None


@dataclass(frozen=True, kw_only=True)
class Oft(Peft):
    """OFT (Qiu et al. 2023, arXiv 2306.07280).

    The library would replace a block size that does not divide the inputs.
    """

    def misfit(self, outputs: int, inputs: int) -> str | None:
        size = self.options.get("oft_block_size")
        if size and inputs % size:
            return f"method.options.oft_block_size={size} does not divide OFT's inputs"
        return None


@dataclass(frozen=True, kw_only=True)
class Frod(Peft):
    """FRoD (Wan et al. 2025, arXiv 2512.23485); layers of one name share a basis."""

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers, shared = super().layers(model, cell), {}
        for name, layer in layers.items():
            inputs = inputs_of(layer)
            if inputs != (others := shared.setdefault(_category_from_key(name), inputs)):
                raise InputError(
                    f"FROD shares a basis among layers of one name: {name} has {inputs} inputs, others {others}"
                )
        return layers
