"""Generation of text from a source, such as a signature or a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

from benchmark.errors import InputError
from benchmark.types import Example, Prediction, Splits
from tasks.common import unit_hash
from tasks.text import TextToText, bleu, likelihood_scores, signature, streams

ATTRIBUTE = re.compile(r"[^,\[\]]+\[[^\[\]]*\]")  # of a meaning representation: eatType[pub]


@dataclass(frozen=True, kw_only=True)
class TextGeneration(TextToText):
    """Generation, scored by BLEU, chrF, ROUGE-L and exact match."""

    metric: ClassVar[str] = "bleu"
    ranked: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "rouge_l", "exact_match")

    order: int | None  # seed of test/order, the test with its attributes in other orders; null: no such test

    def splits(self) -> Splits:
        """Read the data; add the test in another order if task.order is set."""
        splits = dict(super().splits())
        if self.order is not None:
            splits["test/order"] = [moved for e in splits["test"] if (moved := self._moved(e))]
        return splits

    def _moved(self, example: Example) -> Example | None:
        attributes = in_parts(example)
        if len(set(attributes)) < 2:
            return None
        moved = sorted(attributes, key=lambda a: unit_hash(f"order {self.order} {example.source} {a}"))
        if moved == attributes:  # the same order
            moved = [*moved[1:], moved[0]]
        return example._replace(id=f"{example.id} in another order", source=", ".join(moved))

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        from rouge_score.rouge_scorer import RougeScorer
        from sacrebleu.metrics import CHRF

        texts = [p["prediction"] for p in predictions]
        rouge = RougeScorer(["rougeL"], use_stemmer=False)
        best = [rouge.score_multi(list(t), text)["rougeL"].fmeasure for text, t in zip(texts, targets, strict=True)]
        exact = [text in map(str.strip, t) for text, t in zip(texts, targets, strict=True)]  # answers are stripped
        scores = {
            "bleu": bleu("13a").corpus_score(texts, streams(targets)).score,
            "chrf": CHRF().corpus_score(texts, streams(targets)).score,
            "rouge_l": 100 * sum(best) / len(best),
            "exact_match": 100 * sum(exact) / len(exact),
            **likelihood_scores(predictions),
        }
        return scores | self.extra_scores(texts, targets, scores)

    def signatures(self, targets: Sequence[tuple[str, ...]]) -> dict[str, str]:
        from sacrebleu.metrics import CHRF

        return {
            "bleu": signature(bleu("13a"), targets),
            "chrf": signature(CHRF(), targets),
            "rouge_l": f"rouge-score {version('rouge-score')}, no stemmer",
        }


def in_parts(example: Example) -> list[str]:
    """Split a meaning representation such as `name[The Vaults], eatType[pub]`.

    Raises InputError.
    """
    attributes = [part.strip() for part in ATTRIBUTE.findall(example.source)]
    if ", ".join(attributes) != example.source.strip():
        raise InputError(
            f"example {example.id}: {example.source!r} is no list like 'name[The Vaults], eatType[pub]', "
            f"so that it has no other order: task.order=null"
        )
    return attributes
