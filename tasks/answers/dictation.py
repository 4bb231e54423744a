"""Answer with a line of text, by the tokens of a decoder that hears."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.types import IGNORED, Example, Features, Kind, Prediction
from tasks.answers.transcription import Transcription
from tasks.generation import add, likelihoods, pad_rows, write

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell

PROMPT = 4  # tokens of the longest prompt: start, language, transcribe, no timestamps


class Dictation(Transcription):
    """Half of a task that an encoder-decoder answers by tokens, and an encoder by characters.

    Whisper, Radford et al. 2022 (arXiv 2212.04356). The loss is that of the transcript and the end token behind the
    prompt.
    """

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CTC, Kind.SEQ2SEQ)

    language: str | None
    max_target_tokens: int

    def conflict(self, cell: Cell) -> str | None:
        """Give the reason why the backbone cannot be told this language."""
        reason = cell.backbone.unknown_language(self.language)
        told = f"task.language={self.language or 'null'} on backbone {cell.names.get('backbone')}"
        return f"{told}: {reason}" if reason else None

    def largest(self, kind: Kind) -> tuple[float, int]:
        return super().largest(kind)[0], self.longest(kind)

    def longest(self, kind: Kind) -> int:
        return PROMPT + self.max_target_tokens if kind == Kind.SEQ2SEQ else 0

    def answer(self, example: Example, features: Features, processor: Any, counts: dict[str, int]) -> Features:
        """Tokenise the transcript, cut at its end; count cuts, and transcripts that are never written."""
        if processor.head.kind != Kind.SEQ2SEQ:
            return super().answer(example, features, processor, counts)
        text = example.targets[0]
        ids = processor.target(text)
        kept = ids[: self.max_target_tokens - 1]
        add(counts, "truncated_targets", kept != ids)
        add(counts, "answers_with_suppressed_tokens", not processor.never.isdisjoint(kept))
        # of the tokens that are kept, since the likelihood is of these
        characters = len(text if kept == ids else processor.text(kept).strip())
        return {"target": [*kept, processor.tokenizer.eos_token_id], "characters": characters}

    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad on the right; every answer stands behind the prompt, which has no loss."""
        if processor.head.kind != Kind.SEQ2SEQ:
            return super().collate(features, processor)
        prompt, targets = processor.prompt(self.language), [f["target"] for f in features]
        read, _ = pad_rows([[*prompt, *target[:-1]] for target in targets], processor.tokenizer.pad_token_id)
        labels, _ = pad_rows([[IGNORED] * (len(prompt) - 1) + target for target in targets], IGNORED)
        return {**self.inputs(features, processor), "decoder_input_ids": read, "labels": labels}

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        """Decode greedily; add the negative log-likelihood (nats) of the true transcript where it is known."""
        if processor.head.kind != Kind.SEQ2SEQ:
            return super().predict(model, features, processor)
        prompt, _ = pad_rows([processor.prompt(self.language)] * len(features), IGNORED)
        inputs = {**self.inputs(features, processor), "decoder_input_ids": prompt}
        texts = write(model, inputs, processor, self.max_target_tokens)
        answers: list[Prediction] = [{"prediction": " ".join(text.split())} for text in texts]
        if any("target" not in f for f in features):
            return answers
        unlikely = likelihoods(model, self.collate(features, processor), Kind.SEQ2SEQ)
        return [
            {**answer, "nll": nll, "characters": f["characters"]}
            for answer, nll, f in zip(answers, unlikely, features, strict=True)
        ]
