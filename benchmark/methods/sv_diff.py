"""SVDiff (Han et al. 2023, arXiv 2303.11305).

W' = U diag(relu(S + scale * delta)) V^T, where W = U diag(S) V^T.

delta starts at zero. The code computes W' - W, so that the start is exactly W.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchmark.methods.native import Part
from benchmark.methods.weights import Rewriting


class Factors(nn.Module):
    """Decomposition of a frozen matrix, which is not saved."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        for name, factor in zip("usv", torch.linalg.svd(matrix, full_matrices=False), strict=True):
            self.register_buffer(name, factor.contiguous(), persistent=False)


class Spectrum(Part):
    """Trained shift of the singular values of a matrix."""

    def __init__(self, matrix: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.scale, self.factors = scale, Factors(matrix)
        self.delta = nn.Parameter(torch.zeros_like(self.factors.s))

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        u, s, v = self.factors.u, self.factors.s, self.factors.v
        return matrix + (u * (torch.relu(s + self.scale * self.delta) - s)) @ v


@dataclass(frozen=True, kw_only=True)
class SVDiff(Rewriting):
    """Shifts of the singular values of chosen weights; kernels are flattened."""

    scale: float

    def change(self, matrix: torch.Tensor) -> Part:
        return Spectrum(matrix, self.scale)
