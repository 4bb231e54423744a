"""Task that orders the candidates of a query: a network reads query and candidate together, and gives a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import IGNORED, Example, Features, Head, Kind, Prediction
from tasks.reranking.ranking import AT_ONCE, Ranking, add_up, learnt, ranked
from tasks.texts import Texts

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Reranking(Ranking, Texts):
    """Task that orders each query's candidates by their relevance."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.RERANK,)

    def stratum(self, example: Example) -> None:
        return None

    def unknown(self, example: Example, head: Head) -> None:
        return None

    def label(self, example: Example, head: Head, length: int) -> list[int]:
        """Give the grade of each candidate."""
        return [example.targets[0]["relevance"].get(name, 0) for name, _ in example.source[1]]

    def features(self, source: Any, processor: Any, counts: dict[str, int]) -> Features:
        query, candidates = source
        counted: dict[str, int] = {}
        pairs = [super(Reranking, self).features((query, text), processor, counted) for _, text in candidates]
        add_up(counts, counted, len(pairs))
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

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Rank all candidates; of equal scores in the order of the source, which is drawn by hash."""
        device = next(model.parameters()).device
        rows, scores = [row for f in features for row in f["rows"]], []
        for start in range(0, len(rows), AT_ONCE):
            batch = {k: v.to(device) for k, v in processor.batch(rows[start : start + AT_ONCE]).items()}
            scores += model(**batch).logits.squeeze(-1).tolist()
        given = iter(scores)
        return [ranked([(next(given), name) for name in f["ids"]]) for f in features]
