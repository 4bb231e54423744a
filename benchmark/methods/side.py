"""Base of side networks: the states that they read and change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.layers import modules_with, width_of
from benchmark.types import Input

if TYPE_CHECKING:
    from benchmark.cell import Cell


def refusal(cell: Cell) -> str | None:
    """Give the reason why this network cannot have a side network."""
    family = cell.backbone.family
    if cell.backbone.reads == Input.IMAGE and family != "vision_transformer":
        return (
            f"the states of {family} change in width and number between blocks, which a side network does not support"
        )
    return roles.refusal(family, ("default",))


def end_of(model: nn.Module, cell: Cell) -> nn.Module:
    """Find the module of the last state before the head, in the decoder if any."""
    if not cell.kind.new_head:
        return model.get_decoder()
    return model.encoder.norm if cell.backbone.reads == Input.IMAGE else model.encoder


def blocks_before(end: nn.Module, model: nn.Module, cell: Cell) -> list[nn.Module]:
    """List the blocks of the end's encoder or decoder. Raises InputError."""
    blocks = [model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)]
    if not cell.kind.new_head:
        inside = set(end.modules())
        blocks = [block for block in blocks if block in inside]
    if not blocks:
        raise InputError(f"this {cell.backbone.family} network has no blocks that a side network could read")
    return blocks


def width_in(model: nn.Module, cell: Cell) -> int:
    """Count the channels of the states."""
    return width_of(next(reversed(modules_with(model, cell.backbone.family, ("down",)).values())))


def last_state(output: Any) -> torch.Tensor:
    """Take the state out of the end's output."""
    return output if isinstance(output, torch.Tensor) else output.last_hidden_state


def add_change(output: Any, change: torch.Tensor) -> Any:
    """Add a change to the last state, and to all states that a mixing head reads."""
    if isinstance(output, torch.Tensor):
        return output + change
    output.last_hidden_state = output.last_hidden_state + change
    if output.hidden_states:
        output.hidden_states = tuple(state + change for state in output.hidden_states)
    return output
