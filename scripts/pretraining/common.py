"""What a domain prepares to be pretrained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """A network with its objective, its data, and how it is written down."""

    module: nn.Module  # module(**batch).loss
    batches: Iterator[Batch]
    save: Callable[[Path], None]  # an ordinary checkpoint, 16-bit safetensors
    unit: str  # what the loss is a mean over
    held_out: Batch  # one batch that training never sees, with labels
    kind: str = ""  # of the head on an encoder: classify or tag; a generative network has its own
    head: Mapping[str, torch.Tensor] = field(default_factory=dict)  # that head's weights, read after training
