"""KAdaptation (He et al. 2022, arXiv 2203.16329).

W' = W + sum_i A_i (x) (u_i v_i^T), (x) the Kronecker product.

The n matrices A_i, n x n, are shared by all layers. The v_i start at zero, so that the weights do not change at first.

The paper's code uses n = 32 on query and value alone. Its A_i are products of two vectors, one set for all queries and
one for all values, and each block adds one trained bias to both. Here the A_i are full matrices, one set for all
weights, and there is no bias.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from benchmark.errors import InputError
from benchmark.methods.native import Part
from benchmark.methods.weights import Rewrite, Rewriting

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Shared(Part):
    """Matrices A_i of the whole network."""

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.a = nn.Parameter(nn.init.xavier_normal_(torch.empty(terms, terms, terms)))


class Kronecker(Part):
    """Sum of Kronecker products that is added to a matrix."""

    def __init__(self, matrix: torch.Tensor, terms: int, rank: int) -> None:
        super().__init__()
        outputs, inputs = (size // terms for size in matrix.shape)
        self.shared = Shared(terms)
        self.u = nn.Parameter(nn.init.xavier_normal_(torch.empty(terms, outputs, rank)))
        self.v = nn.Parameter(torch.zeros(terms, rank, inputs))

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        # (A (x) B)[a k + c, b d + e] = A[a, b] B[c, e]
        change = torch.einsum("iab,ice->acbe", self.shared.a, self.u @ self.v)
        return matrix + change.reshape(matrix.shape)


@dataclass(frozen=True, kw_only=True)
class KAdaptation(Rewriting):
    """Sums of Kronecker products on the chosen weights."""

    terms: int  # n, the number of A_i and their size
    rank: int  # of u_i v_i^T

    def conflict(self, cell: Cell) -> str | None:
        for name in ("terms", "rank"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        return super().conflict(cell)

    def change(self, matrix: torch.Tensor) -> Part:
        outputs, inputs = matrix.shape
        if outputs % self.terms or inputs % self.terms:
            raise InputError(f"method.terms={self.terms}: does not divide a weight of {outputs} x {inputs}")
        if self.rank > min(outputs, inputs) // self.terms:
            raise InputError(f"method.rank={self.rank}: larger than {min(outputs, inputs)} / {self.terms} terms")
        return Kronecker(matrix, self.terms, self.rank)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        model = super().attach(model, cell)
        changes = [module.change for module in model.modules() if isinstance(module, Rewrite)]
        for change in changes:
            change.shared = changes[0].shared
        return model
