"""Function signatures and documentation's first sentence.

Which files train, validate or test is decided by the hash of the module's name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from benchmark.types import Example, Splits
from tasks.common import Corpus, Data, by_hash, disjoint, unit_hash
from tasks.embedded.functions import SENTENCE, as_document, as_example, functions

VALID, TEST = 0.08, 0.12
HELD_OUT = 128  # documents by which forgetting is measured


@dataclass(frozen=True, kw_only=True)
class Docstrings(Data):
    """Signature -> first sentence; another package is the shift. Sizes are bounds."""

    packages: list[str]
    shifted_package: str
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        """Split by the hash of the module; shared sentences stay on one side."""
        shifted = f"test/{self.shifted_package}"
        splits: dict[str, list[Example]] = {name: [] for name in ("train", "valid", "test", shifted)}
        for package in (*self.packages, self.shifted_package):
            named = {function.name: function for function in functions(package)}  # the last definition counts
            for function in named.values():
                split = shifted if package == self.shifted_package else split_of(function.module)
                if example := as_example(function):
                    splits[split].append(example)
        sizes = {"train": self.train, "valid": self.valid, "test": self.test, shifted: self.shift}
        return {name: by_hash(examples, sizes[name]) for name, examples in disjoint(splits).items()}


def split_of(module: str) -> str:
    """Say which split a module's functions belong to."""
    position = unit_hash(module)
    return "test" if position < TEST else "valid" if position < TEST + VALID else "train"


@dataclass(frozen=True, kw_only=True)
class DocstringCorpus(Corpus):
    """Docstrings of other packages, without those that quote a task's sentence."""

    packages: list[str]
    task_packages: list[str]
    held_out_packages: list[str]

    def texts(self) -> list[str]:
        """Render each function's signature and docstring."""
        sources, sentences = set(), set()
        for package in self.task_packages:
            for function in functions(package):
                sources.add(function.signature)
                sentences.add(function.sentence)
        return [
            as_document(f)
            for package in self.packages
            for f in functions(package)
            if f.signature not in sources and not _quotes(f.documentation, sentences)
        ]

    def held_out(self) -> list[tuple[str, str]]:
        """List documents of packages that neither pretraining nor a task reads."""
        known = {f.documentation for package in self.packages for f in functions(package)}
        documents = {
            f.name: as_document(f)
            for package in self.held_out_packages
            for f in functions(package)
            if f.documentation not in known
        }
        return [("", documents[name]) for name in sorted(documents, key=unit_hash)[:HELD_OUT]]

    def pairs(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (no source, text) without end, in shuffled passes."""
        texts = self.texts()
        while True:
            rng.shuffle(texts)
            yield from (("", text) for text in texts)


def _quotes(documentation: str, sentences: set[str]) -> bool:
    paragraphs = [" ".join(p.split()) for p in documentation.split("\n\n")]
    return any(s in sentences for p in paragraphs for s in (p, *SENTENCE.findall(p)))
