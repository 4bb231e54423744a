"""Text networks from the hub, a local folder or the embedded checkpoints: one code path for all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.backbones.weights import check_tokens
from benchmark.errors import InputError
from benchmark.types import Budget, Head, Kind

if TYPE_CHECKING:
    from torch import nn

CONTEXT = ("max_position_embeddings", "n_positions")  # what architectures call the longest sequence


@dataclass(frozen=True, eq=False)
class TextProcessor:
    """A tokenizer, and how its checkpoint wants to be told the languages."""

    tokenizer: Any
    kind: Kind
    tag: str
    codes: dict[str, str]

    def source(self, text: str, template: str, languages: tuple[str, str] | None) -> list[int]:
        """Tokenise what the network reads: tag, template and text are one string, as they were in pretraining."""
        opening, closing = template.split("{source}")
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        before, after = ([], [end]) if self.kind == Kind.SEQ2SEQ else ([] if begin is None else [begin], [])
        if languages and self.codes:
            before = [self._language(languages[0])]
        elif languages and self.tag:
            opening = self.tag.format(source=languages[0], target=languages[1]) + opening
        return [*before, *self._between(opening, text, closing), *after]

    def target(self, text: str, template: str, languages: tuple[str, str] | None) -> tuple[list[int], list[int]]:
        """Tokenise an answer: (ids the checkpoint wants before it, ids of the text); the end token is left out.

        A decoder reads it behind the template's end: a tokenizer that marks the begin of a text would else mark it.
        """
        lead = [self._language(languages[1])] if languages and self.codes else []
        closing = template.split("{source}")[1] if self.kind == Kind.CAUSAL_LM else ""
        read, ids = self._ids(closing), self._between(closing, text, "")
        return lead, ids[len(read) :] if ids[: len(read)] == read else self._between("", text, "")

    def text(self, ids: Sequence[int]) -> str:
        """Turn tokens into the text that they stand for, every blank as it was."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    @cached_property
    def unknown(self) -> int | None:
        """The token of what has none; None where every text has tokens."""
        found = self.tokenizer.unk_token_id
        return None if found in self._control else found

    def lost(self, text: str) -> float:
        """Give the share of a text's characters, without blanks, that its tokens do not hold."""
        kept, whole = (len("".join(t.split())) for t in (self.text(self._between("", text, "")), text))
        return 1 - kept / whole if whole else 0.0

    def _ids(self, text: str, **options: bool) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, **options)["input_ids"] if text else []

    @cached_property
    def _control(self) -> dict[int, str]:
        """Tokens that instruct the network and are no text: id -> spelling; decoding leaves them out."""
        tokenizer = self.tokenizer
        added = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        roles = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
        return {i: token for i, token in {**added, **named}.items() if i != tokenizer.unk_token_id or i in roles}

    def _between(self, opening: str, text: str, closing: str) -> list[int]:
        """Tokenise text in its place; what it spells, `</s>` or `<fr>`, gives no control token."""
        ids, own = self._ids(opening + text + closing), self._ids(opening) + self._ids(closing)
        untouched = [i for i in ids if i in self._control] == [i for i in own if i in self._control]
        if untouched and (self.unknown is None or self.tokenizer.unk_token not in text):
            return ids
        spelt = re.compile(f"({'|'.join(map(re.escape, sorted(self._control.values(), key=len, reverse=True)))})")
        *head, joint = spelt.split(opening)
        follows, *tail = spelt.split(closing)
        ids = self._ids(joint + text + follows, split_special_tokens=True)
        # a unigram vocabulary may hold a control token as a piece: then its characters one by one
        pieces = [p for i in ids for p in (map(self._ids, self._control[i]) if i in self._control else [[i]])]
        return [*self._ids("".join(head)), *(i for piece in pieces for i in piece), *self._ids("".join(tail))]

    def _language(self, language: str) -> int:
        if language not in self.codes:
            known = ", ".join(sorted(self.codes))
            raise InputError(f"backbone.codes has no code for language {language!r} (known: {known}): add one")
        code = self.codes[language]
        found = self.tokenizer.convert_tokens_to_ids(code)
        if found in (None, self.tokenizer.unk_token_id):
            raise InputError(f"backbone.codes.{language}={code!r} is no token of this checkpoint's tokenizer")
        return found


def first_read(model: nn.Module, end: int) -> int | None:
    """Read off the loss pass which token a decoder starts from; None without weights. Raises InputError.

    The network shifts the labels by itself, and not always to what its configuration names: mBART starts from the
    labels' last token, so that generating from a language would answer from a state that no loss has seen.
    """
    import torch

    if model.device.type == "meta":
        return None
    seen: list[torch.Tensor | None] = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: seen.append(given.get("input_ids")), with_kwargs=True
    )
    ids = torch.full((1, 2), end, device=model.device)
    with torch.no_grad():
        model(input_ids=ids, labels=ids)
    hook.remove()
    if not seen or seen[0] is None:
        raise InputError(
            f"a {model.config.model_type} network does not show what its decoder reads first: no task here"
        )
    return int(seen[0][0, 0])


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
            raise InputError(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network: backbone={kind} loads it")
        return config.model_type

    @cached_property
    def positions(self) -> int | None:
        """Read how long a sequence may be; relative positions, as T5 has them, have no end."""
        config = self.config()
        if hasattr(config, "relative_attention_num_buckets"):
            return None
        return next((found for name in CONTEXT if (found := getattr(config, name, None))), None)

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, TextProcessor]:
        """Load weights in fp32 with every dropout set by the budget; layers are never dropped at random."""
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

        assert self.family, "the configuration is read first, for its error messages"
        config = self.configured(budget)
        auto = {Kind.CAUSAL_LM: AutoModelForCausalLM, Kind.SEQ2SEQ: AutoModelForSeq2SeqLM}[head.kind]
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        model = self.network(auto, config)
        check_tokens(self.checkpoint, model, tokenizer.get_vocab().values())
        if tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer of {self.checkpoint!r} has no end token: answers could not end")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # a checkpoint's own sampling settings must not decide how a task is answered
        model.generation_config = GenerationConfig(
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            decoder_start_token_id=first_read(model, tokenizer.eos_token_id) if head.kind == Kind.SEQ2SEQ else None,
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
