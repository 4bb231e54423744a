"""Random inputs of tiny networks; the last row is shorter than the others."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmark.types import Input


def _tokens(size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    ids, mask = torch.randint(4, 50, (size, 8), generator=rng), torch.ones(size, 8, dtype=torch.long)
    ids[-1, 6:], mask[-1, 6:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask}


def _samples(size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    mask = torch.ones(size, 250, dtype=torch.long)
    mask[-1, 200:] = 0
    return {"input_values": torch.randn(size, 250, generator=rng) * mask, "attention_mask": mask}


def _spectrogram(size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    mask = torch.ones(size, 40, dtype=torch.long)
    mask[-1, 30:] = 0
    return {"input_features": torch.randn(size, 8, 40, generator=rng), "attention_mask": mask}


def _spectrogram_and_tokens(size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    ids = torch.randint(4, 50, (size, 8), generator=rng)
    return {"input_features": torch.randn(size, 8, 40, generator=rng), "decoder_input_ids": ids}


def _pixels(size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    return {"pixels": torch.randn(size, 3, 32, 32, generator=rng)}


INPUTS: dict[str, Callable[[int, torch.Generator], dict[str, torch.Tensor]]] = {
    Input.TEXT: _tokens,
    Input.PROTEIN: _tokens,
    Input.IMAGE: _pixels,
    Input.AUDIO: _samples,
    "whisper": _spectrogram,
    "whisper text": _spectrogram_and_tokens,
}
