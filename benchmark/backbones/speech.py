"""Speech encoders (wav2vec 2.0, HuBERT, WavLM, Whisper's) under a new head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.errors import InputError
from benchmark.types import Budget, Head, Input, Kind

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

WAVES = ("wav2vec2", "hubert", "wavlm")  # read samples; Whisper reads the log-mel spectrogram of 30 seconds


@dataclass(frozen=True, eq=False)
class SpeechProcessor:
    """What a checkpoint wants done to samples before it reads them."""

    extractor: Any
    head: Head
    shortest: int  # samples that one frame is made from
    ends: Callable[[torch.Tensor], torch.Tensor]  # the network's own count of frames
    hears_padding: bool  # so that a clip's answer would depend on what it is padded with

    @property
    def rate(self) -> int:
        """Hz."""
        return self.extractor.sampling_rate

    @property
    def longest(self) -> int | None:
        """The samples that the network can read at most."""
        return getattr(self.extractor, "n_samples", None)

    def frames(self, samples: int) -> int:
        """Count the frames that a clip of so many samples has."""
        import torch

        hop = getattr(self.extractor, "hop_length", 1)  # samples to a column, where a spectrogram is read
        return int(self.ends(torch.tensor(math.ceil(samples / hop))))

    def __call__(self, clips: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Normalise and pad as the checkpoint's own preprocessing says; the mask tells what is real."""
        import numpy as np

        heard = [np.pad(clip, (0, max(0, self.shortest - len(clip)))) for clip in clips]  # less is no frame at all
        padding = "longest" if self.longest is None else "max_length"
        options = {"padding": padding, "return_attention_mask": True, "return_tensors": "pt"}
        return dict(self.extractor(heard, sampling_rate=self.rate, **options))


@dataclass(frozen=True, kw_only=True)
class Speech(Checkpoint):
    """A speech checkpoint in the Hugging Face layout."""

    layers: str  # what the head reads: last, or weighted (a learned mixture of all)
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY, Kind.REGRESS, Kind.TAG, Kind.CTC)
    reads: ClassVar[Input] = Input.AUDIO
    beside: ClassVar[tuple[str, tuple[str, ...]]] = ("feature extractor", ("preprocessor_config.json",))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers not in ("last", "weighted"):
            raise InputError(f"backbone.layers: {self.layers!r} given, last or weighted wanted")

    @cached_property
    def family(self) -> str:
        found = self.config().model_type
        if found not in (*WAVES, "whisper"):
            known = ", ".join((*WAVES, "whisper"))
            raise InputError(f"backbone.checkpoint={self.checkpoint!r} is a {found} network, one of {known} wanted")
        return found

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, SpeechProcessor]:
        """Load the encoder in fp32 under a new head; nothing is masked at random (SpecAugment), for no method."""
        import torch
        from transformers import AutoFeatureExtractor, AutoModel

        from benchmark.backbones.hearing import Hearing, hears_padding, reach

        assert self.family, "the configuration is read first, for its error messages"
        config = self.configured(budget)
        config.apply_spec_augment, config.mask_time_prob, config.mask_feature_prob = False, 0.0, 0.0
        if hasattr(config, "feat_proj_dropout"):
            config.feat_proj_dropout = budget.dropout
        extractor = self._reach(AutoFeatureExtractor.from_pretrained)
        # on a CPU, the fused attention's gradient takes several times as long as the plain one's
        attention = "sdpa" if torch.cuda.is_available() else "eager"
        encoder = self.network(AutoModel, config, attn_implementation=attention)
        if self.family == "whisper":
            unread, encoder = getattr(encoder, "unread_weights", 0), encoder.get_encoder()
            encoder.unread_weights = unread
        else:  # or it would ask for a gradient of the samples
            encoder.feature_extractor._requires_grad = False
        network = Hearing(encoder, head, self.layers == "weighted")
        return network, SpeechProcessor(extractor, head, reach(config), network.ends, hears_padding(config))
