"""Lily (Zhong et al. 2024, arXiv 2407.09946).

W x + s sum_e p_e(A x) B_e A x; layers of one kind share all their B.

The library averages p over the batch and its padding, so that an answer depends on the other examples, and shares
matrices in the order of a set. Here each position has a p, and projections of equal name and shape share.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import set_peft_model_state_dict
from peft.tuners.lily.layer import Linear as LilyLinear
from safetensors.torch import load_file

from benchmark.backbones.blocks import NUMBER
from benchmark.errors import InputError
from benchmark.methods.hf_peft import Peft

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

FILE = "adapter_model.safetensors"


class Routed(LilyLinear):
    """Projection that mixes the shared B per position."""

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        hidden = self.lily_A["default"](x)
        shares = self.lily_router["default"](hidden).softmax(-1)
        experts = self.lily_B["default"].weight.unflatten(0, (self.num_B["default"], -1))
        update = torch.einsum("...e,...r,ero->...o", shares, hidden, experts)
        return self.base_layer(x, *args, **kwargs) + self.scaling["default"] * update


@dataclass(frozen=True, kw_only=True)
class Lily(Peft):
    """Lily; options.stride_A layers share one A, all share options.num_B experts."""

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        model = super().attach(model, cell)
        config, kinds = model.peft_config["default"], {}
        for name, layer in model.named_modules():
            if isinstance(layer, LilyLinear):
                layer.update_layer("default", config.r, config=config)  # undoes the library's sharing
                layer.__class__ = Routed
                kinds.setdefault((NUMBER.sub("", name), layer.base_layer.weight.shape), []).append(layer)
        for layers in kinds.values():
            for number, layer in enumerate(layers):
                layer.lily_B["default"] = layers[0].lily_B["default"]
                layer.lily_A["default"] = layers[number - number % config.stride_A].lily_A["default"]
        return model

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Attach, then load, since the library would share other layers."""
        if not (folder / FILE).is_file():
            raise InputError(f"{folder}: no {FILE}; give the folder that save= wrote")
        model = self.attach(model, cell)
        try:
            result = set_peft_model_state_dict(model, load_file(folder / FILE))
        except RuntimeError as error:  # of another shape
            raise InputError(f"{folder} does not fit this backbone: {error}") from error
        if missing := [key for key in result.missing_keys if "lily_" in key]:
            raise InputError(f"{folder} does not fit this backbone: it lacks {', '.join(missing[:3])}")
        return model
