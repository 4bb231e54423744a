"""CPT (Blau et al. 2024, arXiv 2410.17222).

A prompt of training examples, whose embeddings change a little.

The answers in the prompt stay fixed, as in the paper. The paper's loss on these answers is left out: it would be part
of every validation loss, and count once per example of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from benchmark.methods.hf_peft import Peft
from benchmark.types import IGNORED, Kind

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

# The library's kinds of token. Without any label in the prompt it ignores the labels of the batch, so the first token,
# which has no loss, is a label.
LABEL, QUESTION, ANSWER = 4, 2, 0


@dataclass(frozen=True, kw_only=True)
class Cpt(Peft):
    """Context-aware prompt, filled by calibration."""

    calibrates: ClassVar[bool] = True

    tokens: int  # of training examples, of which the last one is cut

    @property
    def prepended(self) -> int:
        return self.tokens

    def conflict(self, cell: Cell) -> str | None:
        if self.tokens < 2:
            return f"method.tokens={self.tokens}: must be at least 2"
        if cell.kind == Kind.SEQ2SEQ:
            return f"CPT puts questions and answers into one sequence, {cell.backbone.family} reads two"
        return super().conflict(cell)

    def library_options(self, cell: Cell) -> dict[str, Any]:
        kinds = [LABEL] + [QUESTION] * (self.tokens - 1)
        return {**self.options, "cpt_token_ids": [0] * self.tokens, "cpt_tokens_type_mask": kinds}

    @torch.no_grad()
    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        tokens, kinds = [], []
        while len(tokens) < self.tokens:
            batch = next(batches)
            for ids, mask, labels in zip(
                batch["input_ids"], batch["attention_mask"].bool(), batch["labels"], strict=True
            ):
                answers = labels[mask] != IGNORED
                answers &= ~answers.all()  # in language modelling nothing is an answer
                tokens += ids[mask].tolist()
                kinds += torch.where(answers, ANSWER, QUESTION).tolist()
        encoder = model.prompt_encoder["default"]
        for config in (model.peft_config["default"], encoder.config):
            config.cpt_token_ids = tokens[: self.tokens]
            config.cpt_tokens_type_mask = [LABEL, *kinds[1 : self.tokens]]
        weight = encoder.embedding.weight
        weight.copy_(model.word_embeddings(torch.tensor(tokens[: self.tokens], device=weight.device)))
        encoder.set_updated_tokens()
