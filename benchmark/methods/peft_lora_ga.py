"""LoRA-GA (Wang et al. 2024, arXiv 2407.05000).

A and B start along the gradient of W, and s B A is subtracted from W.

With G = U S V^T: A = c V_{1..r}, B = c U_{r+1..2r}, c = outputs^(1/4) / sqrt(gamma); W - s B A is frozen.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.errors import InputError
from benchmark.methods.fitted import fitted_head
from benchmark.methods.layers import inputs_of, width_of
from benchmark.methods.peft_lora import Lora

if TYPE_CHECKING:
    from benchmark.cell import Cell

START = "start.safetensors"  # the start of A and B, which was subtracted from the weights


@dataclass(frozen=True, kw_only=True)
class LoraGa(Lora):
    """LoRA whose first step approximates that of full fine-tuning."""

    calibrates: ClassVar[bool] = True

    batches: int  # for the gradient
    gamma: float  # larger values make the start of A and B smaller

    def conflict(self, cell: Cell) -> str | None:
        for name in ("batches", "gamma"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        return super().conflict(cell)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers = super().layers(model, cell)
        for name, layer in layers.items():
            if isinstance(layer, nn.Conv2d):
                raise InputError(f"method=lora_ga splits a matrix, {name} is a Conv2d layer: choose other targets")
            if 2 * self.rank > min(inputs_of(layer), width_of(layer)):
                raise InputError(
                    f"method.rank={self.rank}: method=lora_ga takes twice as many directions, and the smaller side of "
                    f"{name} is {min(inputs_of(layer), width_of(layer))}"
                )
        return layers

    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        layers = _layers(model)
        model.eval()
        with fitted_head(model, batches, cell):
            weights = [layer.get_base_layer().weight.requires_grad_(True) for layer in layers.values()]
            for batch in itertools.islice(batches, self.batches):
                model(**batch).loss.backward()
        starts = {}
        for (name, layer), weight in zip(layers.items(), weights, strict=True):
            gradient = weight.grad.T if layer.fan_in_fan_out else weight.grad  # GPT-2's weights are inputs x outputs
            starts |= {f"{name}.A": (factors := self._start(gradient))[0], f"{name}.B": factors[1]}
            weight.requires_grad_(False)
        model.zero_grad()  # and those of a new head
        with torch.no_grad():
            for name, layer in layers.items():
                layer.lora_A["default"].weight.copy_(starts[f"{name}.A"])
                layer.lora_B["default"].weight.copy_(starts[f"{name}.B"])
        _take_off(layers, starts)

    def _start(self, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        outputs, _, right = torch.svd_lowrank(gradient.float(), q=min(4 * self.rank, *gradient.shape), niter=4)
        scale = gradient.shape[0] ** 0.25 / self.gamma**0.5
        return scale * right.T[: self.rank], scale * outputs[:, self.rank : 2 * self.rank]

    def save(self, model: nn.Module, folder: Path) -> None:
        super().save(model, folder)
        starts = {f"{name}.{s}": getattr(layer, f"start_{s}") for name, layer in _layers(model).items() for s in "AB"}
        save_file({name: start.cpu().contiguous() for name, start in starts.items()}, folder / START)

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        if not (folder / START).is_file():
            raise InputError(f"{folder}: no {START}; give the folder that save= wrote")
        model = super().restore(model, folder, cell)
        _take_off(_layers(model), load_file(folder / START))
        return model


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


@torch.no_grad()
def _take_off(layers: dict[str, nn.Module], starts: dict[str, torch.Tensor]) -> None:
    """Subtract s B A from the frozen weights, and store A and B."""
    for name, layer in layers.items():
        weight = layer.get_base_layer().weight
        a, b = (starts[f"{name}.{side}"].to(weight) for side in "AB")
        update = layer.scaling["default"] * (b @ a)
        weight -= update.T if layer.fan_in_fan_out else update
        layer.register_buffer("start_A", a, persistent=False)
        layer.register_buffer("start_B", b, persistent=False)
