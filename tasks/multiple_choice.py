"""Choice among given answers by their likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError, near
from benchmark.types import IGNORED, Example, Features, Kind, Prediction
from tasks.choices import Asked
from tasks.generation import add, on_device, target_nll
from tasks.text import TextToText, likelihood_scores

if TYPE_CHECKING:
    from torch import nn

UNITS = ("bytes", "tokens")


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(TextToText):
    """Choice of the answer with the highest log-likelihood per unit of length.

    It learns to write the right answer after the question, as in text generation.
    """

    metric: ClassVar[str] = "accuracy"
    ranked: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_unnormalised")

    normalise: str  # bytes | tokens: unit of a choice's length
    skip_bad: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.normalise not in UNITS:
            raise InputError(f"task.normalise: no unit {self.normalise!r}{near(self.normalise, UNITS)}")
        if not hasattr(self.data, "ask"):
            raise InputError("data: these have no choices: give data=choices, or data=llm_adapters")

    @cached_property
    def frame(self) -> str:
        """Template without blanks at its end, which begin the choices: tokenizers join a blank with its word."""
        return super().frame.rstrip(" ")

    def skips_bad(self) -> bool:
        return self.skip_bad

    def stratum(self, example: Example) -> str:
        return example.targets[0]

    def source(self, given: Any) -> Asked:
        """Take a mapping with the question and its choices, by their columns' names."""
        row = given if isinstance(given, Mapping) else {"source": given}
        try:
            return self.data.ask(row, super().source(row))
        except ValueError as error:
            raise InputError(f"input: {error}") from error

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Tokenise the question, the right answer to learn, and every choice to compare."""
        asked, target = example.source, example.targets[0]
        right = int(target) - 1 if target != self.placeholder else None
        begin = " " if self.template.endswith(" ") and processor.kind == Kind.CAUSAL_LM else ""
        texts = [begin + choice for choice in asked.choices]
        learnt = example._replace(source=asked.question, targets=(texts[right or 0],))
        features = super().encode(learnt, processor, counts)
        if features is None:
            return None
        choices = [self._choice(text, processor, counts) for text in texts]
        if not all(choice["ids"] for choice in choices):
            add(counts, "empty_examples")
            return None
        return {**features, "choices": choices, "right": right}

    def _choice(self, text: str, processor: Any, counts: dict[str, int]) -> dict[str, Any]:
        """Tokenise a choice without the end token, cut as the target is."""
        _, ids = processor.target(text, self.frame, None)
        kept = ids[: self.max_target_tokens - 1]
        add(counts, "truncated_choices", kept != ids)
        read = processor.text(kept) if kept != ids else text
        return {
            "text": text.strip(),
            "ids": kept,
            "bytes": max(len(read.strip().encode()), 1),
        }  # a cut may leave a blank

    def nothing(self) -> Prediction:
        return {**super().nothing(), "choices": []}

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Choose; add each choice's negative log-likelihood (nats), tokens and bytes, without the end token."""
        end = processor.end  # mBART starts from the last label, which must be the same for all
        asked = [{"source": f["source"], "target": [*c["ids"], end]} for f in features for c in f["choices"]]
        likelihoods = iter(self._nll(model, asked, len(features), processor))
        answers = []
        for f in features:
            choices = [
                {"text": c["text"], "nll": next(likelihoods), "tokens": len(c["ids"]), "bytes": c["bytes"]}
                for c in f["choices"]
            ]
            right = self.nothing() if f["right"] is None else choices[f["right"]]
            best = choose(choices, self.normalise)
            known = {key: right[key] for key in ("nll", "tokens", "bytes")}
            answers.append({"prediction": best, **known, "choices": choices})
        return answers

    def _nll(self, model: nn.Module, rows: Sequence[Features], size: int, processor: Any) -> list[float]:
        """Score rows of similar length together, at most `size` at a time, but not their end tokens."""
        order = sorted(range(len(rows)), key=lambda i: -self.length(rows[i]))
        found: dict[int, float] = {}
        for start in range(0, len(order), size):
            part = order[start : start + size]
            batch = on_device(self.collate([rows[i] for i in part], processor), model)
            labels = batch["labels"].clone()
            labels[range(len(part)), (labels != IGNORED).cumsum(1).argmax(1)] = IGNORED  # the last one of each row
            found |= zip(part, target_nll(model(**batch).logits, labels, processor.kind), strict=True)
        return [found[i] for i in range(len(rows))]

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[str, ...]]) -> dict[str, float]:
        """Score the choices, also those of the highest likelihood whatever the length."""
        chosen = [p["prediction"] for p in predictions]
        likeliest = [choose(p["choices"]) if p["choices"] else p["prediction"] for p in predictions]
        scores = {
            name: sum(answer in t for answer, t in zip(answers, targets, strict=True)) / len(targets)
            for name, answers in (("accuracy", chosen), ("accuracy_unnormalised", likeliest))
        }
        scores |= likelihood_scores(predictions)
        return scores | self.extra_scores(chosen, targets, scores)


def choose(choices: Sequence[Mapping[str, Any]], unit: str | None = None) -> str:
    """Give the number, from 1, of the choice that is likeliest per unit; of equal ones the first."""
    costs = [choice["nll"] / (choice[unit] if unit else 1) for choice in choices]
    return str(1 + costs.index(min(costs)))
