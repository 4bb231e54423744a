"""Orders, counts and tensors of labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.types import IGNORED

if TYPE_CHECKING:
    import torch


def pad_labels(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    """Pad rows of labels with IGNORED."""
    import torch

    return torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in rows], dtype=torch.long)


def commonest(answers: Iterable[str]) -> str:
    """Choose the answer given most often; of several the first by name."""
    counts = Counter(answers)
    return min(counts, key=lambda answer: (-counts[answer], answer))


def in_order(labels: set[str]) -> tuple[str, ...]:
    """Sort labels, numbers by value."""
    return tuple(
        sorted(labels, key=lambda label: (not label.isdecimal(), int(label) if label.isdecimal() else 0, label))
    )
