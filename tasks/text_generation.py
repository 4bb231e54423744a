"""Generation of text from a source, such as a signature or a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError, near
from benchmark.types import Constant, Example, Features, Prediction, Splits
from tasks.answers.labels import commonest
from tasks.common import unit_hash
from tasks.extraction import PATTERNS, Extract
from tasks.generation import add
from tasks.text import TextToText, bleu, likelihood_scores, signature, streams

if TYPE_CHECKING:
    from torch import nn

ATTRIBUTE = re.compile(r"[^,\[\]]+\[[^\[\]]*\]")  # of a meaning representation: eatType[pub]


@dataclass(frozen=True, kw_only=True)
class TextGeneration(TextToText):
    """Generation, scored by BLEU, chrF, ROUGE-L and exact match."""

    metric: ClassVar[str] = "bleu"
    ranked: ClassVar[tuple[str, ...]] = ("bleu", "chrf", "rouge_l", "exact_match")

    order: int | None  # seed of test/order, the test with its attributes in other orders; null: no such test
    extract: str | None  # pattern of the answers that are compared beside the whole texts; null: whole texts alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.extract is not None and self.extract not in PATTERNS:
            raise InputError(f"task.extract: no pattern {self.extract!r}{near(self.extract, PATTERNS)}")

    @property
    def _extract(self) -> Extract | None:
        return PATTERNS[self.extract] if self.extract else None

    def splits(self) -> Splits:
        """Read the data; add the test in another order if task.order is set.

        Raises InputError where no target of a split holds an answer to extract.
        """
        splits = dict(super().splits())
        for name, examples in splits.items():
            if (extract := self._extract) and examples and not any(extract(t) for e in examples for t in e.targets):
                raise InputError(
                    f"task.extract={self.extract}: no target of split {name} holds such an answer (the first is "
                    f"{examples[0].targets[0][-40:]!r}): choose another pattern{near('', PATTERNS)}, or null"
                )
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

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        features = super().encode(example, processor, counts)
        if features is None or not (extract := self._extract):
            return features
        expected = [extract(target) for target in example.targets]
        add(counts, "targets_without_an_answer", not any(expected))
        return {**features, "expected": [answer for answer in expected if answer]}

    def nothing(self) -> Prediction:
        return super().nothing() | ({"extracted": None, "expected": []} if self.extract else {})

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Answer; add the extracted answer, and those that would be right."""
        answers = super().predict(model, features, processor)
        if not (extract := self._extract):
            return answers
        return [
            {**answer, "extracted": extract(answer["prediction"]), "expected": f["expected"]}
            for answer, f in zip(answers, features, strict=True)
        ]

    def constant(self, train: Sequence[Example], targets: Sequence[tuple[str, ...]]) -> Constant:
        """Answer with the text of most training examples, among those of the answer that is extracted most often."""
        if extract := self._extract:
            answers = [extract(e.targets[0]) for e in train]
            most = commonest(answer for answer in answers if answer is not None)
            train = [e for e, answer in zip(train, answers, strict=True) if answer == most]
        return super().constant(train, targets)

    def scores(self) -> tuple[str, ...]:
        return *super().scores(), *(["extracted_match"] if self.extract else [])

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
            **self._extracted(texts, targets),
            **likelihood_scores(predictions),
        }
        return scores | self.extra_scores(texts, targets, scores)

    def _extracted(self, texts: Sequence[str], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        """Compare extracted answers; count the texts that hold none."""
        if not (extract := self._extract):
            return {}
        answers = [extract(text) for text in texts]
        right = [a is not None and a in map(extract, t) for a, t in zip(answers, targets, strict=True)]
        return {"extracted_match": 100 * sum(right) / len(right), "extraction_errors": float(answers.count(None))}

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
