"""Options of a PEFT type, checked against the library's class."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, Any

import peft
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

from benchmark.backbones import roles
from benchmark.errors import near
from benchmark.types import Input, Kind

if TYPE_CHECKING:
    from benchmark.cell import Cell

CONFIGS = {kind.value: config for kind, config in PEFT_TYPE_TO_CONFIG_MAPPING.items()}
TASK_TYPES = {Kind.CAUSAL_LM: "CAUSAL_LM", Kind.SEQ2SEQ: "SEQ_2_SEQ_LM"}
RANKS = ("init_r", "r", "effective_rank")  # names of the rank; of two the first counts
OURS = {  # fields of a PEFT configuration that follow from the cell
    "target_modules": "method.targets",
    "feedforward_modules": "method.targets",
    "peft_type": "method.peft_type",
    "task_type": "the task",
    "modules_to_save": "method=partial (every method trains a new head)",
    "base_model_name_or_path": "the backbone",
    "total_step": "budget.steps",
}
# Fields with a seed, which would be the same in every cell by default.
SEEDS = ("random_seed", "projection_prng_key", "proj_seed", "projection_seed", "random_loc_seed")


def prepends(peft_type: str) -> bool:
    """Say whether a type adds virtual tokens before the input."""
    return issubclass(CONFIGS[peft_type], peft.PromptLearningConfig)


def trains_heads(peft_type: str) -> bool:
    """Say whether a type can train and save other modules of the network."""
    return "modules_to_save" in {field.name for field in dataclasses.fields(CONFIGS[peft_type])}


def configuration(
    peft_type: str, rank: int | None, options: dict[str, Any], cell: Cell, chosen: list[str]
) -> peft.PeftConfig:
    """Make the library's configuration.

    Raises what the library raises: TypeError, ValueError, ImportError.
    """
    fields = {field.name for field in dataclasses.fields(CONFIGS[peft_type])}
    values = {name: cell.seed for name in SEEDS if name in fields}
    # the library's classes by task hand on tokens alone, no sound
    values |= {**options, "task_type": TASK_TYPES.get(cell.kind) if cell.backbone.reads == Input.TEXT else None}
    if cell.kind.new_head:
        values["modules_to_save"] = ["new_head"]
    if rank is not None:
        values[_rank_field(peft_type)] = rank
    if chosen:
        values["target_modules"] = chosen
    if "feedforward_modules" in fields:  # whose input is scaled, where others' output is
        values["feedforward_modules"] = [name for name in chosen if roles.plays(name, cell.backbone.family, ["down"])]
    if "fan_in_fan_out" in fields and roles.FAMILIES[cell.backbone.family].projection == "Conv1D":
        values["fan_in_fan_out"] = True
    if "total_step" in fields:
        values["total_step"] = cell.budget.steps
    return CONFIGS[peft_type](**values)


def wrong_options(peft_type: str, rank: int | None, options: dict[str, Any], prepended: int) -> str | None:
    """Give the reason why the library does not accept an option or its value."""
    config, rank_field = CONFIGS[peft_type], _rank_field(peft_type)
    hints = typing.get_type_hints(config)
    known = {field.name for field in dataclasses.fields(config) if field.init}
    for name in options:
        if name in OURS or name == rank_field:
            return f"method.options.{name}: set {OURS.get(name, 'method.rank')} instead"
        if name not in known:
            return f"method.options.{name}: {peft_type} has no such option{near(name, known)}"
    if rank is not None and rank_field not in known:
        return f"method.rank={rank}: {peft_type} has no rank, set it to null"
    if rank is not None and rank < 1:
        return f"method.rank={rank}: must be at least 1"
    checked = {f"method.options.{name}": (value, hints[name]) for name, value in options.items()}
    if rank is not None:
        checked["method.rank"] = (rank, hints[rank_field])
    for key, (value, hint) in checked.items():
        if not fits(value, hint):
            return f"{key}={value}: {peft_type} needs {wording(hint)}, not {type(value).__name__}"
    if "num_virtual_tokens" in known and not prepended:
        return f"method.options.num_virtual_tokens: {peft_type} needs a number of at least 1"
    return None


def fits(value: object, hint: Any) -> bool:
    """Say whether a value is of a simple type; other hints are left to the library."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        # some literals of PEFT are patterns: pissa_niter_[number of iters]
        return value in typing.get_args(hint) or (isinstance(value, str) and "[" in str(typing.get_args(hint)))
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is hint if hint in (int, bool, str, types.NoneType) else True


def wording(hint: Any) -> str:
    """Name a simple type as in YAML."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(wording(part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is typing.Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return "null" if hint is types.NoneType else getattr(hint, "__name__", str(hint))


def _rank_field(peft_type: str) -> str:
    fields = {field.name for field in dataclasses.fields(CONFIGS[peft_type])}
    return next((name for name in RANKS if name in fields), "r")
