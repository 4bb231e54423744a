"""Small vision networks, trained to name a crop's image and fill masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from benchmark.backbones.vision import VisionNetwork
from benchmark.config.build import build
from benchmark.types import Head, Kind
from scripts.pretraining.common import Batch, Pretraining
from tasks.embedded.textures import Textures

HELD_OUT_CROPS = 128


def prepare(recipe: DictConfig) -> Pretraining:
    """Build the network, and crops: left parts train, right parts are held out."""
    timm.layers.set_fused_attn(False)  # on a CPU its backward pass takes four times as long in bf16
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    training, held_out = corpus.parts()
    encoder = timm.create_model(recipe.architecture, num_classes=0, **OmegaConf.to_container(recipe.model_args))
    network = VisionNetwork(encoder, Head(Kind.CLASSIFY, labels=tuple(corpus.images)))
    return Pretraining(
        module=Objective(network, recipe.size, recipe.masked, recipe.masked_patch),
        batches=batches(corpus, training, recipe),
        save=lambda folder: save(network.encoder, recipe, folder),
        unit="crop (a class, and squared error per masked pixel)",
        held_out=as_batch(corpus.crops(held_out, HELD_OUT_CROPS, recipe.crop, np.random.default_rng(1)), recipe.size),
        kind=Kind.CLASSIFY,
        head=network.new_head.state_dict(),
    )


class Objective(nn.Module):
    """Objective: reconstruct half a batch from masks, classify the other half.

    Masks: Xie et al. 2022, arXiv 2111.09886.
    """

    def __init__(self, network: VisionNetwork, size: int, masked: float, patch: int) -> None:
        super().__init__()
        self.network, self.masked, self.grid, self.patch = network, masked, size // patch, patch
        with torch.no_grad():
            self.cell = size // self.map(torch.zeros(2, encoder_channels(network.encoder), size, size)).shape[-1]
        self.decoder = nn.Conv2d(network.encoder.num_features, self.cell**2, 1)

    def forward(self, pixels: torch.Tensor, labels: torch.Tensor) -> ModelOutput:
        """Sum both losses: cross-entropy, and the squared error over masked pixels."""
        half = len(pixels) // 2
        first_half = pixels[:half]
        hidden = torch.rand(half, 1, self.grid, self.grid).lt(self.masked).float()
        hidden = F.interpolate(hidden, scale_factor=self.patch)
        painted = F.pixel_shuffle(self.decoder(self.map(first_half * (1 - hidden))).float(), self.cell)
        error = ((painted - first_half).square() * hidden).sum() / hidden.sum()
        return ModelOutput(loss=error + self.network(labels=labels[half:], pixels=pixels[half:]).loss)

    def map(self, pixels: torch.Tensor) -> torch.Tensor:
        """Encode into a map (batch, channels, rows, columns), from tokens or a map."""
        features = self.network.encoder.forward_features(pixels)
        if features.ndim == 4:
            return features
        side = round(features.shape[1] ** 0.5)
        return features.transpose(1, 2).unflatten(2, (side, side))


def encoder_channels(encoder: nn.Module) -> int:
    """Count the channels of the input."""
    return next(m for m in encoder.modules() if isinstance(m, nn.Conv2d)).in_channels


def batches(corpus: Textures, parts: list[np.ndarray], recipe: DictConfig) -> Iterator[Batch]:
    """Yield crops without end: rotated, mirrored, with changed contrast."""
    rng = np.random.default_rng(recipe.seed)
    while True:
        crops = corpus.crops(parts, recipe.batch_size, recipe.crop, rng)
        yield as_batch([(alter(crop, recipe, rng), which) for crop, which in crops], recipe.size)


def alter(crop: np.ndarray, recipe: DictConfig, rng: np.random.Generator) -> np.ndarray:
    """Rotate or mirror a crop; change contrast and brightness (in deviations)."""
    crop = np.rot90(crop, rng.integers(4))
    crop = crop[:, ::-1] if rng.integers(2) else crop
    return crop * np.exp(rng.normal(0, recipe.contrast)) + rng.normal(0, recipe.brightness)


def as_batch(crops: list[tuple[np.ndarray, int]], size: int) -> Batch:
    """Resize crops to the network's input."""
    images = []
    for crop, _ in crops:
        image = torch.from_numpy(np.ascontiguousarray(crop, dtype=np.float32))[None, None]
        images.append(F.interpolate(image, (size, size), mode="bilinear", antialias=True, align_corners=False)[0])
    return {"pixels": torch.stack(images), "labels": torch.tensor([which for _, which in crops])}


def save(encoder: nn.Module, recipe: DictConfig, folder: Path) -> None:
    """Write timm's layout.

    The mean is mid-grey; two standard deviations reach black and white.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = encoder.half().state_dict()
    save_file({name: t.contiguous() for name, t in state.items()}, folder / "model.safetensors", {"format": "pt"})
    channels = encoder_channels(encoder)
    config = {
        "architecture": recipe.architecture,
        "num_classes": 0,
        "num_features": encoder.num_features,
        "model_args": OmegaConf.to_container(recipe.model_args),
        "pretrained_cfg": {
            "input_size": [channels, recipe.size, recipe.size],
            "interpolation": "bilinear",
            "mean": [0.5] * channels,
            "std": [0.25] * channels,
            "num_classes": 0,
            "first_conv": None,
            "classifier": None,
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
