"""Input of speech networks: the numbers of a feature extractor, and samples prepared by it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError, refusing
from benchmark.types import Head

if TYPE_CHECKING:
    import numpy as np
    import torch

SOUND = {  # numbers of preprocessor_config.json: others would fill the memory while filters are made or clips padded
    "sampling_rate": (1000, 768_000),
    "n_fft": (2, 65_536),
    "hop_length": (1, 65_536),
    "feature_size": (1, 4096),
    "chunk_length": (1, 3600),
    "n_samples": (1, 100_000_000),
    "nb_max_frames": (1, 1_000_000),
}


@dataclass(frozen=True, eq=False)
class SoundProcessor:
    """Preparation of samples for a checkpoint."""

    extractor: Any
    head: Head
    shortest: int = 0  # samples of one frame
    hears_padding: bool = False  # then an answer would depend on the clips in the same batch

    @property
    def rate(self) -> int:
        """Sampling rate in Hz."""
        return self.extractor.sampling_rate

    @property
    def longest(self) -> int | None:
        """Largest number of samples that the network can read."""
        return getattr(self.extractor, "n_samples", None)

    def __call__(self, clips: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Normalise and pad as in pretraining, with a mask of real samples."""
        import numpy as np

        padded = [np.pad(clip, (0, max(0, self.shortest - len(clip)))) for clip in clips]  # at least one frame
        padding = "longest" if self.longest is None else "max_length"
        options = {"padding": padding, "return_attention_mask": True, "return_tensors": "pt"}
        return dict(self.extractor(padded, sampling_rate=self.rate, **options))


@dataclass(frozen=True, eq=False)
class SpeechProcessor(SoundProcessor):
    """Preparation for an encoder, whose frames can be counted."""

    ends: Callable[[torch.Tensor], torch.Tensor] | None = None  # from samples to the network's number of frames

    def frames(self, samples: int) -> int:
        """Count the frames that a clip of so many samples has."""
        import torch

        hop = getattr(self.extractor, "hop_length", 1)  # samples to a column, where a spectrogram is read
        return int(self.ends(torch.tensor(math.ceil(samples / hop))))


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
