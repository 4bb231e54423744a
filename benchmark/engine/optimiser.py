"""The optimiser's groups: the method's, and the new head's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


def groups(model: nn.Module, cell: Cell) -> list[dict[str, Any]]:
    """Split what is trained by learning rate, and by whether it decays.

    The head is the task's: it learns at the backbone's head_lr under every method, whatever groups the method makes.
    """
    head = [p for name, p in model.named_parameters() if p.requires_grad and in_head(name)]
    of_head = {id(p) for p in head}
    made = []
    for group in cell.method.groups(model, cell.lr):
        made += by_decay({**group, "params": [p for p in group["params"] if id(p) not in of_head]})
    return [*made, *by_decay({"params": head, "lr": cell.head_lr})] if head else made


def in_head(name: str) -> bool:
    """Whether a parameter belongs to a new head, also where a library has wrapped it."""
    return ".new_head." in f".{name}"


def by_decay(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a group by weight decay, without empty parts."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in group["params"]:
        parts[decays(parameter)].append(parameter)
    halves = {**group, "params": parts[True]}, {**group, "params": parts[False], "weight_decay": 0.0}
    return [part for part in halves if part["params"]]


def decays(parameter: nn.Parameter) -> bool:
    """Whether weight decay applies: to no vector and nothing that begins at one.

    Decay draws to zero. A factor whose neutral value is one would be drawn away from the pretrained network, where
    a zero matrix added to a weight is drawn back to it. IA3 keeps such factors as matrices of one row or column.
    """
    return parameter.ndim > 1 and not bool((parameter == 1).all())
