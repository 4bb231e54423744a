"""Half of a task that orders the candidates of a query: data, scores and references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Bad, Constant, Example, Prediction, Splits
from tasks.folds import read_splits
from tasks.reranking.bm25 import BM25, with_order
from tasks.reranking.queries import RETRIEVED, Query, in_order
from tasks.reranking.rows import named
from tasks.reranking.scores import averages, by_query, check_installed

REFERENCES = {RETRIEVED: "the order of the retriever", BM25: "the order of BM25"}  # the first one there is the floor
AT_ONCE = 64  # pairs in one pass when answering


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Half of a task that orders candidates, scored by nDCG, MRR and Recall."""

    metric: ClassVar[str] = "ndcg_10"

    train_candidates: int  # of a query in a step and in the loss on valid; all are ranked in answers
    recall_at: list[int]
    mrr_at: int

    def read(self) -> Splits:
        """Read the data, with the order of BM25 beside each answer outside of train."""
        check_installed()
        splits = read_splits(self.data, self.fold, self.reading)
        return {
            name: [self._narrowed(e) for e in part] if name == "train" else with_order(part)
            for name, part in splits.items()
        }

    def source(self, given: Any) -> Any:
        """Take a query with its candidates; those without an id are named by their text. Raises InputError."""
        try:
            query, candidates = given["query"], [named(one) for one in given["candidates"]]
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"{given!r:.40}: {{query: TEXT, candidates: [TEXT, ...]}} wanted ({error})") from error
        return Query(query, in_order(query, [(name or content, content) for name, content in candidates]))

    def _narrowed(self, example: Example) -> Example:
        """Leave the candidates of which a step learns; the others would only be encoded."""
        if isinstance(example.source, Bad):
            return example
        query, candidates = example.source
        grades = [example.targets[0]["relevance"].get(name, 0) for name, _ in candidates]
        kept = sorted(learnt(grades, self.train_candidates))
        self.reading.count("train", "candidates_that_no_step_reads", len(candidates) - len(kept))
        return example._replace(source=Query(query, tuple(candidates[i] for i in kept)))

    def nothing(self) -> Prediction:
        return {"prediction": [], "scores": []}

    def scores(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.metric, f"mrr_{self.mrr_at}", *(f"recall_{k}" for k in self.recall_at))))

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Average over queries; beside the network's scores those of each reference order."""
        orders = {"": [p["prediction"] for p in predictions]}
        orders |= {f"{name}_": [t[0][name] for t in targets] for name in references(targets)}
        relevance = [t[0]["relevance"] for t in targets]
        return {
            f"{prefix}{name}": value
            for prefix, order in orders.items()
            for name, value in averages(by_query(order, relevance, self.scores())).items()
        }

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> Constant | None:
        """Rank by the order of the data, if it is a retriever's, else by BM25."""
        for name in references(targets):
            order = [{"prediction": t[0][name]} for t in targets]
            scores = self.score(order, [({"relevance": t[0]["relevance"]},) for t in targets])
            return Constant(REFERENCES[name], scores)
        return None


def references(targets: Sequence[tuple[Any, ...]]) -> list[str]:
    """Name the reference orders that every target has."""
    return [name for name in REFERENCES if targets and all(name in t[0] for t in targets)]


def ranked(scored: Sequence[tuple[float, str]]) -> Prediction:
    """Order ids by score, the highest first; the sort keeps the order of equal ones."""
    best = sorted(scored, key=lambda pair: -pair[0])
    return {"prediction": [name for _, name in best], "scores": [round(score, 6) for score, _ in best]}


def learnt(grades: Sequence[int], most: int) -> list[int]:
    """Choose at most `most` candidates to learn from: relevant ones, at most half of them, then others."""
    relevant = sorted((i for i, grade in enumerate(grades) if grade), key=lambda i: -grades[i])
    others = [i for i, grade in enumerate(grades) if not grade]
    kept = max(most // 2, most - len(others))
    return [*relevant[:kept], *others[: most - len(relevant[:kept])]]


def add_up(counts: dict[str, int], of_pairs: Mapping[str, int], number: int) -> None:
    """Add counts of a query's pairs; unreadable is a query of which most pairs are."""
    for name, count in of_pairs.items():
        added = int(count > number / 2) if name.startswith("unreadable") else count
        if added:
            counts[name] = counts.get(name, 0) + added
