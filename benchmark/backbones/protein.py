"""Protein networks with one token per residue: ESM-2, BERT, RoBERTa and T5 encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import nn

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.backbones.headed import Headed
from benchmark.backbones.weights import check_tokens
from benchmark.errors import InputError
from benchmark.types import Budget, Head, Input, Kind

STANDARD = "ACDEFGHIKLMNPQRSTVWY"
RARE = "XBZUOJ"  # unknown, N or D, Q or E, selenocysteine, pyrrolysine, I or L
UNKNOWN = RARE[0]
FRAMES = {"esm": (1, 1), "t5": (0, 1), "bert": (1, 1), "roberta": (1, 1)}  # special tokens before and after a sequence
SPELLINGS = {  # format of a sequence for a tokenizer: {spelling: (text, is_split_into_words)}
    "letters": lambda residues: ("".join(residues), False),  # ESM-2
    "spaced": lambda residues: (" ".join(residues), False),  # ProtT5
    "split": lambda residues: (list(residues), True),  # Ankh
}
TRUNKS = {"esm": "EsmModel", "t5": "T5EncoderModel", "bert": "BertModel", "roberta": "RobertaModel"}


def last_position(config: Any) -> int | None:
    """Count the positions of a network; None for relative ones (T5) and rotary ones (ESM-2)."""
    if config.model_type == "bert":
        return config.max_position_embeddings
    if config.model_type == "roberta" or getattr(config, "position_embedding_type", None) == "absolute":  # ESM-1
        return config.max_position_embeddings - config.pad_token_id - 1  # they are counted from behind the padding's
    return None


class ProteinNetwork(Headed):
    """Encoder under a head that reads residues, but not special tokens."""

    base_model_prefix = "encoder"  # which Hugging Face PEFT reads to map renamed weights

    def __init__(self, encoder: nn.Module, head: Head, before: int, after: int) -> None:
        super().__init__(encoder, encoder.config.hidden_size, head)
        self.before, self.after = before, after

    def states(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        # rows are padded on the right, so the mask without special tokens has a one per residue
        return states[:, self.before : states.shape[1] - self.after], attention_mask[:, self.before + self.after :]


@dataclass(frozen=True, eq=False)
class ProteinProcessor:
    """Tokenizer as a table from residues to tokens, with the tokens around a sequence."""

    head: Head
    tokens: dict[str, int]
    before: list[int]
    after: list[int]
    pad: int
    longest: int | None  # residues; None where positions have no end

    def ids(self, residues: str) -> list[int]:
        """Map residues to tokens. Raises InputError for any other letter."""
        try:
            return [self.tokens[letter] for letter in residues]
        except KeyError as error:
            raise InputError(f"{error.args[0]!r} in {residues[:20]!r}... is no residue of this backbone") from error

    def batch(self, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
        """Add special tokens to rows of residue tokens, and pad them on the right."""
        framed = [torch.tensor([*self.before, *row, *self.after]) for row in rows]
        ids = nn.utils.rnn.pad_sequence(framed, batch_first=True, padding_value=self.pad)
        lengths = torch.tensor([len(row) for row in framed])
        return {"input_ids": ids, "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long()}


@dataclass(frozen=True, kw_only=True)
class ProteinEncoder(Checkpoint):
    """Checkpoint of one of TRUNKS; of an encoder-decoder only the encoder."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.REGRESS, Kind.CLASSIFY, Kind.MULTILABEL, Kind.TAG)
    reads: ClassVar[Input] = Input.PROTEIN

    spelling: str  # letters | spaced | split
    as_unknown: str  # rare residues that this checkpoint was shown as X

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spelling not in SPELLINGS:
            raise InputError(f"backbone.spelling: {self.spelling!r} given, {' or '.join(SPELLINGS)} wanted")

    @cached_property
    def family(self) -> str:
        """Read the architecture's name from the checkpoint's configuration."""
        model_type = self.config().model_type
        if model_type not in TRUNKS:
            known = ", ".join(TRUNKS)
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r} is a {model_type} network, one of {known} wanted"
            )
        return model_type

    def build(self, budget: Budget, head: Head) -> ProteinNetwork:
        """Load the encoder under a new head, with as many special tokens as its family has."""
        return ProteinNetwork(self._encoder(budget), head, *FRAMES[self.family])

    def _encoder(self, budget: Budget) -> nn.Module:
        import transformers

        config = self.configured(budget)
        # a pooler reads one special token and is untrained, so a new head averages over residues instead
        pooler = {} if self.family == "t5" else {"add_pooling_layer": False}
        return self.network(getattr(transformers, TRUNKS[self.family]), config, **pooler)

    def load(self, budget: Budget, head: Head) -> tuple[ProteinNetwork, ProteinProcessor]:
        """Load the encoder in fp32 under a new head, with its tokenizer as a table."""
        from transformers import AutoTokenizer

        assert self.family, "the configuration is read first, for its error messages"
        self.check_processor()
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        model = self._encoder(budget)
        before, tokens, after = self._table(tokenizer)
        check_tokens(self.checkpoint, model, (*tokens.values(), *before, *after, tokenizer.pad_token_id))
        ends = last_position(model.config)
        longest = None if ends is None else ends - len(before) - len(after)
        processor = ProteinProcessor(head, tokens, before, after, tokenizer.pad_token_id, longest)
        return ProteinNetwork(model, head, len(before), len(after)), processor

    def _table(self, tokenizer: Any) -> tuple[list[int], dict[str, int], list[int]]:
        """Build the table from two test sequences.

        Raises InputError where the tokenizer does not have one token per residue.
        """
        before, ids, after = self._spelt(tokenizer, STANDARD)
        tokens = dict(zip(STANDARD, ids, strict=True))
        probe = STANDARD[::-1] * 2
        if self._spelt(tokenizer, probe)[1] != [tokens[letter] for letter in probe] or len(set(ids)) < len(ids):
            raise InputError(self._no_table("a residue's token depends on its neighbours"))
        for letter in RARE:  # X comes first, since it stands for the others
            middle = self._spelt(tokenizer, f"A{letter}A", strict=False)[1][1:-1]
            known = len(middle) == 1 and middle[0] not in (*ids, tokenizer.unk_token_id)
            if known and letter not in self.as_unknown:
                tokens[letter] = middle[0]
            elif UNKNOWN in tokens:
                tokens[letter] = tokens[UNKNOWN]
        return before, tokens, after

    def _spelt(self, tokenizer: Any, residues: str, strict: bool = True) -> tuple[list[int], list[int], list[int]]:
        """Tokenise, and split off the special tokens: (before, residues, after)."""
        text, split = SPELLINGS[self.spelling](residues)
        options = {"is_split_into_words": True} if split else {}
        ids = list(tokenizer(text, **options)["input_ids"])
        special = {i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id}
        start = next((i for i, token in enumerate(ids) if token not in special), len(ids))
        stop = len(ids) - next((i for i, token in enumerate(reversed(ids)) if token not in special), 0)
        if strict and (stop - start != len(residues) or tokenizer.unk_token_id in ids[start:stop]):
            raise InputError(self._no_table(f"{len(residues)} residues make {stop - start} tokens"))
        return ids[:start], ids[start:stop], ids[stop:]

    def _no_table(self, why: str) -> str:
        spellings = " or ".join(s for s in SPELLINGS if s != self.spelling)
        return (
            f"backbone.checkpoint={self.checkpoint!r}: its tokenizer has no token for each residue spelt "
            f"{self.spelling!r} ({why}): try backbone.spelling={spellings}"
        )
