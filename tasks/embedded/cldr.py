"""Parallel phrases from the Unicode CLDR: English and one other locale."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.types import Example, Splits
from tasks.common import Corpus, Data, by_hash, disjoint
from tasks.embedded.phrases import SHIFTS, pairs_of, split_of

HELD_OUT = 8  # pairs of a locale by which forgetting is measured


@dataclass(frozen=True, kw_only=True)
class Cldr(Data):
    """English phrases and their rendering in one locale; sizes are upper bounds."""

    locale: str
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        """Split the items outside the pretraining pool; the shifts are other domains."""
        pairs = disjoint(task_pairs(self.locale))
        sizes = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: by_hash(examples, sizes.get(name, self.shift)) for name, examples in pairs.items()}


def task_pairs(code: str) -> dict[str, list[Example]]:
    """Render every item of a split, before strings of two splits are dropped."""
    splits: dict[str, list[Example]] = {n: [] for n in ("train", "valid", "test", *(f"test/{s}" for s in SHIFTS))}
    for item, source, target in pairs_of(code):
        if (split := split_of(item)) != "pretrain":
            splits[split].append(Example(f"{code}/{item.key}", source, (target,)))
    return splits


@dataclass(frozen=True, kw_only=True)
class CldrCorpus(Corpus):
    """Pretraining items: parallel text of some locales, denoising of all.

    The low-resource locales have no English translations. Denoising their texts trains the embeddings of their symbols,
    which an adapter could not replace.
    """

    parallel: list[str]
    monolingual: list[str]
    denoising: float  # share of denoising pairs
    low_resource: float  # share of the denoising pairs that comes from the monolingual locales
    masked: float  # share of words hidden

    def texts(self) -> list[str]:
        """List the English and the local texts of every locale."""
        return [text for pairs in self._pairs().values() for pair in pairs for text in pair]

    def held_out(self) -> list[tuple[str, str]]:
        """List pairs of the parallel locales from items of the task."""
        return [
            (f"<{code}> {e.source}", e.targets[0])
            for code in self.parallel
            for e in by_hash(task_pairs(code)["valid"], HELD_OUT)
        ]

    def pairs(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield `<locale> source` and its target: translation, or restored text."""
        pool = self._pairs()
        while True:
            if rng.random() > self.denoising:
                code = rng.choice(self.parallel)
                source, target = rng.choice(pool[code])
            else:
                code = rng.choice(self.monolingual if rng.random() < self.low_resource else self.parallel)
                _, target = rng.choice(pool[code])
                source = self._mask(target, rng)
            yield f"<{code}> {source}", target

    def _mask(self, text: str, rng: random.Random) -> str:
        tokens = text.split()
        hidden = [rng.random() < self.masked for _ in tokens]
        shown = ["<mask>" if h else w for w, h in zip(tokens, hidden, strict=True)]
        merged = [w for i, w in enumerate(shown) if w != "<mask>" or i == 0 or shown[i - 1] != "<mask>"]
        return " ".join(merged)

    def _pairs(self) -> dict[str, list[tuple[str, str]]]:
        codes = (*self.parallel, *self.monolingual)
        # in every role: "Albania" is a source of the task, and Italian for Albania
        task_texts = {
            text
            for code in codes
            for examples in task_pairs(code).values()
            for e in examples
            for text in (e.source, *e.targets)
        }
        return {
            code: [
                (source, target)
                for item, source, target in pairs_of(code)
                if split_of(item) == "pretrain" and not task_texts & {source, target}
            ]
            for code in codes
        }
