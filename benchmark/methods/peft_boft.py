"""BOFT (Liu et al. 2023, arXiv 2311.06243).

W' = R W, R a product of block-diagonal rotations between butterflies.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from peft.tuners.boft import layer as library

from benchmark.methods.hf_peft import Peft


class Diagonal:
    """Python replacement for the library's compiled C++ function.

    Without it the library gives every BOFT a single factor, with only a warning.
    """

    @staticmethod
    def apply(blocks: torch.Tensor) -> torch.Tensor:
        """Put blocks (factors, count, size, size) on diagonals (factors, all, all)."""
        factors, count, size, _ = blocks.shape
        ones = torch.eye(count, device=blocks.device, dtype=blocks.dtype)
        return torch.einsum("fcij,cd->fcidj", blocks, ones).reshape(factors, count * size, count * size)


library.FastBlockDiag = Diagonal
library.get_fbd_cuda = lambda: True


@dataclass(frozen=True, kw_only=True)
class Boft(Peft):
    """BOFT without compiled code."""
