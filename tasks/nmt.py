"""Translation between two languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from benchmark.errors import InputError, near
from benchmark.types import Prediction
from tasks.text import TextToText, bleu, likelihood_scores, signature, streams

TOKENIZERS = {  # languages without blanks between words (codes of two and three letters) -> sacrebleu's tokenizer
    **dict.fromkeys(("zh", "zho", "yue", "wuu", "lzh"), "zh"),
    **dict.fromkeys(("ja", "jpn"), "ja-mecab"),
    **dict.fromkeys(("ko", "kor"), "ko-mecab"),  # has blanks, but particles are part of words
    **dict.fromkeys(("th", "tha", "km", "khm", "lo", "lao", "my", "mya", "bo", "bod", "dz", "dzo"), "char"),
}
NEED_BLANKS = ("13a", "intl", "none")  # tokenizers of sacrebleu that need blanks between words
LONGEST = 4  # words: BLEU's longest n-gram


@dataclass(frozen=True, kw_only=True)
class Translation(TextToText):
    """Translation, scored by BLEU and chrF++."""

    metric: ClassVar[str] = "bleu"
    ranked: ClassVar[tuple[str, ...]] = ("bleu", "chrf++")

    source_language: str
    target_language: str
    bleu_tokenizer: str | None  # one of sacrebleu's; null: by the target language's script
    across_processors: dict[str, float] | None  # measured difference of one seed's scores; null: not measured

    def __post_init__(self) -> None:
        super().__post_init__()
        from sacrebleu.metrics.bleu import BLEU

        name, where = self.tokenizer, "task.bleu_tokenizer"
        if name not in BLEU.TOKENIZERS:
            raise InputError(f"{where}: no tokenizer {name!r} of sacrebleu{near(name, BLEU.TOKENIZERS)}")
        language = self.target_language
        if name in NEED_BLANKS and (fits := TOKENIZERS.get(plain(language))) and fits != "ko-mecab":
            raise InputError(f"{where}: {name} needs blanks between words, {language} has none: give {fits}, or null")
        try:
            bleu(name if name.endswith("mecab") else "13a")  # others need no package
        except RuntimeError as error:  # a dictionary that is not installed
            extra = name.partition("-")[0]
            raise InputError(
                f"{where}: {name}, for {language}, is not installed: pip install 'sacrebleu[{extra}]', or {where}=char"
            ) from error

    @cached_property
    def tokenizer(self) -> str:
        """Name sacrebleu's tokenizer for the target language."""
        return self.bleu_tokenizer or TOKENIZERS.get(plain(self.target_language), "13a")

    def languages(self) -> tuple[str, str]:
        return self.source_language, self.target_language

    def headline(self, split: str, targets: Sequence[tuple[str, ...]]) -> str:
        """Name chrF++ for a shifted test whose references are too short for BLEU."""
        if not split.startswith("test/"):
            return self.metric
        tokenised = bleu(self.tokenizer).tokenizer
        short = sum(len(tokenised(t[0]).split()) < LONGEST for t in targets)
        return "chrf++" if short > len(targets) / 2 else self.metric

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        from sacrebleu.metrics import CHRF

        texts = [p["prediction"] for p in predictions]
        scores = {
            "bleu": bleu(self.tokenizer).corpus_score(texts, streams(targets)).score,
            "chrf++": CHRF(word_order=2).corpus_score(texts, streams(targets)).score,
            **likelihood_scores(predictions),
        }
        return scores | self.extra_scores(texts, targets, scores)

    def signatures(self, targets: Sequence[tuple[str, ...]]) -> dict[str, str]:
        from sacrebleu.metrics import CHRF

        return {
            "bleu": signature(bleu(self.tokenizer), targets),
            "chrf++": signature(CHRF(word_order=2), targets),
        }


def plain(language: str) -> str:
    """Leave script and country out: zh_Hant, zho_Hans, th-TH."""
    return language.replace("-", "_").partition("_")[0].lower()
