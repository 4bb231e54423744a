"""Language of a CLDR phrase among close relatives, and the pretraining text beside it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import babel
import numpy as np

from benchmark.types import Example, Splits
from tasks.cache import load_or_make
from tasks.common import Corpus, Data, by_hash
from tasks.embedded.phrases import Item, items, render_all, split_of

Phrase = tuple[Item, str]


@cache
def phrases(codes: tuple[str, ...]) -> dict[str, list[Phrase]]:
    """Render every item in each locale that has words for it.

    English, codes and the root locale stand in where a locale lacks an entry; they are left out, and so is what two of
    the languages write alike.
    """
    columns = rendered(("en", "und", *codes))
    found: dict[str, list[Phrase]] = {code: [] for code in codes}
    languages: dict[str, set[str]] = {}
    for code in codes:
        for item, text, english, root in zip(items(), columns[code], columns["en"], columns["und"], strict=True):
            if text and text not in (english, root):
                found[code].append((item, text))
                languages.setdefault(text, set()).add(code)
    return {code: [(item, text) for item, text in part if len(languages[text]) == 1] for code, part in found.items()}


@cache
def rendered(codes: tuple[str, ...]) -> dict[str, list[str]]:
    """Render every item in each locale, from the cache where it was done; "" where the locale lacks it."""

    def make() -> dict[str, np.ndarray]:
        texts = {code: "\n".join(text or "" for text in render_all(code)) for code in codes}
        return {code: np.frombuffer(text.encode(), np.uint8) for code, text in texts.items()}

    stored = load_or_make("languages", {"codes": codes, "babel": babel.__version__}, make)
    return {code: stored[code].tobytes().decode().split("\n") for code in codes}


@dataclass(frozen=True, kw_only=True)
class Languages(Data):
    """Phrases of some languages, each with its language; sizes are upper bounds."""

    languages: list[str]
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        """Draw from the items outside of the pretraining pool; a text is in one split, tests first."""
        splits = task_phrases(self.languages)
        sizes = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: by_hash(part, sizes.get(name, self.shift)) for name, part in splits.items()}


def task_phrases(languages: Sequence[str]) -> dict[str, list[Example]]:
    """Give every phrase outside of the pretraining pool to the split of its item."""
    splits: dict[str, list[Example]] = {name: [] for name in ("train", "valid", "test", "test/names", "test/intervals")}
    for code, part in phrases(tuple(languages)).items():
        for item, text in part:
            if (split := split_of(item)) != "pretrain":
                splits[split].append(Example(f"{code}/{item.key}", text, (code,)))
    seen: set[str] = set()
    apart = {}
    for name in ("test", "test/names", "test/intervals", "valid", "train"):
        apart[name] = [*{e.source: e for e in splits[name] if e.source not in seen}.values()]
        seen |= {e.source for e in apart[name]}
    return {name: apart[name] for name in splits}


@dataclass(frozen=True, kw_only=True)
class LanguageCorpus(Corpus):
    """Pretraining documents: phrases of one language in a row, from items that the task never shows."""

    languages: list[str]  # of the task
    others: list[str]
    most: int  # phrases of a document
    held: int  # documents by which forgetting is measured

    def texts(self) -> list[str]:
        """List every phrase once."""
        return [text for part in self._pool().values() for text in part]

    def held_out(self) -> list[tuple[str, str]]:
        """List documents of the task's languages, of items that pretraining does not use."""
        valid = task_phrases(self.languages)["valid"]
        return [(e.targets[0], e.source) for e in by_hash(valid, self.held)]

    def pairs(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (language, document) without end, each language alike often."""
        pool = self._pool()
        codes = [*pool]
        while True:
            code = rng.choice(codes)
            yield code, " · ".join(rng.choice(pool[code]) for _ in range(rng.randint(1, self.most)))

    def _pool(self) -> dict[str, list[str]]:
        """List the phrases of pretraining items whose text no split of the task has."""
        taken = {e.source for part in task_phrases(self.languages).values() for e in part}
        pool = {}
        for code, texts in rendered((*self.languages, *self.others)).items():
            both = zip(items(), texts, strict=True)
            pool[code] = [text for item, text in both if text and split_of(item) == "pretrain" and text not in taken]
        return pool
