"""The order of the training examples: one function of lengths, batch size and seed, the same for every method."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

WINDOW = 20  # batches whose examples are sorted by length together


def batches(lengths: Sequence[int], size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of indices for ever: shuffled passes in which a batch gathers examples of like length."""
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


def in_order(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Cut all indices into batches of like length, longest first: what does not fit in memory fails at once."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [order[i : i + size] for i in range(0, len(order), size)]
