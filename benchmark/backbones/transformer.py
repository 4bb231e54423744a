"""Text networks from the hub, a local folder or the embedded checkpoints: one code path for all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.hub import offline, pinned
from benchmark.types import Backbone, Budget, Kind, Unusable

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).parent
DROPOUTS = (  # every name under which an architecture's configuration keeps a dropout rate
    "dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop",
    "dropout_rate", "classifier_dropout",
)  # fmt: skip
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")  # one of them makes a tokenizer
LAYER_DROPS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")


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
class Transformer(Backbone):
    """A Hugging Face text checkpoint."""

    checkpoint: str  # hub id, local folder, or embedded/<name>
    revision: str | None  # of the hub; null follows the newest one, which the record says
    weights: str  # pretrained | random: the architecture alone
    tag: str  # text before every source, with {source} and {target} languages
    codes: dict[str, str]  # language -> this tokenizer's own token for it

    def __post_init__(self) -> None:
        if self.weights not in ("pretrained", "random"):
            raise Unusable(f"backbone.weights: {self.weights!r} given, pretrained or random wanted")
        for place in (HERE / self.checkpoint, Path(self.checkpoint).expanduser().absolute()):
            if place.is_dir():  # known by content from here on, wherever it lies
                object.__setattr__(self, "checkpoint", str(place))
                return
        if self.checkpoint.startswith((".", "/", "~", "embedded/")) or self.checkpoint.count("/") > 1:
            raise Unusable(f"backbone.checkpoint: no folder {self.checkpoint!r}")

    @property
    def local(self) -> bool:
        """Whether the checkpoint is a folder here."""
        return Path(self.checkpoint).is_dir()

    @cached_property
    def family(self) -> str:
        """Read the architecture's name from the checkpoint's configuration."""
        if self.local:
            self._check_folder()
        config = self._config()
        kind = Kind.SEQ2SEQ if config.is_encoder_decoder else Kind.CAUSAL_LM
        if kind != self.kind:  # the library would load an encoder-decoder's decoder alone
            raise Unusable(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network: backbone={kind} loads it")
        return config.model_type

    def _check_folder(self) -> None:
        file = Path(self.checkpoint) / "config.json"
        if not file.is_file():
            raise Unusable(self._lacking("config.json"))
        try:
            found = json.loads(file.read_text())
        except ValueError as error:
            raise Unusable(f"backbone.checkpoint: {str(file)!r} is no JSON ({error})") from error
        if not isinstance(found, dict) or "model_type" not in found:
            raise Unusable(f"backbone.checkpoint: {str(file)!r} names no model_type, as a Hugging Face one does")
        if self.weights == "pretrained" and not any(file.parent.glob("*.safetensors")):  # others may hold a program
            raise Unusable(self._lacking("safetensors file"))
        if not any(path for name in VOCABULARIES for path in file.parent.glob(name)):  # the library makes an empty one
            raise Unusable(self._lacking("tokenizer"))

    def _lacking(self, what: str) -> str:
        here = ", ".join(sorted(f.name for f in Path(self.checkpoint).iterdir())[:6]) or "nothing"
        return (
            f"backbone.checkpoint: no {what} in {self.checkpoint!r} (found: {here}); a Hugging Face checkpoint folder "
            "has config.json, model.safetensors and tokenizer.json"
        )

    def unpinned(self) -> list[str]:
        return [] if self.local or pinned(self.revision) else [self.checkpoint]

    def load(self, budget: Budget) -> tuple[nn.Module, TextProcessor]:
        """Load weights in fp32 with every dropout set by the budget; layers are never dropped at random."""
        import torch
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a run has one of its own
        assert self.family, "the configuration is read first, for its error messages"
        config = self._config()
        for name, rate in {**dict.fromkeys(DROPOUTS, budget.dropout), **dict.fromkeys(LAYER_DROPS, 0.0)}.items():
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
        auto = {Kind.CAUSAL_LM: AutoModelForCausalLM, Kind.SEQ2SEQ: AutoModelForSeq2SeqLM}[self.kind]
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        if self.weights == "random":
            model = auto.from_config(config, dtype=torch.float32)
        else:
            model = self._reach(auto.from_pretrained, config=config, dtype=torch.float32, use_safetensors=True)
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
        return model, TextProcessor(tokenizer, self.kind, self.tag, dict(self.codes))

    def _config(self) -> Any:
        from transformers import AutoConfig

        return self._reach(AutoConfig.from_pretrained)

    def _reach(self, load: Any, **options: Any) -> Any:
        options |= {"local_files_only": self.local or offline()} | ({} if self.local else {"revision": self.revision})
        try:
            return load(self.checkpoint, trust_remote_code=False, **options)
        except (OSError, ValueError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise Unusable(
                f"backbone.checkpoint={self.checkpoint!r} cannot be loaded: {first} - give a folder instead: "
                f"backbone.checkpoint=DIR with config.json, model.safetensors and the tokenizer's files"
            ) from error


@dataclass(frozen=True, kw_only=True)
class CausalLM(Transformer):
    """A decoder: reads and writes one sequence."""

    kind: ClassVar[Kind] = Kind.CAUSAL_LM


@dataclass(frozen=True, kw_only=True)
class Seq2Seq(Transformer):
    """An encoder and a decoder."""

    kind: ClassVar[Kind] = Kind.SEQ2SEQ
