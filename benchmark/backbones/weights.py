"""Checks of a checkpoint's weights: complete, finite, of the right shape."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError

if TYPE_CHECKING:
    from torch import nn

REPEATED = re.compile("layer|depth|block|expert")  # names of counts of repeated parts in a config.json
FEWEST, MOST = 1000, 10_000  # limits of such counts for weights with fewer tensors, and without weights
FLOATS = ("F64", "F32", "F16", "BF16")  # others are read as numbers without their scales
LACKING = 100_000_000  # number of weights that may be missing before their names are compared
UNREAD = re.compile(r"(^|\.)masked_spec_embed$")  # used by random masking of inputs alone, which no run does


def count_stored(folder: Path) -> tuple[int, int]:
    """Count tensors and values of a folder's safetensors by their headers.

    Raises InputError.
    """
    from safetensors import safe_open

    tensors = numbers = 0
    for file in (file for file in folder.glob("*.safetensors") if file.is_file()):
        try:
            with safe_open(file, "np") as content:
                headers = {name: content.get_slice(name) for name in content.keys()}  # noqa: SIM118 - no mapping
                shapes = [header.get_shape() for header in headers.values()]
                types = {name: header.get_dtype() for name, header in headers.items()}
        except Exception as error:  # the library's class of errors is not public
            raise InputError(
                f"backbone.checkpoint: {str(file)!r} cannot be read ({error}): it is damaged, download it again"
            ) from error
        if packed := [name for name, type_ in types.items() if name.endswith("weight") and type_ not in FLOATS]:
            raise InputError(
                f"backbone.checkpoint: {str(file)!r} holds {packed[0]} as {types[packed[0]]} ({len(packed)} such "
                f"weights in all), which is quantised: give the weights as one of {', '.join(FLOATS)}"
            )
        tensors += len(shapes)
        numbers += sum(math.prod(shape) for shape in shapes)
    return tensors, numbers


def check_config(file: Path, config: Any, tensors: int | None) -> None:
    """Refuse more layers than the weights can have, before a library builds them.

    Raises InputError.
    """
    most = MOST if tensors is None else max(tensors, FEWEST)
    for key, number in _numbers(config):
        if REPEATED.search(key) and not 0 <= number <= most:
            reason = "" if tensors is None else f", and the weights are {tensors:,} tensors"
            raise InputError(f"backbone.checkpoint: {str(file)!r} says {key}: {number}, 0 to {most:,} wanted{reason}")


def check_size(checkpoint: str, skeleton: nn.Module, numbers: int | None) -> None:
    """Refuse a network that is larger than its weights, or than the machine's memory.

    Raises InputError.
    """
    size = sum(p.numel() for p in skeleton.parameters())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    reason = f"this machine's memory has {memory / 1e9:,.0f} GB" if memory and 4 * size > memory else None
    if numbers is not None and size > 2 * numbers + LACKING:
        reason = f"its files hold {numbers:,}"
    if reason:
        raise InputError(f"backbone.checkpoint={checkpoint!r}: config.json describes {size:,} weights, {reason}")


def check_whole(checkpoint: str, network: nn.Module, keys: dict[str, Collection[Any]]) -> None:
    """Refuse a network with missing or wrong weights; count those that it did not use.

    left names weights as `missing_keys`, `unexpected_keys` and `mismatched_keys`: (name, shape read, shape wanted).
    Raises InputError.
    """
    missing = sorted(name for name in keys["missing_keys"] if not UNREAD.search(name))
    shapes = [f"{n} {tuple(read)}, not {tuple(wanted)}" for n, read, wanted in sorted(keys.get("mismatched_keys", ()))]
    odd = [f"{name} is not finite" for name, t in network.state_dict().items() if not t.isfinite().all()]
    for problem, names in (("lack", missing), ("have other shapes:", shapes), ("hold what is no number:", odd)):
        if names:
            raise InputError(
                f"backbone.checkpoint={checkpoint!r}: its weights {problem} {', '.join(names[:3])} ({len(names)} in "
                "all): give the whole checkpoint, or backbone.weights=random"
            )
    network.unread_weights = len(keys["unexpected_keys"])


def check_tokens(checkpoint: str, network: nn.Module, ids: Iterable[int]) -> None:
    """Refuse a tokenizer with tokens for which the network has no embeddings.

    Raises InputError.
    """
    rows, most = len(network.get_input_embeddings().weight), max(ids)
    if most >= rows:
        raise InputError(
            f"backbone.checkpoint={checkpoint!r}: its tokenizer has tokens up to {most:,}, its network has {rows:,} "
            "embeddings: vocab_size in config.json, or the tokenizer, is of another network"
        )


@contextmanager
def collect_left() -> Iterator[list[dict[str, Collection[Any]]]]:
    """Collect the missing and unused keys, which timm does not report."""
    from torch import nn

    collected: list[dict[str, Collection[Any]]] = []
    load = nn.Module.load_state_dict

    def load_and_collect(network: nn.Module, tensors: dict[str, Any], *_: Any, **__: Any) -> Any:
        wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
        other = [(n, t.shape, wanted[n]) for n, t in tensors.items() if t.shape != wanted.get(n, t.shape)]
        odd = {name for name, _, _ in other}
        keys = load(network, {n: t for n, t in tensors.items() if n not in odd}, strict=False)
        collected.append(keys._asdict() | {"missing_keys": set(keys.missing_keys) - odd, "mismatched_keys": other})
        return keys

    nn.Module.load_state_dict = load_and_collect
    try:
        yield collected
    finally:
        nn.Module.load_state_dict = load


def _numbers(node: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of nested JSON with its key."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _numbers(value, str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _numbers(value, key)
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, node
