"""Layers that a PEFT type cannot wrap, known by their shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from peft.tuners.frod.model import _category_from_key
from torch import nn
from transformers.pytorch_utils import Conv1D

from benchmark.errors import InputError
from benchmark.methods.peft_types import WRAPS
from benchmark.methods.places import inputs_of, width_of

if TYPE_CHECKING:
    from collections.abc import Callable

UNLIMITED = {"OFT", "PVERA", "VERA"}  # their rank is no rank of a layer's matrix
FLAT = {  # starts of LoRA -> the layers that they cannot start
    "mica": ("Conv2d",),
    "olora": ("Conv1D", "Conv2d"),
    "orthogonal": ("Conv2d",),
    "pissa": ("Conv2d",),
}
Sides = tuple[int, int]  # outputs, inputs


def refuse_misfits(peft_type: str, rank: int | None, options: Mapping[str, Any], layers: dict[str, nn.Module]) -> None:
    """Raises InputError, naming the first layer that does not fit."""
    if peft_type == "FROD":
        _refuse_unlike(layers)
    for name, layer in layers.items():
        kind = "Conv1D" if isinstance(layer, Conv1D) else type(layer).__name__
        if kind in WRAPS and peft_type not in WRAPS[kind].split():
            raise InputError(f"{peft_type} cannot wrap {kind} layers: {name}")
        start = str(options.get("init_lora_weights", ""))
        if kind in FLAT.get(start.partition("_")[0], ()):  # pissa_niter_4 is pissa by a faster decomposition
            raise InputError(f"method.options.init_lora_weights={start} cannot start a {kind} layer: {name}")
        if kind not in ("Linear", "Conv1D", "Conv2d"):
            continue
        sides = _sides(layer)
        if rank is not None and peft_type not in UNLIMITED and rank > min(sides):
            raise InputError(
                f"method.rank={rank} is larger than the smaller side of {name}, {sides[1]} inputs x {sides[0]} "
                f"outputs: choose at most {min(sides)}"
            )
        if problem := PROBLEMS.get(peft_type, _none)(rank or 0, options, sides):
            raise InputError(f"{problem}: {name}, {sides[1]} inputs x {sides[0]} outputs")


def _refuse_unlike(layers: dict[str, nn.Module]) -> None:
    shared: dict[str, int] = {}
    for name, layer in layers.items():
        inputs = inputs_of(layer)
        if inputs != (others := shared.setdefault(_category_from_key(name), inputs)):
            raise InputError(
                f"FROD shares a basis among layers of one name: {name} has {inputs} inputs, others {others}"
            )


def _sides(layer: nn.Module) -> Sides:
    inputs = inputs_of(layer) // getattr(layer, "groups", 1) * math.prod(getattr(layer, "kernel_size", (1,)))
    return width_of(layer), inputs


def _none(rank: int, options: Mapping[str, Any], sides: Sides) -> str | None:
    return None


def _shira(rank: int, options: Mapping[str, Any], sides: Sides) -> str | None:
    if rank * sum(sides) > math.prod(sides):
        return f"method.rank={rank} asks SHIRA for more entries than the matrix has"
    return None


def _osf(rank: int, options: Mapping[str, Any], sides: Sides) -> str | None:
    if rank >= min(sides):
        return f"method.rank={rank} keeps every direction, and leaves OSF none to train"
    return None


def _oft(rank: int, options: Mapping[str, Any], sides: Sides) -> str | None:
    size = options.get("oft_block_size")
    if size and sides[1] % size:  # the library would take another size, and say so in a warning alone
        return f"method.options.oft_block_size={size} does not divide OFT's inputs"
    return None


PROBLEMS: dict[str, Callable[[int, Mapping[str, Any], Sides], str | None]] = {"OFT": _oft, "OSF": _osf, "SHIRA": _shira}
