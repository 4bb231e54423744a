"""Spoken commands and words by eSpeak NG; each voice has one split."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Example, Splits
from tasks.common import Data
from tasks.embedded.espeak import person, speak
from tasks.embedded.voices import RATE, phrases, utterances
from tasks.sound import Wave, add_noise, clip


@dataclass(frozen=True, kw_only=True)
class Spoken(Data):
    """Texts by voices that splits do not share; the shift has accents and noise."""

    accents: list[str]  # language files of eSpeak
    shifted_accents: list[str]
    snr: float  # dB, of the shifted test's noise

    def __post_init__(self) -> None:
        if set(self.accents) & set(self.shifted_accents):
            raise InputError("data.shifted_accents: an accent of data.accents is no shift")

    def _speak(self, split: str, texts: Sequence[str], targets: Sequence[Any], shifted: bool = False) -> list[Example]:
        """Speak one split, with the same samples for the same texts in the same order."""
        rng = random.Random(f"{split} {len(texts)}")
        accents = self.shifted_accents if shifted else self.accents
        calls = utterances(texts, "shift" if shifted else split.partition("/")[0], accents, rng)
        noise = np.random.default_rng(0)
        examples = []
        for number, (utterance, spoken, target) in enumerate(zip(calls, speak(calls, RATE), targets, strict=True)):
            samples = add_noise(spoken.samples, self.snr, noise) if shifted else spoken.samples
            name = f"{split}/{number} {utterance.text} ({utterance.accent}+{utterance.variant})"
            examples.append(Example(name, clip(Wave(samples, RATE)), (target,), person(utterance.variant)))
        return examples


@dataclass(frozen=True, kw_only=True)
class Commands(Spoken):
    """Spoken commands to be classified. Sizes are clips per command."""

    commands: list[str]
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        sizes = {"train": self.train, "valid": self.valid, "test": self.test, "test/accents": self.shift}
        splits = {}
        for split, size in sizes.items():
            texts = [command for command in self.commands for _ in range(size)]
            splits[split] = self._speak(split, texts, texts, shifted=split == "test/accents")
        return splits


@dataclass(frozen=True, kw_only=True)
class Phrases(Spoken):
    """Phrases to be transcribed; the shifted test has words unseen in training."""

    words: list[str]
    unseen: list[str]
    longest: int  # words per phrase, from 1
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        sizes = {"train": self.train, "valid": self.valid, "test": self.test, "test/unseen": self.shift}
        splits = {}
        for split, size in sizes.items():
            texts = phrases(self.unseen if split == "test/unseen" else self.words, size, self.longest, split)
            splits[split] = self._speak(split, texts, texts, shifted=split == "test/unseen")
        return splits
