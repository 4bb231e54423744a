"""Task that orders the candidates of a query by how likely a language model finds the query after each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import Example, Features, Prediction, Splits
from tasks.generation import target_nll
from tasks.reranking.ranking import AT_ONCE, Ranking, add_up, learnt, ranked
from tasks.text import TextToText

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class QueryLikelihood(Ranking, TextToText):
    """Task whose network writes the query from a relevant candidate (Sachan et al. 2022, arXiv 2204.07496)."""

    proper: ClassVar[str | None] = None
    placeholder: ClassVar[Any] = None

    skip_bad: bool

    def splits(self) -> Splits:
        return self.read()

    def skips_bad(self) -> bool:
        return self.skip_bad

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Tokenise the query after each candidate; None where no relevant candidate can be read."""
        query, candidates = example.source
        ids, counted = [name for name, _ in candidates], {}
        examples = [Example("", text, (query,)) for _, text in candidates]
        pairs = [super(QueryLikelihood, self).encode(one, processor, counted) for one in examples]
        counted["empty_candidates"] = counted.pop("empty_examples", 0)
        add_up(counts, counted, len(pairs))
        features = {"ids": ids, "pairs": pairs}
        if example.targets == (self.placeholder,):
            return features if any(pairs) else None
        known = example.targets[0]["relevance"]
        grades = [known.get(name, 0) if pair else 0 for name, pair in zip(ids, pairs, strict=True)]
        relevant = [i for i in learnt(grades, self.train_candidates) if grades[i]]
        return features | {"relevant": relevant} if relevant else None

    def length(self, features: Features) -> int:
        return max(super(QueryLikelihood, self).length(pair) for pair in features["pairs"] if pair)

    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Take the relevant candidates alone, each with the query as its target."""
        return super().collate([f["pairs"][i] for f in features for i in f["relevant"]], processor)

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Rank by the mean log-likelihood of the query's tokens; a candidate that cannot be read is the last."""
        pairs = [pair for f in features for pair in f["pairs"] if pair]
        device, likely = next(model.parameters()).device, []
        for start in range(0, len(pairs), AT_ONCE):
            part = pairs[start : start + AT_ONCE]
            batch = {k: v.to(device) for k, v in super().collate(part, processor).items()}
            nll = target_nll(model(**batch).logits, batch["labels"], processor.kind)
            likely += [-one / len(pair["target"]) for one, pair in zip(nll, part, strict=True)]
        given = iter(likely)
        scored = [[next(given) if pair else -math.inf for pair in f["pairs"]] for f in features]
        return [ranked([*zip(scores, f["ids"], strict=True)]) for scores, f in zip(scored, features, strict=True)]
