"""Parameter groups of the optimiser: the method's, and the new head's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


def groups(model: nn.Module, cell: Cell) -> list[dict[str, Any]]:
    """Split the trained parameters by learning rate and by weight decay.

    A new head belongs to the task: it learns at the backbone's head_lr under every method.
    """
    head = [p for name, p in model.named_parameters() if p.requires_grad and in_head(name)]
    of_head = {id(p) for p in head}
    parts = []
    for group in cell.method.groups(model, cell.lr):
        parts += by_decay({**group, "params": [p for p in group["params"] if id(p) not in of_head]})
    return [*parts, *by_decay({"params": head, "lr": cell.head_lr})] if head else parts


def in_head(name: str) -> bool:
    """Say whether a parameter belongs to a new head, by its name."""
    return ".new_head." in f".{name}"


def by_decay(group: dict[str, Any]) -> list[dict[str, Any]]:
    """Split a group by weight decay, without empty parts."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for parameter in group["params"]:
        parts[decays(parameter)].append(parameter)
    halves = {**group, "params": parts[True]}, {**group, "params": parts[False], "weight_decay": 0.0}
    return [part for part in halves if part["params"]]


def decays(parameter: nn.Parameter) -> bool:
    """Say whether weight decay applies: not to vectors, nor to factors of one.

    Decay towards zero pulls an added matrix back to the pretrained network, but pulls a factor, whose neutral value is
    one, away from it. IA3 stores such factors as matrices of one row or column.
    """
    return parameter.ndim > 1 and not bool((parameter == 1).all())
