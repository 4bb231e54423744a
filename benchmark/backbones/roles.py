"""Roles of modules (query, value, mlp, norm, head) by architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.backbones.families import FAMILIES, PRENORM
from benchmark.errors import near

if TYPE_CHECKING:
    from torch import nn

ALIASES = {
    "attention": ("query", "key", "value", "output"),
    "mlp": ("gate", "up", "down"),
    "conv": ("reduce", "spatial", "restore"),  # of a residual block: 1 x 1, 3 x 3, 1 x 1
    "back": ("output", "down", "restore"),  # projections back to the width of the block
}
NORM = "norm"  # the only role given by a layer's type, not its name
LAYERS = {  # types of roles; of all others: Family.projection
    NORM: "norm",
    "embedding": "Embedding",
    "head": "Linear",
    "stem": "Conv2d",
    "spatial": "Conv2d",
}
FITS = {  # layer type -> classes; some ConvNeXts compute their mlp as 1 x 1 convolutions
    "Linear": {"Linear", "Conv2d"},
    "Conv1D": {"Conv1D"},
    "Conv2d": {"Conv2d"},
    "Embedding": {"Embedding"},
}
SETS = ("default", "scaled")  # names of fields of Family
IDLE = frozenset({"contact_head"})  # modules that no task uses: ESM's head for contacts


def expand(family: str, chosen: Sequence[str]) -> list[str]:
    """Expand SETS and aliases into the atomic roles that the family has."""
    has = _roles(family)
    names = [w for word in chosen for w in (getattr(FAMILIES[family], word) if word in SETS else (word,))]
    return sorted({role for word in names for role in (set(ALIASES[word]) & has if word in ALIASES else {word})})


def refusal(family: str, chosen: Sequence[str]) -> str | None:
    """Give the reason why these roles cannot be chosen, as far as the family decides."""
    if family not in FAMILIES:
        return (
            f"no roles for '{family}': add it to benchmark/backbones/families.py (known: {', '.join(sorted(FAMILIES))})"
        )
    has, anywhere = _roles(family), {role for name in FAMILIES for role in _roles(name)}
    valid = anywhere | {*ALIASES, *SETS}
    for word in chosen:
        if word not in valid:
            return f"no role '{word}'{near(word, valid)}"
        if word in anywhere - has or (word in ALIASES and not has & set(ALIASES[word])):
            return f"{family} has no module with the role '{word}' (it has: {', '.join(sorted(has))})"
    roles = set(expand(family, chosen))
    for suffix, played in FAMILIES[family].modules.items():
        missing = sorted(set(played.split()) - roles)
        if missing and roles & set(played.split()):
            given = ", ".join(sorted(roles & set(played.split())))
            return f"{family} fuses {played.replace(' ', ', ')} in {suffix}: {given} needs {', '.join(missing)} too"
    return None


def resolve(modules: Mapping[str, nn.Module], family: str, roles_chosen: Sequence[str]) -> list[str]:
    """List the modules with these roles, in order. Raises ValueError with a reason."""
    reason = refusal(family, roles_chosen)
    if reason:
        raise ValueError(reason)
    roles = set(expand(family, roles_chosen))
    chosen, present = [], set()
    for name, module in modules.items():
        played = set(of(name, module, family))
        if played and played <= roles:
            chosen.append(name)
            present |= played
    # A role that is named itself must exist; an alias may have roles that a network lacks: T5 1.0 has no gate.
    absent = sorted({word for word in roles_chosen if word in roles} - present)
    if absent:
        raise ValueError(f"this {family} network has no module with the role {', '.join(absent)}")
    return chosen


def of(name: str, module: nn.Module, family: str) -> list[str]:
    """List the roles of a module, by its name and type.

    The type matters because one name may be a convolution in one network, and a norm or a pooling in another.
    """
    types = {kind.__name__ for kind in type(module).__mro__}
    if any("Norm" in kind for kind in types):
        return [] if getattr(module, "weight", None) is None else [NORM]
    return [role for role in _played(name, family) if types & FITS[LAYERS.get(role, FAMILIES[family].projection)]]


def plays(name: str, family: str, atomic: Sequence[str]) -> bool:
    """Say whether a layer's name has one of these atomic roles; never for norms."""
    return bool(set(_played(name, family)) & set(atomic))


def prenorm(up: str, family: str) -> str | None:
    """Name the norm before an up-projection's feed-forward, if it is known."""
    if family not in PRENORM:
        return None
    feed_forward, norm = PRENORM[family]
    return f"{f'.{up}'.rpartition(f'.{feed_forward}')[0]}.{norm}".removeprefix(".")


def layers(family: str, chosen: Sequence[str]) -> set[str]:
    """Give the layer types of roles: Linear, Conv1D, Conv2d, Embedding, norm."""
    return {LAYERS.get(role, FAMILIES[family].projection) for role in expand(family, chosen)}


def _roles(family: str) -> set[str]:
    return {NORM} | {role for played in FAMILIES[family].modules.values() for role in played.split()}


def _played(name: str, family: str) -> list[str]:
    """Look up the longest matching ending: 'model.norm' before 'norm'."""
    parts = name.split(".")
    for start in range(len(parts)):
        played = FAMILIES[family].modules.get(".".join(parts[start:]))
        if played:
            return played.split()
    return []
