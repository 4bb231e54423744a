"""Write a text for a source: documentation for a signature, a description for a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import ClassVar

from benchmark.types import Prediction
from tasks.text import TextToText, bleu, likelihood_scores, signature, streams


@dataclass(frozen=True, kw_only=True)
class TextGeneration(TextToText):
    """Scored by BLEU, chrF, ROUGE-L and exact match against every reference."""

    metric: ClassVar[str] = "bleu"

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
