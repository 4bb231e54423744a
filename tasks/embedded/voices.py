"""Speakers: every voice of eSpeak NG has one split, or pretraining."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.common import unit_hash
from tasks.embedded.espeak import Utterance, person, variants

RATE = 8000  # Hz
CAST = {"pretraining": 0.45, "train": 0.62, "valid": 0.72, "test": 0.86, "shift": 1.0}  # upper ends of the hash
MANNERS = (120, 210), (20, 80), (20, 80)  # speed, pitch, range of the pitch


def cast(role: str) -> dict[str, list[str]]:
    """List the persons of a split, each with the variants of its voice."""
    members: dict[str, list[str]] = {}
    for variant in variants():
        position = unit_hash(f"who {person(variant)}")
        if role == next(name for name, end in CAST.items() if position < end):
            members.setdefault(person(variant), []).append(variant)
    return members


def utterances(texts: Sequence[str], role: str, accents: Sequence[str], rng: random.Random) -> list[Utterance]:
    """Draw a person, a mood, an accent, a speed and a pitch for each text."""
    persons = list(cast(role).values())
    return [
        Utterance(text, rng.choice(accents), rng.choice(rng.choice(persons)), *(rng.randint(*r) for r in MANNERS))
        for text in texts
    ]


def phrases(vocabulary: Sequence[str], number: int, longest: int, seed: str) -> list[str]:
    """Draw phrases in which every word comes as often as any other, give or take one."""
    rng = random.Random(f"phrases {seed}")
    lengths = [rng.randint(1, longest) for _ in range(number)]
    deck: list[str] = []
    while len(deck) < sum(lengths):
        deck += rng.sample(list(vocabulary), len(vocabulary))
    return [" ".join(deck.pop() for _ in range(length)) for length in lengths]
