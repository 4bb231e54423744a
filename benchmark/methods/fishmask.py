"""FISH mask (Sung et al. 2021, arXiv 2111.09839).

Train the entries of the largest empirical Fisher information.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmark.methods.sparse import Sparse, Weight, matrix_of

if TYPE_CHECKING:
    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class FishMask(Sparse):
    """Sparse method with scores by the mean squared gradient.

    The gradient is that of a batch's mean loss, in the paper that of an example.
    """

    def scores(
        self, model: nn.Module, weights: list[Weight], batches: Iterator[dict[str, Any]], cell: Cell
    ) -> list[torch.Tensor]:
        frozen = [weight.original.requires_grad_(True) for weight in weights]
        information = [torch.zeros_like(weight) for weight in frozen]
        for batch in islice(batches, self.batches):
            gradients = torch.autograd.grad(model(**batch).loss, frozen)
            for total, gradient in zip(information, gradients, strict=True):
                total += gradient.square()
        for weight in frozen:
            weight.requires_grad_(False)
        return [matrix_of(weight, total) for weight, total in zip(weights, information, strict=True)]
