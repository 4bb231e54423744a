"""Text networks under a new head: encoders, and decoders without their language model's head."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MethodType
from typing import Any, ClassVar

import torch
from torch import nn

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.backbones.headed import Headed
from benchmark.backbones.weights import check_tokens
from benchmark.errors import InputError, near
from benchmark.types import Budget, Head, Kind

POOLINGS = ("average", "first", "last")
ENCODERS = ("bert", "roberta", "deberta-v2", "modernbert", "xlm-roberta")
DECODERS = ("llama", "qwen3", "gpt2")
POOLED = ("bert", "roberta", "xlm-roberta")  # have a layer above the first token, which a new head replaces
SHIFTED = ("roberta", "xlm-roberta")  # count positions from the padding token's id on
TYPES = "token_type_ids"  # which of a pair a token belongs to


class TextNetwork(Headed):
    """Encoder or decoder under a head that reads an average, or one token's state."""

    base_model_prefix = "encoder"  # which Hugging Face PEFT reads to map renamed weights

    def __init__(self, encoder: nn.Module, head: Head, pooling: str) -> None:
        super().__init__(encoder, encoder.config.hidden_size, head)
        self.pooling = pooling
        for module in encoder.modules() if encoder.config.model_type == "deberta-v2" else ():
            if hasattr(module, "transpose_for_scores"):
                module.transpose_for_scores = MethodType(transpose_alike, module)

    def states(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **types: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **types).last_hidden_state
        if not self.kind.whole or self.pooling == "average":
            return states, attention_mask
        last = attention_mask.sum(1) - 1  # rows are padded on the right
        place = torch.zeros_like(last) if self.pooling == "first" else last
        return states[torch.arange(len(states), device=states.device), place], None


def transpose_alike(attention: nn.Module, states: torch.Tensor, heads: int) -> torch.Tensor:
    """Transpose queries, keys or values in the precision of their products.

    DeBERTa masks its scores by the lowest number of the queries' precision. Under bf16 the scores are bf16, and adapted
    queries may be fp32, whose lowest number bf16 does not have.
    """
    device = states.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype
    return type(attention).transpose_for_scores(attention, states.to(precision), heads)


@dataclass(frozen=True, eq=False)
class TextReader:
    """Tokenizer that reads a text, or two as one input."""

    head: Head
    tokenizer: Any
    joint: str | None  # between two texts, for a tokenizer without a template for pairs

    def read(self, texts: Sequence[str], most: int) -> tuple[dict[str, list[int]], int]:
        """Tokenise with special tokens, cut to `most`; of two texts the longer one is cut.

        Gives the rows of the network's inputs, and how many tokens were cut.
        """
        shown = [self._spelt(text) for text in texts]
        if len(shown) > 1 and self.joint is not None:
            shown = [self.joint.join(shown)]
        whole = len(self.tokenizer(*shown, verbose=False)["input_ids"])
        cut = {"truncation": "longest_first", "max_length": most} if whole > most else {}
        read = self.tokenizer(*shown, **cut)
        return {name: list(read[name]) for name in ("input_ids", TYPES) if name in read}, max(whole - most, 0)

    def batch(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        """Pad on the right."""
        pads = {"input_ids": self.tokenizer.pad_token_id, TYPES: 0}
        padded = {
            name: nn.utils.rnn.pad_sequence([torch.tensor(row[name]) for row in rows], True, pads[name])
            for name in rows[0]
        }
        lengths = torch.tensor([len(row["input_ids"]) for row in rows])
        width = padded["input_ids"].shape[1]
        return {**padded, "attention_mask": (torch.arange(width) < lengths[:, None]).long()}

    def unknown(self, row: dict[str, list[int]]) -> int:
        """Count a row's tokens for unknown text."""
        token = self.tokenizer.unk_token_id
        return 0 if token in (None, self.tokenizer.eos_token_id) else row["input_ids"].count(token)

    @cached_property
    def _control(self) -> re.Pattern[str]:
        """Spellings of control tokens."""
        spellings = {*self.tokenizer.all_special_tokens}
        spellings |= {str(t) for t in self.tokenizer.added_tokens_decoder.values() if t.special}
        return re.compile("|".join(map(re.escape, sorted(spellings, key=len, reverse=True))))

    def _spelt(self, text: str) -> str:
        """Part the spelling of a control token by a blank, so that a user's text gives none."""
        return self._control.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text)


@dataclass(frozen=True, kw_only=True)
class TextEncoder(Checkpoint):
    """Checkpoint in the Hugging Face layout, of which the head for words is left out."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS, Kind.RERANK)
    families: ClassVar[tuple[str, ...]] = ENCODERS
    other: ClassVar[str] = "text_decoder"

    pooling: str  # average of all tokens' states | first | last: one token's state

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pooling not in POOLINGS:
            raise InputError(f"backbone.pooling: {self.pooling!r} given{near(self.pooling, POOLINGS)}")

    @cached_property
    def family(self) -> str:
        """Read the architecture's name from the checkpoint's configuration."""
        kind = self.config().model_type
        if kind in (*ENCODERS, *DECODERS) and kind not in self.families:
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r} is a {kind} network: backbone={self.other} loads it"
            )
        if kind not in self.families:
            known = ", ".join(self.families)
            raise InputError(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network, one of {known} wanted")
        return kind

    @cached_property
    def positions(self) -> int:
        """Length of the longest sequence."""
        config = self.config()
        return config.max_position_embeddings - (config.pad_token_id + 1 if config.model_type in SHIFTED else 0)

    def load(self, budget: Budget, head: Head) -> tuple[TextNetwork, TextReader]:
        """Load the network in fp32 under a new head, with its tokenizer."""
        from transformers import AutoTokenizer

        assert self.family, "the configuration is read first, for its error messages"
        self.check_processor()
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        model = self._encoder(budget)
        check_tokens(self.checkpoint, model, tokenizer.get_vocab().values())
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        if tokenizer.pad_token_id is None:
            raise InputError(f"the tokenizer of {self.checkpoint!r} has neither a padding nor an end token")
        return TextNetwork(model, head, self.pooling), TextReader(head, tokenizer, self.joint)

    def build(self, budget: Budget, head: Head) -> TextNetwork:
        """Load the network under a new head."""
        return TextNetwork(self._encoder(budget), head, self.pooling)

    def _encoder(self, budget: Budget) -> nn.Module:
        from transformers import AutoModel

        config = self.configured(budget)
        config.use_cache = False
        return self.network(AutoModel, config, **({"add_pooling_layer": False} if self.family in POOLED else {}))

    @property
    def joint(self) -> str | None:
        """Text between the two of a pair; None: the tokenizer has a template."""
        return None


@dataclass(frozen=True, kw_only=True)
class TextDecoder(TextEncoder):
    """Decoder, of which each token has seen those before it alone."""

    families: ClassVar[tuple[str, ...]] = DECODERS
    other: ClassVar[str] = "text_encoder"

    @property
    def joint(self) -> str:
        return "\n"
