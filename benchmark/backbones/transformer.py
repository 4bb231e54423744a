"""Text networks from the hub, a local folder or the embedded checkpoints: one code path for all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.types import Budget, Head, Kind, Unusable

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class TextProcessor:
    """A tokenizer, and how its checkpoint wants to be told the languages."""

    tokenizer: Any
    kind: Kind
    tag: str
    codes: dict[str, str]

    def source(self, text: str, languages: tuple[str, str] | None) -> tuple[list[int], list[int], list[int]]:
        """Tokenise what the network reads: (ids before the text, ids of the text, ids after it)."""
        tokenizer = self.tokenizer
        before = [] if tokenizer.bos_token_id is None or self.kind == Kind.SEQ2SEQ else [tokenizer.bos_token_id]
        after = [tokenizer.eos_token_id] if self.kind == Kind.SEQ2SEQ else []
        if languages and self.codes:
            before = [self._language(languages[0])]
        elif languages and self.tag:
            before += self._ids(self.tag.format(source=languages[0], target=languages[1]))
        return before, self._ids(text), after

    def target(self, text: str, languages: tuple[str, str] | None) -> tuple[list[int], list[int]]:
        """Tokenise an answer: (ids the checkpoint wants before it, ids of the text); the end token is left out."""
        return ([self._language(languages[1])] if languages and self.codes else []), self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def _language(self, language: str) -> int:
        if language not in self.codes:
            known = ", ".join(sorted(self.codes))
            raise Unusable(f"backbone.codes has no code for language {language!r} (known: {known}): add one")
        code = self.codes[language]
        found = self.tokenizer.convert_tokens_to_ids(code)
        if found in (None, self.tokenizer.unk_token_id):
            raise Unusable(f"backbone.codes.{language}={code!r} is no token of this checkpoint's tokenizer")
        return found


@dataclass(frozen=True, kw_only=True)
class Transformer(Checkpoint):
    """A Hugging Face text checkpoint."""

    tag: str  # text before every source, with {source} and {target} languages
    codes: dict[str, str]  # language -> this tokenizer's own token for it

    @cached_property
    def family(self) -> str:
        """Read the architecture's name from the checkpoint's configuration."""
        config = self.config()
        kind = Kind.SEQ2SEQ if config.is_encoder_decoder else Kind.CAUSAL_LM
        if kind not in self.kinds:  # the library would load an encoder-decoder's decoder alone
            raise Unusable(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network: backbone={kind} loads it")
        return config.model_type

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, TextProcessor]:
        """Load weights in fp32 with every dropout set by the budget; layers are never dropped at random."""
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

        assert self.family, "the configuration is read first, for its error messages"
        config = self.configured(budget)
        auto = {Kind.CAUSAL_LM: AutoModelForCausalLM, Kind.SEQ2SEQ: AutoModelForSeq2SeqLM}[head.kind]
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        model = self.network(auto, config)
        if tokenizer.eos_token_id is None:
            raise Unusable(f"the tokenizer of {self.checkpoint!r} has no end token: answers could not end")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # a checkpoint's own sampling settings must not decide how a task is answered
        model.generation_config = GenerationConfig(
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            decoder_start_token_id=getattr(config, "decoder_start_token_id", None),
        )
        return model, TextProcessor(tokenizer, head.kind, self.tag, dict(self.codes))


@dataclass(frozen=True, kw_only=True)
class CausalLM(Transformer):
    """A decoder: reads and writes one sequence."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CAUSAL_LM,)


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(Transformer):
    """An encoder and a decoder."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.SEQ2SEQ,)
