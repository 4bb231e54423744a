"""SVDiff (Han et al. 2023, arXiv 2303.11305).

W' = U diag(relu(S + scale * delta)) V^T, where W = U diag(S) V^T.

delta begins at zero. What is added to W is computed, not W' itself, so that the start is W to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchmark.methods.native import Part
from benchmark.methods.weights import Rewriting


class Factors(nn.Module):
    """Decomposition of a frozen matrix; not saved, since it is computed again."""

    def __init__(self, matrix: torch.Tensor) -> None:
        super().__init__()
        for name, factor in zip("usv", torch.linalg.svd(matrix, full_matrices=False), strict=True):
            self.register_buffer(name, factor.contiguous(), persistent=False)


class Spectrum(Part):
    """Shift the singular values of a matrix."""

    def __init__(self, matrix: torch.Tensor, scale: float) -> None:
        super().__init__()
        self.scale, self.factors = scale, Factors(matrix)
        self.delta = nn.Parameter(torch.zeros_like(self.factors.s))

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        u, s, v = self.factors.u, self.factors.s, self.factors.v
        return matrix + (u * (torch.relu(s + self.scale * self.delta) - s)) @ v


@dataclass(frozen=True, kw_only=True)
class SVDiff(Rewriting):
    """Shift the singular values of chosen weights, kernels flattened."""

    scale: float

    def change(self, matrix: torch.Tensor) -> Part:
        return Spectrum(matrix, self.scale)
