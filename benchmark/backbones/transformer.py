"""Text networks: decoders and encoder-decoders in the Hugging Face layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.chat import Chat, control_tokens, read_chat
from benchmark.backbones.checkpoint import Checkpoint
from benchmark.backbones.weights import check_tokens
from benchmark.errors import InputError
from benchmark.types import Budget, Head, Kind

if TYPE_CHECKING:
    from torch import nn

CONTEXT = ("max_position_embeddings", "n_positions")  # names of the longest sequence in configurations


@dataclass(frozen=True, eq=False)
class TextProcessor:
    """Tokenizer, with the checkpoint's format for naming languages."""

    tokenizer: Any
    kind: Kind
    tag: str
    codes: dict[str, str]
    chat: Chat | None = None  # template around a question and its answer

    @property
    def end(self) -> int:
        """Token that ends an answer."""
        return self.chat.end if self.chat else self.tokenizer.eos_token_id

    def source(self, text: str, template: str, languages: tuple[str, str] | None) -> list[int]:
        """Tokenise tag, template and text as one string, as in pretraining."""
        opening, closing = template.split("{source}")
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        before, after = ([], [end]) if self.kind == Kind.SEQ2SEQ else ([] if begin is None else [begin], [])
        if languages and self.codes:
            before = [self._language(languages[0])]
        elif languages and self.tag:
            opening = self.tag.format(source=languages[0], target=languages[1]) + opening
        if self.chat:  # whose template writes the start token where there is one
            return self._between(*self.chat.question(opening, text, closing))
        return [*before, *self._between(opening, text, closing), *after]

    def target(self, text: str, template: str, languages: tuple[str, str] | None) -> tuple[list[int], list[int]]:
        """Tokenise an answer without end token: (ids of language, ids of text).

        For a decoder it is tokenised with the template's end before it, since some tokenizers mark the begin of a text.
        """
        lead = [self._language(languages[1])] if languages and self.codes else []
        closing = template.split("{source}")[1] if self.kind == Kind.CAUSAL_LM else ""
        if self.chat:
            closing, text = self.chat.after, self.chat.answer(text)
        read, ids = self._ids(closing), self._between(closing, text, "")
        return lead, ids[len(read) :] if ids[: len(read)] == read else self._between("", text, "")

    def text(self, ids: Sequence[int]) -> str:
        """Decode tokens, without changing blanks."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    @cached_property
    def unknown(self) -> int | None:
        """Token for unknown text; None for a tokenizer that has no such text."""
        token = self.tokenizer.unk_token_id
        return None if token in self._control else token

    def lost(self, text: str) -> float:
        """Compute the share of a text's characters, without blanks, that tokenising loses."""
        decoded, original = (len("".join(t.split())) for t in (self.text(self._between("", text, "")), text))
        return 1 - decoded / original if original else 0.0

    def _ids(self, text: str, **options: bool) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, **options)["input_ids"] if text else []

    @cached_property
    def _control(self) -> dict[int, str]:
        return control_tokens(self.tokenizer)

    def _between(self, opening: str, text: str, closing: str) -> list[int]:
        """Tokenise text in its context; `</s>` or `<fr>` in a text gives no control token."""
        ids, framing = self._ids(opening + text + closing), self._ids(opening) + self._ids(closing)
        untouched = [i for i in ids if i in self._control] == [i for i in framing if i in self._control]
        if untouched and (self.unknown is None or self.tokenizer.unk_token not in text):
            return ids
        spelt = re.compile(f"({'|'.join(map(re.escape, sorted(self._control.values(), key=len, reverse=True)))})")
        *head, joint = spelt.split(opening)
        follows, *tail = spelt.split(closing)
        ids = self._ids(joint + text + follows, split_special_tokens=True)
        # a unigram vocabulary may have a control token as a piece, which is then split into characters
        pieces = [p for i in ids for p in (map(self._ids, self._control[i]) if i in self._control else [[i]])]
        return [*self._ids("".join(head)), *(i for piece in pieces for i in piece), *self._ids("".join(tail))]

    def _language(self, language: str) -> int:
        if language not in self.codes:
            known = ", ".join(sorted(self.codes))
            raise InputError(f"backbone.codes has no code for language {language!r} (known: {known}): add one")
        code = self.codes[language]
        token = self.tokenizer.convert_tokens_to_ids(code)
        if token in (None, self.tokenizer.unk_token_id):
            raise InputError(f"backbone.codes.{language}={code!r} is no token of this checkpoint's tokenizer")
        return token


def first_read(model: nn.Module, end: int) -> int | None:
    """Find the token from which a decoder starts when it computes a loss.

    Networks shift labels in different ways, not always as their configuration says: mBART starts from the last token
    of the labels. Generation must start from the same token. None without weights. Raises InputError.
    """
    import torch

    if model.device.type == "meta":
        return None
    decoder_inputs: list[torch.Tensor | None] = []
    hook = model.get_decoder().register_forward_pre_hook(
        lambda _, __, given: decoder_inputs.append(given.get("input_ids")), with_kwargs=True
    )
    ids = torch.full((1, 2), end, device=model.device)
    with torch.no_grad():
        model(input_ids=ids, labels=ids)
    hook.remove()
    if not decoder_inputs or decoder_inputs[0] is None:
        raise InputError(
            f"a {model.config.model_type} network does not show which token its decoder reads first: no task can use it"
        )
    return int(decoder_inputs[0][0, 0])


@dataclass(frozen=True, kw_only=True)
class Transformer(Checkpoint):
    """Text checkpoint in the Hugging Face layout."""

    tag: str  # text before every source, with {source} and {target} languages
    codes: dict[str, str]  # language -> this tokenizer's token for it

    @cached_property
    def family(self) -> str:
        """Read the architecture's name from the checkpoint's configuration."""
        config = self.config()
        kind = Kind.SEQ2SEQ if config.is_encoder_decoder else Kind.CAUSAL_LM
        if kind not in self.kinds:  # else the library would load only the decoder of an encoder-decoder
            raise InputError(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network: backbone={kind} loads it")
        return config.model_type

    @cached_property
    def positions(self) -> int | None:
        """Length of the longest sequence; None for relative positions, such as T5's."""
        config = self.config()
        if hasattr(config, "relative_attention_num_buckets"):
            return None
        return next((length for name in CONTEXT if (length := getattr(config, name, None))), None)

    def build(self, budget: Budget, head: Head) -> nn.Module:
        """Load the network in fp32, with the budget's dropout and without layer drop."""
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

        assert self.family, "the configuration is read first, for its error messages"
        auto = {Kind.CAUSAL_LM: AutoModelForCausalLM, Kind.SEQ2SEQ: AutoModelForSeq2SeqLM}[head.kind]
        return self.network(auto, self.configured(budget))

    def outline(self, budget: Budget, head: Head) -> nn.Module:
        """Build the network's shapes, with an output matrix of its own where config.json says so.

        The library ties mT5's to the embeddings, and unties it once it has read weights that differ.
        """
        from torch import nn

        network = super().outline(budget, head)
        matrix = network.get_output_embeddings()
        apart = self.local and self.read_config().get("tie_word_embeddings") is False
        if apart and matrix.weight is network.get_input_embeddings().weight:
            matrix.weight = nn.Parameter(matrix.weight.detach().clone())
        return network

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, TextProcessor]:
        """Load the network and its tokenizer."""
        from transformers import AutoTokenizer, GenerationConfig

        assert self.family, "the configuration is read first, for its error messages"
        self.check_processor()
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        model = self.build(budget, head)
        check_tokens(self.checkpoint, model, tokenizer.get_vocab().values())
        if tokenizer.eos_token_id is None:
            raise InputError(f"the tokenizer of {self.checkpoint!r} has no end token (eos_token), which answers need")
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        # greedy decoding for every checkpoint, whatever its sampling settings are
        model.generation_config = GenerationConfig(
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=tokenizer.bos_token_id,
            decoder_start_token_id=first_read(model, tokenizer.eos_token_id) if head.kind == Kind.SEQ2SEQ else None,
        )
        return model, TextProcessor(tokenizer, head.kind, self.tag, dict(self.codes))


@dataclass(frozen=True, kw_only=True)
class CausalLM(Transformer):
    """Decoder."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CAUSAL_LM,)

    chat: bool | None  # true: the tokenizer's own chat template around source and target

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "chat", self.chat or None)  # so that equal cells have one id

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, TextProcessor]:
        """Load, with the chat template where it is wanted; an answer then ends where a turn does."""
        model, processor = super().load(budget, head)
        if self.chat:
            processor = replace(processor, chat=read_chat(processor.tokenizer, self.checkpoint))
            model.generation_config.eos_token_id = sorted({processor.end, processor.tokenizer.eos_token_id})
        return model, processor


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(Transformer):
    """Encoder-decoder."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.SEQ2SEQ,)
