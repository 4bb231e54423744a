"""BM25 by bm25s: words of two letters or more in lower case, without stop words or stemming of any language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchmark.types import Bad, Example
from tasks.common import unit_hash

BM25 = "bm25"


class Bm25:
    """Index of texts (Lucene's BM25, k1 1.5, b 0.75)."""

    def __init__(self, texts: Sequence[str]) -> None:
        import bm25s

        self.texts = texts
        words = bm25s.tokenize(list(texts), stopwords=None, return_ids=False, show_progress=False)
        self.index = bm25s.BM25() if any(words) else None
        if self.index:
            self.index.index(words, show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """Score every text of the index."""
        import bm25s

        (words,) = bm25s.tokenize([query], stopwords=None, return_ids=False, show_progress=False)
        known = [word for word in words if self.index and word in self.index.vocab_dict]
        return self.index.get_scores(known) if known else np.zeros(len(self.texts))

    def best(self, query: str, number: int) -> list[int]:
        """List the texts with the highest scores; of equal scores by a hash of query and text."""
        scores = self.scores(query)
        least = np.partition(scores, -number)[-number] if number < len(scores) else -np.inf
        places = np.flatnonzero(scores >= least).tolist()
        return sorted(places, key=lambda i: (-scores[i], unit_hash(f"{query}\n{self.texts[i]}")))[:number]


def with_order(examples: Sequence[Example]) -> list[Example]:
    """Add the order of BM25 to the targets, a reference; its corpus are all candidates of the split."""
    read = [e for e in examples if not isinstance(e.source, Bad)]
    places = {text: i for i, text in enumerate(dict.fromkeys(t for e in read for _, t in e.source[1]))}
    if not places:
        return [*examples]
    index = Bm25([*places])
    return [e if isinstance(e.source, Bad) else _ordered(e, index, places) for e in examples]


def _ordered(example: Example, index: Bm25, places: Mapping[str, int]) -> Example:
    query, candidates = example.source
    scores = index.scores(query)
    ranked = sorted(candidates, key=lambda pair: -scores[places[pair[1]]])  # of equal ones in the order of the source
    return example._replace(targets=({**example.targets[0], BM25: [name for name, _ in ranked]},))
