"""Attach one method to one tiny network, and tell what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from benchmark.capabilities.networks import NETWORKS, bare, batch, cell
from benchmark.config import registry
from benchmark.config.build import build
from benchmark.engine.train import training_mode
from benchmark.types import Kind, Method

TINY: dict[str, dict[str, Any]] = {  # method -> sizes that no trial draws, where the default ones fit no tiny network
    "adamss": {"rank": 16},
    "cpt": {"tokens": 32},
    "road": {"options": {"group_size": 16}},
    "vblora": {"options": {"vector_length": 16}},
}


@dataclass(frozen=True)
class Capability:
    """One row of the table: a method on an architecture."""

    method: str
    network: str
    status: str  # runs | refused
    kinds: str  # of the network's kinds, those on which it runs
    merges: str  # yes | no; nothing where it does not run
    dead: str  # trainable parameters that never get a gradient
    reason: str  # of a refusal; where it runs on some kinds alone, of the others


def method_of(name: str, changes: Mapping[str, Any] | None = None) -> Method:
    """Build a method of the registry, with its default choices or changed ones."""
    node = dict(registry.node("method", name))
    for key, value in (changes or {}).items():
        node[key] = {**node[key], **value} if isinstance(value, dict) else value
    return build(node, "method")


def smallest(method: Method, name: str = "") -> Method:
    """Set every knob to the smallest value of its range, or to what TINY holds."""
    changes = {
        field: {**getattr(method, field), **size} if isinstance(size, dict) else size
        for field, size in TINY.get(name, {}).items()
    }
    for knob, values in method.search.items():
        numbers = values if isinstance(values, list) else [values["low"]]
        if knob != "lr" and all(isinstance(value, int | float) for value in numbers):
            field, _, key = knob.partition(".")
            inner = changes.get(field, getattr(method, field))
            changes[field] = {**inner, key: min(numbers)} if key else min(numbers)
    return replace(method, **changes)


def probe(name: str, method: Method, network: str) -> Capability:
    """Try every kind of the network, with the smallest knobs where needed.

    What the method does not refuse must run.
    """
    kinds = NETWORKS[network][2]
    if any(cell(network, method, kind).rehearse() for kind in kinds):
        small = smallest(method, name)
        if any(cell(network, small, kind).rehearse() is None for kind in kinds):
            method = small
    reasons = {kind: cell(network, method, kind).rehearse() for kind in kinds}
    runs = [kind for kind, reason in reasons.items() if reason is None]
    reason = next((reason for reason in reasons.values() if reason), "")
    if not runs:
        return Capability(name, network, "refused", "", "", "", reason)
    dead = set.intersection(*(dead_parts(method, network, kind) for kind in runs))
    merges = "yes" if method.mergeable else "no"
    return Capability(name, network, "runs", " ".join(runs), merges, " ".join(sorted(dead)), reason)


def dead_parts(method: Method, network: str, kind: Kind) -> set[str]:
    """Train a few steps, and name what is trained and never gets a gradient."""
    torch.manual_seed(0)
    where = cell(network, method, kind)
    model = method.attach(bare(network, kind), where)
    if method.calibrates:
        method.calibrate(model, batches(network, kind), where)
    silent = {name for name, p in model.named_parameters() if p.requires_grad}
    if not silent:
        return silent
    training_mode(model, where)
    optimizer = torch.optim.AdamW(method.groups(model, 0.01), lr=0.01)
    for step, inputs in zip(range(1, 4), batches(network, kind), strict=False):
        model(**inputs).loss.backward()
        silent -= {name for name in silent if _moved(model.get_parameter(name))}
        optimizer.step()
        method.after_step(model, step)
        optimizer.zero_grad()
    return silent


def _moved(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().max() > 0)


def batches(network: str, kind: Kind) -> Iterator[dict[str, torch.Tensor]]:
    """Draw batches for ever."""
    seed = 0
    while True:
        yield batch(network, kind, seed=seed)
        seed += 1
