"""Whole Whisper: a network that writes what it hears behind a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import GenerationMixin, WhisperForConditionalGeneration

from benchmark.backbones.sound import SoundProcessor
from benchmark.types import Kind


class Recogniser(WhisperForConditionalGeneration):
    """Whisper that decodes behind any prompt, as other encoder-decoders do.

    The library's own decoding makes the prompt itself, and cuts long recordings by timestamps.
    """

    def generate(self, input_features: torch.Tensor, **options: Any) -> torch.Tensor:
        """Decode behind decoder_input_ids; return prompts and answers."""
        # without a mask the library warns of padding, which spectrograms of one length do not have
        frames = torch.ones(len(input_features), self.config.max_source_positions, device=input_features.device)
        return GenerationMixin.generate(self, input_features=input_features, attention_mask=frames.long(), **options)


@dataclass(frozen=True, eq=False, kw_only=True)
class TextOfSpeech(SoundProcessor):
    """Preparation of samples and of transcripts."""

    kind: ClassVar[Kind] = Kind.SEQ2SEQ

    tokenizer: Any
    never: frozenset[int]  # tokens that the network never writes

    def __call__(self, clips: Any) -> dict[str, torch.Tensor]:
        """Compute spectrograms; all have one length, so that there is no mask."""
        return {"input_features": super().__call__(clips)["input_features"]}

    def prompt(self, language: str | None) -> list[int]:
        """Give the tokens before every answer; those of a language and of transcribing only with a language."""
        named = [] if language is None else [f"<|{language}|>", "<|transcribe|>"]
        return self.tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", *named, "<|notimestamps|>"])

    def target(self, text: str) -> list[int]:
        """Tokenise a transcript without end token, behind a blank as in pretraining; `<|en|>` in it is text."""
        return self.tokenizer(f" {text}", add_special_tokens=False, split_special_tokens=True)["input_ids"]

    def text(self, ids: Any) -> str:
        """Decode tokens, without changing blanks."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
