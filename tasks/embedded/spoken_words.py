"""Pretraining data of the speech network: phrases, and phoneme times."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tasks.embedded.espeak import speak
from tasks.embedded.voices import RATE, phrases, utterances

HELD_OUT = 0.1  # of the words


class Heard(NamedTuple):
    """Phrase and its phonemes."""

    samples: np.ndarray  # at voices.RATE
    phonemes: list[tuple[str, float]]  # (name, second at which it begins)


@dataclass(frozen=True, kw_only=True)
class SpokenWords:
    """Phrases with words and voices that no task has."""

    words: list[str]
    accents: list[str]
    longest: int  # words per phrase, from 1
    number: int  # phrases in all

    def heard(self) -> list[Heard]:
        """Speak the phrases for training."""
        return self._speak(phrases(self.words[self._apart :], self.number, self.longest, "pretraining"), "training")

    def held_out(self, number: int) -> list[Heard]:
        """Speak words that training does not have, by the voices of training."""
        return self._speak(phrases(self.words[: self._apart], number, self.longest, "held out"), "held out")

    @property
    def _apart(self) -> int:
        return int(HELD_OUT * len(self.words))

    def _speak(self, texts: list[str], part: str) -> list[Heard]:
        requests = utterances(texts, "pretraining", self.accents, random.Random(part))
        return [Heard(s.samples, [(plain(name), at) for name, at in s.phonemes]) for s in speak(requests, RATE)]


def plain(name: str) -> str:
    """Drop stress, length and variants from a phoneme; every pause is _."""
    bare = name.lstrip("',%=|")
    return "_" if name.startswith("_") or not bare else bare[0] + re.sub(r"[\d#:|\[\]-]", "", bare[1:])
