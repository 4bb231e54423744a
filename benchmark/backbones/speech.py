"""Networks of speech: encoders (wav2vec 2.0, HuBERT, WavLM, Whisper's) under a new head, and the whole Whisper."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.checkpoint import VOCABULARIES, Checkpoint
from benchmark.backbones.sound import SpeechProcessor, check_sound
from benchmark.backbones.weights import check_tokens
from benchmark.errors import InputError, near
from benchmark.types import Budget, Head, Input, Kind

if TYPE_CHECKING:
    from torch import nn

    from benchmark.backbones.recogniser import TextOfSpeech

WAVES = ("wav2vec2", "hubert", "wavlm")  # read samples; Whisper reads the log-mel spectrogram of 30 seconds
PROMPT = ("<|startoftranscript|>", "<|transcribe|>", "<|notimestamps|>")  # tokens of every Whisper's tokenizer
MULTILINGUAL = 51_865  # tokens of the smallest vocabulary with several languages; English alone has one fewer


@dataclass(frozen=True, kw_only=True)
class SpeechCheckpoint(Checkpoint):
    """Speech checkpoint in the Hugging Face layout."""

    reads: ClassVar[Input] = Input.AUDIO
    beside: ClassVar[tuple[str, tuple[str, ...]]] = ("feature extractor", ("preprocessor_config.json",))
    families: ClassVar[tuple[str, ...]]  # that the class can load

    @cached_property
    def family(self) -> str:
        kind = self.config().model_type
        if kind not in self.families:
            known = ", ".join(self.families)
            raise InputError(f"backbone.checkpoint={self.checkpoint!r} is a {kind} network, one of {known} wanted")
        return kind

    def _check_folder(self) -> None:
        super()._check_folder()
        self.check_processor()
        given = [check_sound(file) for file in sorted(Path(self.checkpoint).glob("pr*or_config.json"))]
        if not any("sampling_rate" in numbers for numbers in given):  # the library would take 16,000 Hz
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: preprocessor_config.json names no sampling_rate: take this "
                "file from the checkpoint that the weights are of"
            )

    @cached_property
    def rate(self) -> int:
        """Read the sampling rate from the checkpoint's feature extractor."""
        assert self.family, "the configuration is read first, for its error messages"
        return self._extractor().sampling_rate

    def _extractor(self) -> Any:
        from transformers import AutoFeatureExtractor

        extractor = self._reach(AutoFeatureExtractor.from_pretrained)
        reads = "input_values" if self.family in WAVES else "input_features"
        if reads not in extractor.model_input_names:
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: a {self.family} network reads {reads}, its "
                f"preprocessor_config.json gives {', '.join(extractor.model_input_names)}: take that of the weights"
            )
        return extractor

    def configured(self, budget: Budget) -> Any:
        """Read the configuration also without random masking (SpecAugment)."""
        assert self.family, "the configuration is read first, for its error messages"
        config = super().configured(budget)
        config.apply_spec_augment, config.mask_time_prob, config.mask_feature_prob = False, 0.0, 0.0
        return config

    def network(self, auto: Any, config: Any, **options: Any) -> nn.Module:
        """Load weights in fp32, with plain attention on a CPU: the gradient of fused one is several times slower."""
        import torch

        attention = "sdpa" if torch.cuda.is_available() else "eager"
        return super().network(auto, config, attn_implementation=attention, **options)


@dataclass(frozen=True, kw_only=True)
class Speech(SpeechCheckpoint):
    """Speech encoder under a new head."""

    layers: str  # input of the head: last, or weighted (a learned mixture of all layers)
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS, Kind.TAG, Kind.CTC)
    families: ClassVar[tuple[str, ...]] = (*WAVES, "whisper")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers not in ("last", "weighted"):
            raise InputError(f"backbone.layers: {self.layers!r} given, last or weighted wanted")

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, SpeechProcessor]:
        """Load the encoder under a new head, and its feature extractor."""
        from benchmark.backbones.hearing import hears_padding, reach

        assert self.family, "the configuration is read first, for its error messages"
        extractor, network = self._extractor(), self.build(budget, head)
        config = network.config
        return network, SpeechProcessor(extractor, head, reach(config), hears_padding(config), network.ends)

    def build(self, budget: Budget, head: Head) -> nn.Module:
        """Load the encoder under a new head."""
        from transformers import AutoModel

        from benchmark.backbones.hearing import Hearing

        config = self.configured(budget)
        if hasattr(config, "feat_proj_dropout"):
            config.feat_proj_dropout = budget.dropout
        encoder = self.network(AutoModel, config)
        if self.family == "whisper":
            unread, encoder = getattr(encoder, "unread_weights", 0), encoder.get_encoder()
            encoder.unread_weights = unread
        else:  # else it would compute a gradient with respect to the samples
            encoder.feature_extractor._requires_grad = False
        return Hearing(encoder, head, self.layers == "weighted")


@dataclass(frozen=True, kw_only=True)
class SpeechToText(SpeechCheckpoint):
    """Whole Whisper, encoder and decoder, which writes tokens."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.SEQ2SEQ,)
    families: ClassVar[tuple[str, ...]] = ("whisper",)

    @cached_property
    def positions(self) -> int:
        """Length of the longest prompt and answer together."""
        return self.config().max_target_positions

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer. Raises InputError where it lacks the tokens of a prompt."""
        from transformers import AutoTokenizer

        if self.local and not any(file for name in VOCABULARIES for file in Path(self.checkpoint).glob(name)):
            raise InputError(f"backbone.checkpoint: no tokenizer in {self.checkpoint!r}: take that of the weights")
        tokenizer = self._reach(AutoTokenizer.from_pretrained)
        if missing := [token for token in PROMPT if token not in tokenizer.get_vocab()]:
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: its tokenizer has no {missing[0]}, which Whisper's prompt "
                "needs: take that of the weights"
            )
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        return tokenizer

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Settings of generation, from generation_config.json; empty for checkpoints older than that file."""
        from transformers import GenerationConfig

        if self.local and not (Path(self.checkpoint) / "generation_config.json").is_file():
            return {}
        return self._reach(GenerationConfig.from_pretrained).to_dict()

    @cached_property
    def languages(self) -> tuple[str, ...]:
        """Languages that a prompt may name; none for an English-only checkpoint."""
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        several = self.settings.get("is_multilingual")
        if not (self.config().vocab_size >= MULTILINGUAL if several is None else several):
            return ()
        return tuple(sorted(code for code in LANGUAGES if f"<|{code}|>" in self.tokenizer.get_vocab()))

    def unknown_language(self, language: str | None) -> str | None:
        """Give the reason why a prompt cannot name this language, or none."""
        from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

        if not self.languages:
            return None if language is None else "this checkpoint knows English alone, its prompts name no language"
        if language is None:
            return "a prompt of this checkpoint names the language of the clips, such as task.language=en"
        code = TO_LANGUAGE_CODE.get(language.lower(), language)
        return None if language in self.languages else f"no language of this checkpoint{near(code, self.languages)}"

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, TextOfSpeech]:
        """Load the network; it decodes greedily, without the tokens that its checkpoint suppresses."""
        from transformers import GenerationConfig

        from benchmark.backbones.recogniser import TextOfSpeech

        assert self.family, "the configuration is read first, for its error messages"
        extractor, tokenizer, network = self._extractor(), self.tokenizer, self.build(budget, head)
        check_tokens(self.checkpoint, network, tokenizer.get_vocab().values())
        network.generation_config = GenerationConfig(
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            decoder_start_token_id=tokenizer.convert_tokens_to_ids(PROMPT[0]),
            **{name: self.settings.get(name) for name in ("suppress_tokens", "begin_suppress_tokens")},
        )
        never = frozenset(self.settings.get("suppress_tokens") or ())
        return network, TextOfSpeech(extractor, head, tokenizer=tokenizer, never=never)

    def build(self, budget: Budget, head: Head) -> nn.Module:
        """Load the network in fp32."""
        from benchmark.backbones.recogniser import Recogniser

        return self.network(Recogniser, self.configured(budget))
