"""Pretrained encoder under a new head, the same module for every domain."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn
from transformers.utils import ModelOutput

from benchmark.backbones.losses import LOSSES
from benchmark.types import Head, Kind

HELD_OUT = Path(__file__).parent / "embedded" / "held_out"


def outputs(head: Head) -> int:
    """Count a head's outputs: a value, or one per class or character and blank."""
    return {Kind.REGRESS: 1, Kind.RERANK: 1, Kind.CTC: len(head.labels) + 1}.get(head.kind, len(head.labels))


class NewHead(nn.Module):
    """Head that mixes layers, averages over positions, and projects."""

    def __init__(self, width: int, head: Head, layers: int = 0) -> None:
        super().__init__()
        self.pooled, self.pair = head.kind.whole, head.pair
        if layers:  # a softmax-weighted sum of all layers (SUPERB, Yang et al. 2021)
            self.mix = nn.Parameter(torch.zeros(layers))
        self.project = nn.Linear(2 * width if head.pair else width, outputs(head))

    def forward(self, states: torch.Tensor | Sequence[torch.Tensor], mask: torch.Tensor | None) -> torch.Tensor:
        """Compute logits from states.

        states: shape (batch, positions, width), or one such per layer, or (batch, width).
        """
        if not isinstance(states, torch.Tensor):
            weights = self.mix.softmax(0)
            states = sum(weight * layer for weight, layer in zip(weights, states, strict=True))
        if self.pooled and states.ndim == 3:
            states = average(states, mask)
        if self.pair:  # the first half of the batch are the first partners; the order of two must not matter
            first, second = states.chunk(2)
            states = torch.cat([(first - second).abs(), first * second], -1)
        return self.project(states)


class LastHead(NewHead):
    """Head that reads the last layer of a network that may give all."""

    def forward(self, states: torch.Tensor | Sequence[torch.Tensor], mask: torch.Tensor | None) -> torch.Tensor:
        return super().forward(states if isinstance(states, torch.Tensor) else states[-1], mask)


def average(states: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Average over the positions that are not padding."""
    if mask is None:
        return states.mean(1)
    weights = mask.to(states.dtype).unsqueeze(-1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


@dataclass
class Answers(ModelOutput):
    """Output of a network with a new head; the mask is 0 for padding."""

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    mask: torch.Tensor | None = None


class Headed(nn.Module):
    """Base of networks with a new head: `encoder`, `new_head`, `model(**batch).loss`."""

    def __init__(self, encoder: nn.Module, width: int, head: Head, layers: int = 0) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        if hasattr(encoder, "config"):  # which Hugging Face PEFT needs
            self.config = encoder.config
        self.new_head = NewHead(width, head, layers)

    @property
    def kind(self) -> Kind:
        """Kind of its answers."""
        return self.head.kind

    @abstractmethod
    def states(self, **inputs: torch.Tensor) -> tuple[torch.Tensor | Sequence[torch.Tensor], torch.Tensor | None]:
        """Encode: states (batch, positions, width), mask; or (batch, width), None."""

    def forward(self, labels: torch.Tensor | None = None, **inputs: torch.Tensor) -> Answers:
        """Compute logits, and with labels the mean loss per item."""
        states, mask = self.states(**inputs)
        logits = self.new_head(states, mask).float()
        loss = None if labels is None else LOSSES[self.kind](logits, labels, mask, self.head)
        return Answers(loss=loss, logits=logits, mask=mask)


def pretraining_loss(model: nn.Module, checkpoint: Path) -> float | None:
    """Measure the pretraining loss on an embedded checkpoint's held-out batch.

    None for a checkpoint without one. The file of an encoder's batch also holds its pretraining head.
    """
    file = HELD_OUT / f"{checkpoint.name}.safetensors"
    if checkpoint.parent != HELD_OUT.parent or not file.is_file():
        return None
    with safe_open(file, "pt", device=str(next(model.parameters()).device)) as content:
        tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - no mapping
        kind = (content.metadata() or {}).get("kind")
    weights = {name.removeprefix("head."): t.float() for name, t in tensors.items() if name.startswith("head.")}
    batch = {name: t for name, t in tensors.items() if not name.startswith("head.")}
    network = next((module for module in model.modules() if isinstance(module, Headed)), None)
    if not kind:  # a decoder under a new head has lost what it was pretrained with
        return None if network else model(**batch).loss.item()
    classes, width = weights["project.weight"].shape
    described = Head(Kind(kind), labels=tuple(map(str, range(classes))))
    head = LastHead(width, described).to(batch["labels"].device)
    head.load_state_dict(weights)
    original = network.new_head, network.head
    network.new_head, network.head = head, described
    try:
        return network(**batch).loss.item()  # not the encoder alone, since hooks of a method need the input
    finally:
        network.new_head, network.head = original
