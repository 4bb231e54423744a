"""Type of what a domain prepares for pretraining."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """Network with its objective, data and function to save it."""

    module: nn.Module  # module(**batch).loss
    batches: Iterator[Batch]
    save: Callable[[Path], None]  # an ordinary checkpoint, 16-bit safetensors
    unit: str  # over which the loss is a mean
    held_out: Batch  # one batch that training never sees, with labels
    kind: str = ""  # of the head on an encoder: classify or tag; a generative network has its own
    head: Mapping[str, torch.Tensor] = field(default_factory=dict)  # that head's weights, read after training
