"""Layers that methods change, by their roles, and widths of projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.backbones import roles
from benchmark.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def width_of(module: nn.Module) -> int:
    """Count a projection's outputs; GPT-2's Conv1D calls them nf."""
    return next(getattr(module, name) for name in ("nf", "out_features", "out_channels") if hasattr(module, name))


def inputs_of(module: nn.Module) -> int:
    """Count a projection's inputs; GPT-2's Conv1D calls them nx."""
    return next(getattr(module, name) for name in ("nx", "in_features", "in_channels") if hasattr(module, name))


def modules_with(model: nn.Module, family: str, chosen: Sequence[str]) -> dict[str, nn.Module]:
    """Find the modules with these roles, by name. Raises InputError."""
    modules = dict(model.named_modules())
    try:
        names = roles.resolve(modules, family, chosen)
    except ValueError as error:
        raise InputError(str(error)) from error
    if not names:
        raise InputError(f"this {family} network has no module with the role {', '.join(chosen)}")
    return {name: modules[name] for name in names}


def unshared_modules_with(model: nn.Module, family: str, chosen: Sequence[str]) -> dict[str, nn.Module]:
    """Find modules whose output is to be changed.

    Raises InputError also where a module shares its weight with another, which would change only by merging.
    """
    modules = modules_with(model, family, chosen)
    holders: dict[nn.Parameter, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for parameter in module.parameters(recurse=False):
            holders.setdefault(parameter, []).append(name)
    for name, module in modules.items():
        for parameter in module.parameters(recurse=False):
            if others := [other for other in holders[parameter] if other != name]:
                raise InputError(
                    f"{name} shares its weight with {', '.join(others)}, which an adapter of it would not change until "
                    f"it is merged into both: leave {', '.join(roles.of(name, module, family))} out of method.targets"
                )
    return modules


def train(model: nn.Module, family: str, chosen: Sequence[str]) -> None:
    """Unfreeze the modules with these roles. Raises InputError where there are none."""
    for module in modules_with(model, family, chosen).values():
        module.requires_grad_(True)


def bias_vectors(model: nn.Module, family: str) -> list[nn.Parameter]:
    """List the frozen bias vectors that a loss can reach."""
    # the softmax cancels a bias that is equal for all keys, except with rotary positions
    rotary = getattr(getattr(model, "config", None), "position_embedding_type", None) == "rotary"

    def idle(module: str) -> bool:
        keys_alone = roles.plays(module, family, ["key"]) and not roles.plays(module, family, ["value"])
        return (keys_alone and not rotary) or bool(roles.IDLE & set(module.split(".")))

    named = {name: p for name, p in model.named_parameters() if name.endswith("bias") and not p.requires_grad}
    return [p for name, p in named.items() if not idle(name.rpartition(".")[0])]
