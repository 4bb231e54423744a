"""Pretraining of a speech encoder: classification of the phoneme in each frame."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from transformers import AutoConfig, AutoModel, Wav2Vec2FeatureExtractor

from benchmark.backbones.hearing import Hearing, reach
from benchmark.config.build import build
from benchmark.types import IGNORED, Head, Kind
from scripts.pretraining.common import Batch, Pretraining
from tasks.embedded.spoken_words import Heard
from tasks.embedded.voices import RATE
from tasks.sound import add_noise


def prepare(recipe: DictConfig) -> Pretraining:
    """Speak the corpus, list its phonemes, initialise the network."""
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    phrases = corpus.heard()
    phonemes = tuple(sorted({name for one in phrases for name, _ in one.phonemes}))
    config = AutoConfig.for_model(**OmegaConf.to_container(recipe.model))
    encoder = AutoModel.from_config(config, attn_implementation="eager")
    network = Hearing(encoder, Head(Kind.TAG, labels=phonemes))
    for parameter in encoder.feature_extractor.parameters():  # oneDNN's bf16 gradients are sometimes NaN
        parameter.register_hook(lambda gradient: torch.nan_to_num(gradient, 0.0, 0.0, 0.0))
    ears = Ears(network, phonemes, recipe)

    def save(folder: Path) -> None:
        config.apply_spec_augment, config.mask_time_prob = False, 0.0
        del encoder.masked_spec_embed  # stood for the hidden frames
        encoder.eval().half().save_pretrained(folder)
        ears.extractor.save_pretrained(folder)

    return Pretraining(
        module=network, batches=batches(phrases, ears, recipe), save=save, unit="frame",
        held_out=ears.batch(corpus.held_out(recipe.held_out)), kind=str(Kind.TAG), head=network.new_head.state_dict(),
    )  # fmt: skip


class Ears:
    """Maker of batches from phrases."""

    def __init__(self, network: Hearing, phonemes: Sequence[str], recipe: DictConfig):
        self.extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True, return_attention_mask=True)
        self.places = {name: i for i, name in enumerate(phonemes)}
        self.frames = network.encoder._get_feat_extract_output_lengths
        self.hop, self.reach = int(np.prod(recipe.model.conv_stride)), reach(network.config)
        self.longest = int(recipe.seconds * RATE)

    def batch(self, clips: Sequence[Heard]) -> Batch:
        """Pad; a frame's label is the phoneme spoken in its middle."""
        waves = [clip.samples[: self.longest] for clip in clips]
        batch = dict(self.extractor(waves, sampling_rate=RATE, padding=True, return_tensors="pt"))
        number = int(self.frames(batch["input_values"].shape[1]))
        labels = torch.full((len(clips), number), IGNORED)
        for row, clip, wave in zip(labels, clips, waves, strict=True):
            begins = [at for _, at in clip.phonemes]
            middles = (np.arange(int(self.frames(len(wave)))) * self.hop + self.reach / 2) / RATE
            spoken = np.searchsorted(begins, middles, side="right") - 1
            row[: len(spoken)] = torch.tensor([self.places.get(clip.phonemes[max(i, 0)][0], IGNORED) for i in spoken])
        return {**batch, "labels": labels}


def batches(phrases: Sequence[Heard], ears: Ears, recipe: DictConfig) -> Iterator[Batch]:
    """Yield batches of similar lengths without end; half of the clips get noise."""
    rng, noise = random.Random(recipe.seed), np.random.default_rng(recipe.seed)
    while True:
        order = sorted(rng.sample(range(len(phrases)), len(phrases) // 2), key=lambda i: len(phrases[i].samples))
        chunks = [order[i : i + recipe.batch_size] for i in range(0, len(order), recipe.batch_size)]
        rng.shuffle(chunks)
        for chunk in chunks:
            yield ears.batch([_disturbed(phrases[i], rng, noise, recipe) for i in chunk])


def _disturbed(clip: Heard, rng: random.Random, noise: np.random.Generator, recipe: DictConfig) -> Heard:
    return (
        clip if rng.random() < 0.5 else clip._replace(samples=add_noise(clip.samples, rng.uniform(*recipe.snr), noise))
    )
