"""Batches as a function of lengths, sizes and seed, equal for every method."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from benchmark.types import Features, Task

WINDOW = 20  # batches whose examples are sorted by length together


def batches(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of indices of similar length without end, from shuffled passes."""
    if not lengths:
        raise ValueError("there are no examples to make batches of")
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(lengths)), len(lengths))
        windows = [order[i : i + WINDOW * size] for i in range(0, len(order), WINDOW * size)]
        sorted_ = [i for window in windows for i in sorted(window, key=lambda i: lengths[i])]
        chunks = [sorted_[i : i + size] for i in range(0, len(sorted_), size)]
        rng.shuffle(chunks)
        yield from chunks


def in_order(lengths: Sequence[int], size: int, mates: Sequence[Hashable] | None = None) -> list[list[int]]:
    """Cut all indices into batches of similar length, the longest first."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return split_batches(order, size, mates)


def split_batches(chosen: Sequence[int], size: int, mates: Sequence[Hashable] | None = None) -> list[list[int]]:
    """Cut indices into batches of at most this size that may be padded together."""
    groups: dict[Hashable, list[int]] = {}
    for i in chosen:
        groups.setdefault(mates[i] if mates else None, []).append(i)
    return [same[start : start + size] for same in groups.values() for start in range(0, len(same), size)]


def mates_of(task: Task, features: Sequence[Features], processor: Any) -> list[Hashable]:
    """Ask the task which examples may be padded together."""
    return [task.mates(f, processor) for f in features]
