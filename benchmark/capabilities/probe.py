"""Test of one method on one tiny network."""

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

TINY: dict[str, dict[str, Any]] = {  # method -> sizes for tiny networks, where the defaults are too large
    "adamss": {"rank": 16},
    "cpt": {"tokens": 32},
    "road": {"options": {"group_size": 16}},
    "vblora": {"options": {"vector_length": 16}},
}


@dataclass(frozen=True)
class Capability:
    """Row of the table: a method on an architecture."""

    method: str
    network: str
    status: str  # runs | refused
    kinds: str  # kinds of the network on which it runs
    merges: str  # yes | no; empty where it does not run
    dead: str  # trainable parameters that never get a gradient
    reason: str  # of a refusal, also where it runs on other kinds


def method_of(name: str, changes: Mapping[str, Any] | None = None) -> Method:
    """Build a method of the registry, with changes to its defaults."""
    node = dict(registry.node("method", name))
    for key, value in (changes or {}).items():
        node[key] = {**node[key], **value} if isinstance(value, dict) else value
    return build(node, "method")


def smallest(method: Method, name: str = "") -> Method:
    """Set every knob to the value in TINY, or the smallest of its range."""
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

    Raises any error of training on a kind that the method does not refuse.
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
    """Train a few steps, and name the trained parameters that never get a gradient."""
    torch.manual_seed(0)
    probed = cell(network, method, kind)
    model = method.attach(bare(network, kind), probed)
    if method.calibrates:
        method.calibrate(model, batches(network, kind), probed)
    silent = {name for name, p in model.named_parameters() if p.requires_grad}
    if not silent:
        return silent
    training_mode(model, probed)
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
    """Draw batches without end."""
    seed = 0
    while True:
        yield batch(network, kind, seed=seed)
        seed += 1
