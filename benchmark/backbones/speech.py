"""Speech encoders (wav2vec 2.0, HuBERT, WavLM, Whisper's) under a new head."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.checkpoint import Checkpoint
from benchmark.errors import InputError, refusing
from benchmark.types import Budget, Head, Input, Kind

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

SOUND = {  # numbers of preprocessor_config.json: others would fill the memory while filters are made or clips padded
    "sampling_rate": (1000, 768_000),
    "n_fft": (2, 65_536),
    "hop_length": (1, 65_536),
    "feature_size": (1, 4096),
    "chunk_length": (1, 3600),
    "n_samples": (1, 100_000_000),
    "nb_max_frames": (1, 1_000_000),
}
WAVES = ("wav2vec2", "hubert", "wavlm")  # read samples; Whisper reads the log-mel spectrogram of 30 seconds


@dataclass(frozen=True, eq=False)
class SpeechProcessor:
    """Preparation of samples for a checkpoint."""

    extractor: Any
    head: Head
    shortest: int  # samples of one frame
    ends: Callable[[torch.Tensor], torch.Tensor]  # from samples to the network's number of frames
    hears_padding: bool  # then an answer would depend on the clips in the same batch

    @property
    def rate(self) -> int:
        """Sampling rate in Hz."""
        return self.extractor.sampling_rate

    @property
    def longest(self) -> int | None:
        """Largest number of samples that the network can read."""
        return getattr(self.extractor, "n_samples", None)

    def frames(self, samples: int) -> int:
        """Count the frames that a clip of so many samples has."""
        import torch

        hop = getattr(self.extractor, "hop_length", 1)  # samples to a column, where a spectrogram is read
        return int(self.ends(torch.tensor(math.ceil(samples / hop))))

    def __call__(self, clips: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Normalise and pad as in pretraining, with a mask of real samples."""
        import numpy as np

        padded = [np.pad(clip, (0, max(0, self.shortest - len(clip)))) for clip in clips]  # at least one frame
        padding = "longest" if self.longest is None else "max_length"
        options = {"padding": padding, "return_attention_mask": True, "return_tensors": "pt"}
        return dict(self.extractor(padded, sampling_rate=self.rate, **options))


@dataclass(frozen=True, kw_only=True)
class Speech(Checkpoint):
    """Speech checkpoint in the Hugging Face layout."""

    layers: str  # input of the head: last, or weighted (a learned mixture of all layers)
    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS, Kind.TAG, Kind.CTC)
    reads: ClassVar[Input] = Input.AUDIO
    beside: ClassVar[tuple[str, tuple[str, ...]]] = ("feature extractor", ("preprocessor_config.json",))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.layers not in ("last", "weighted"):
            raise InputError(f"backbone.layers: {self.layers!r} given, last or weighted wanted")

    @cached_property
    def family(self) -> str:
        kind = self.config().model_type
        if kind not in (*WAVES, "whisper"):
            known = ", ".join((*WAVES, "whisper"))
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

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, SpeechProcessor]:
        """Load the encoder under a new head, and its feature extractor."""
        from benchmark.backbones.hearing import hears_padding, reach

        assert self.family, "the configuration is read first, for its error messages"
        extractor, network = self._extractor(), self.build(budget, head)
        config = network.config
        return network, SpeechProcessor(extractor, head, reach(config), network.ends, hears_padding(config))

    def build(self, budget: Budget, head: Head) -> nn.Module:
        """Load the encoder in fp32 under a new head, without random masking (SpecAugment)."""
        import torch
        from transformers import AutoModel

        from benchmark.backbones.hearing import Hearing

        assert self.family, "the configuration is read first, for its error messages"
        config = self.configured(budget)
        config.apply_spec_augment, config.mask_time_prob, config.mask_feature_prob = False, 0.0, 0.0
        if hasattr(config, "feat_proj_dropout"):
            config.feat_proj_dropout = budget.dropout
        # on a CPU the gradient of fused attention is several times slower than that of plain attention
        attention = "sdpa" if torch.cuda.is_available() else "eager"
        encoder = self.network(AutoModel, config, attn_implementation=attention)
        if self.family == "whisper":
            unread, encoder = getattr(encoder, "unread_weights", 0), encoder.get_encoder()
            encoder.unread_weights = unread
        else:  # else it would compute a gradient with respect to the samples
            encoder.feature_extractor._requires_grad = False
        return Hearing(encoder, head, self.layers == "weighted")


def check_sound(file: Path) -> dict[str, Any]:
    """Read a feature extractor's numbers, and refuse those that no recording has. Raises InputError."""
    with refusing(f"backbone.checkpoint: {str(file)!r} is no JSON that can be read"):
        content = json.loads(file.read_text(encoding="utf-8"))
        content = content.get("feature_extractor", content)
        given = {key: content[key] for key in SOUND if key in content}
    for key, value in given.items():
        low, high = SOUND[key]
        if type(value) not in (int, float) or not low <= value <= high:
            raise InputError(
                f"backbone.checkpoint: {str(file)!r} says {key}: {value!r:.24}, {low:,} to {high:,} wanted: "
                "take this file from the checkpoint that the weights are of"
            )
    return given
