"""Sentences and the functions that they document: queries with what BM25 retrieves for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.types import Example, Splits
from tasks.common import Data
from tasks.embedded.functions import Function, as_example, functions
from tasks.reranking.bm25 import Bm25
from tasks.reranking.queries import Gathered, as_examples, candidate
from tasks.reranking.scores import check_installed


@dataclass(frozen=True, kw_only=True)
class DocstringPassages(Data):
    """First sentence of a documentation -> signature and the rest of it; each split has packages of its own."""

    packages: dict[str, list[str]]  # split -> packages
    candidates: int  # that BM25 retrieves for each query, among all passages of the split
    characters: int  # of a passage, from its beginning

    def splits(self) -> Splits:
        """Read every split. Raises InputError where a package is not installed."""
        check_installed()
        return {split: self._read(split, packages) for split, packages in self.packages.items()}

    def _read(self, split: str, packages: Sequence[str]) -> list[Example]:
        named = {function.name: function for package in packages for function in functions(package)}
        passages, queries = {}, {}
        for function in named.values():  # the last definition counts
            passage = as_passage(function, self.characters)
            if passage and as_example(function):
                passages[function.name] = passage
                queries.setdefault(function.sentence, []).append(function)
        index = Bm25([*passages.values()])
        gathered = [self._retrieved(functions_, passages, index) for functions_ in queries.values()]
        return as_examples(split, gathered, True, "docstrings", self.reading)

    def _retrieved(self, documented: Sequence[Function], passages: Mapping[str, str], index: Bm25) -> Gathered:
        """Retrieve candidates; every function that has the sentence is relevant."""
        relevant = {function.name for function in documented}
        names, (first, *_) = [*passages], documented
        found = [names[i] for i in index.best(first.sentence, self.candidates)]
        graded = [candidate(name, passages[name], int(name in relevant)) for name in found]
        return Gathered(first.name, first.sentence, first.module, graded)


def as_passage(function: Function, characters: int) -> str:
    """Render signature and documentation without its first sentence; empty where nothing is left."""
    rest = " ".join(" ".join(function.documentation.split()).replace(function.sentence, " ").split())
    return f"{function.signature}\n{rest}"[:characters].rstrip() if rest else ""
