"""Task that orders the candidates of a query: a network reads query and candidate together, and gives a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import IGNORED, Bad, Constant, Example, Features, Head, Kind, Prediction, Splits
from tasks.folds import read_splits
from tasks.reranking.bm25 import BM25, with_order
from tasks.reranking.queries import RETRIEVED, Query, in_order
from tasks.reranking.rows import named
from tasks.reranking.scores import averages, by_query, check_installed
from tasks.texts import Texts

if TYPE_CHECKING:
    import torch
    from torch import nn

REFERENCES = {RETRIEVED: "the order of the retriever", BM25: "the order of BM25"}  # the first one there is the floor
AT_ONCE = 64  # pairs in one pass when answering


@dataclass(frozen=True, kw_only=True)
class Reranking(Texts):
    """Task that orders each query's candidates by their relevance."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.RERANK,)
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

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> None:
        return None

    def label(self, example: Example, head: Head, length: int) -> list[int]:
        """Give the grade of each candidate."""
        return [example.targets[0]["relevance"].get(name, 0) for name, _ in example.source[1]]

    def features(self, source: Any, processor: Any, counts: dict[str, int]) -> Features:
        query, candidates = source
        cut: dict[str, int] = {}
        pairs = [super(Reranking, self).features((query, text), processor, cut) for _, text in candidates]
        for name, number in cut.items():
            name, number = (name, int(number > len(pairs) / 2)) if name == "unreadable_sources" else (name, number)
            counts[name] = counts.get(name, 0) + number
        length = max((pair["length"] for pair in pairs), default=0)
        return {"ids": [name for name, _ in candidates], "rows": [pair["row"] for pair in pairs], "length": length}

    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Take a bounded number of candidates per query: pairs of all queries below each other."""
        import torch

        chosen = [learnt(f["label"], self.train_candidates) for f in features]
        rows = [f["rows"][i] for f, part in zip(features, chosen, strict=True) for i in part]
        labels = torch.full((len(features), max(map(len, chosen))), float(IGNORED))
        for line, f, part in zip(labels, features, chosen, strict=True):
            line[: len(part)] = torch.tensor([float(f["label"][i]) for i in part])
        return {**processor.batch(rows), "labels": labels}

    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count queries."""
        return len(batch["labels"])

    def nothing(self) -> Prediction:
        return {"prediction": [], "scores": []}

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Rank all candidates; of equal scores in the order of the source, which is drawn by hash."""
        device = next(model.parameters()).device
        rows, scores = [row for f in features for row in f["rows"]], []
        for start in range(0, len(rows), AT_ONCE):
            batch = {k: v.to(device) for k, v in processor.batch(rows[start : start + AT_ONCE]).items()}
            scores += model(**batch).logits.squeeze(-1).tolist()
        given = iter(scores)
        return [ranked([(next(given), name) for name in f["ids"]]) for f in features]

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
