"""Translate between two languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchmark.types import Prediction
from tasks.text import TextToText, bleu, likelihood_scores, signature, streams


@dataclass(frozen=True, kw_only=True)
class Translation(TextToText):
    """Scored by BLEU and chrF++."""

    metric: ClassVar[str] = "bleu"

    source_language: str
    target_language: str
    bleu_tokenizer: str  # one of sacrebleu's: 13a splits words at spaces, char serves scripts without them

    def languages(self) -> tuple[str, str]:
        return self.source_language, self.target_language

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        from sacrebleu.metrics import CHRF

        texts = [p["prediction"] for p in predictions]
        scores = {
            "bleu": bleu(self.bleu_tokenizer).corpus_score(texts, streams(targets)).score,
            "chrf++": CHRF(word_order=2).corpus_score(texts, streams(targets)).score,
            **likelihood_scores(predictions),
        }
        return scores | self.extra_scores(texts, targets, scores)

    def signatures(self, targets: Sequence[tuple[str, ...]]) -> dict[str, str]:
        from sacrebleu.metrics import CHRF

        return {
            "bleu": signature(bleu(self.bleu_tokenizer), targets),
            "chrf++": signature(CHRF(word_order=2), targets),
        }
