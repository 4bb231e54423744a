"""Ranges of all numbers of a configuration, checked before loading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from benchmark.errors import InputError

LEAST = 1e-12  # stands for "above 0"
LARGEST_SEED = 2**32 - 1  # numpy takes no larger one
WIDTH = (1, 16_384)  # of what is added to a network: more would fill the memory before the first step
EXAMPLES = (1, 100_000_000)
TOKENS = (1, 131_072)
DECIBELS = (-100, 100)
ANYTHING = (-1e9, 1e9)  # of a library's options, which the library checks
RANGES: dict[str, tuple[float, float]] = {  # by the key's last part; or by its last two, which win
    **dict.fromkeys(("seed", "seed_sample", "seed_init", "seed_order"), (0, LARGEST_SEED)),
    **dict.fromkeys(("trial", "rung", "place", "order", "scanner"), (0, 1_000_000)),
    **dict.fromkeys(("fraction", "fragment"), (LEAST, 1)),
    **dict.fromkeys(("warmup", "weight_decay", "dropout", "settled"), (0, 1)),
    **dict.fromkeys(("density", "valid_share", "test_share"), (LEAST, 1)),
    **dict.fromkeys(("lr", "mask_lr"), (0, 100)),
    **dict.fromkeys(("lr_scale", "head_lr"), (LEAST, 100)),
    **dict.fromkeys(("max_valid", "max_test"), EXAMPLES),
    **dict.fromkeys(("batch_size", "eval_batch_size", "micro_batches"), (1, 65_536)),
    **dict.fromkeys(("max_source_tokens", "max_target_tokens", "max_residues"), TOKENS),
    **dict.fromkeys(("snr", "noise"), DECIBELS),
    **dict.fromkeys(("rank", "bottleneck", "prefix_bottleneck", "e_bottleneck", "l_bottleneck", "inversion"), WIDTH),
    **dict.fromkeys(("tokens", "length", "ratio", "reduction", "expansion", "share", "terms", "number"), WIDTH),
    "focal": (LEAST, 100),
    "train_candidates": (2, 4096),
    **dict.fromkeys(("recall_at", "mrr_at"), (1, 999_999)),
    "blocks": (1, 10_000),
    "steps": (1, 10_000_000),
    "until": (1, 10_000_000),
    "evaluations": (1, 10_000),
    "clip": (0, 1e6),  # 0: gradients are not clipped
    "size": (1, 10**12),
    "attempts": (1, 1000),
    "cells_per_job": (1, 1_000_000),
    "task.size": (1, 4096),
    "task.max_seconds": (0.01, 3600),
    "budget.max_seconds": (LEAST, 1e9),
}
UNCHECKED = ("search", "across_processors")  # a tuner draws from the first, the second is a fact
OTHERS = (0, 1_000_000)  # of any other key


def check_range(value: Any, key: str) -> None:
    """Refuse a number outside the range of its key, also inside lists and nodes.

    Raises InputError.
    """
    if isinstance(value, Mapping):
        for name, part in value.items():
            check_range(part, f"{key}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for part in value:
            check_range(part, key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = range_of(key)
        if not low <= value <= high:  # NaN is not
            least = "a number above 0" if low == LEAST else f"at least {low:g}"
            raise InputError(f"{key}: {str(value)[:24]} given, {least} and at most {high:g} wanted")


def range_of(key: str) -> tuple[float, float]:
    """Find the range of a dotted key; the range of a node holds for what it contains."""
    parts = key.split(".")
    if "options" in parts:
        return ANYTHING
    candidates = (RANGES.get(name) for name in (".".join(parts[-2:]), *reversed(parts)))
    return next(filter(None, candidates), OTHERS)


def check_texts(overrides: Sequence[str]) -> None:
    """Refuse a number of a sweep outside the range that its key has, before the first cell. Raises InputError."""
    for key, _, text in (override.lstrip("+").partition("=") for override in overrides):
        value: float | None = None
        for kind in (int, float):
            with suppress(ValueError):
                value = kind(text) if value is None else value
        if value is not None and range_of(key) != OTHERS and not set(UNCHECKED) & {*key.split(".")}:
            check_range(value, key)
