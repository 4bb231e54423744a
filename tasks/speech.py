"""Tasks of speech: classification, recognition, speaker verification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from benchmark.errors import InputError
from benchmark.types import IGNORED, Bad, Example, Features, Head, Input, Kind, Prediction, Splits
from tasks.answers.classification import Classification
from tasks.answers.dictation import Dictation
from tasks.answers.multilabel import Multilabel
from tasks.answers.regression import Regression
from tasks.labelled import Labelled
from tasks.sound import Clip, Wave, add_noise, at_rate, recording

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Speech(Labelled):
    """Task that reads clips, at the sampling rate of the backbone."""

    reads: ClassVar[Input] = Input.AUDIO

    max_seconds: float  # longer clips are cut and counted
    noise: (
        float | None
    )  # dB of speech over white noise in test/noise, the test once more; null: the data has its own shift

    def __post_init__(self) -> None:
        if not self.max_seconds > 0:
            raise InputError(f"task.max_seconds: {self.max_seconds} given, a positive number wanted")

    def read(self) -> Splits:
        """Read the data; add its test in noise if task.noise is set."""
        splits = dict(super().read())
        if self.noise is not None:
            splits["test/noise"] = [self._noisy(e, number) for number, e in enumerate(splits["test"])]
        return splits

    def largest(self, kind: Kind) -> tuple[float, int]:
        return self.max_seconds, 0

    def _noisy(self, example: Example, number: int) -> Example:
        renamed = example._replace(id=f"{example.id} in noise")
        if isinstance(example.source, Bad):
            return renamed

        def read() -> Wave:
            wave = example.source.read()
            return wave._replace(samples=add_noise(wave.samples, self.noise, np.random.default_rng(number)))

        return renamed._replace(source=Clip(f"{example.source.digest} {number} {self.noise} dB", read))

    def source(self, given: str | Path | Clip) -> Clip:
        """Read a recording. Raises InputError."""
        if isinstance(given, Clip):
            return given
        clip = recording(Path(given), f"recording {given}")
        if isinstance(clip, Bad):
            raise InputError(clip.reason)
        return clip

    def features(self, source: Clip, processor: Any, counts: dict[str, int]) -> Features:
        """Resample and cut; count both, and channels that were averaged."""
        wave = source.read()
        if wave.channels > 1:
            counts["clips_of_several_channels_averaged"] = counts.get("clips_of_several_channels_averaged", 0) + 1
        if wave.rate != processor.rate:
            name = f"resampled_{wave.rate}_to_{processor.rate}_hz_by_soxr"
            counts[name] = counts.get(name, 0) + 1
        samples = at_rate(wave, processor.rate)
        most = min(int(self.max_seconds * processor.rate), processor.longest or len(samples))
        if len(samples) > most:
            counts["cut_clips"] = counts.get("cut_clips", 0) + 1
        return {"samples": samples[:most], "length": min(len(samples), most)}

    def mates(self, features: Features, processor: Any) -> Hashable:
        """Require equal length where the network reads padding as silence."""
        return features["length"] if processor.hears_padding else None

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        return processor([f["samples"] for f in features])


@dataclass(frozen=True, kw_only=True)
class SpeechClassification(Classification, Speech):
    """Classification of clips: commands, emotions, speakers."""

    metric: ClassVar[str] = "accuracy"

    def scores(self) -> tuple[str, ...]:
        return "accuracy", "unweighted_average_recall", "macro_f1", "mcc", "auroc", "aupr"

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Score as any classification, with unweighted average recall by that name."""
        scores = super().score(predictions, targets)
        return {
            "unweighted_average_recall" if name == "balanced_accuracy" else name: value
            for name, value in scores.items()
        }


@dataclass(frozen=True, kw_only=True)
class AudioRegression(Regression, Speech):
    """Task with a number per clip."""

    metric: ClassVar[str] = "spearman"


@dataclass(frozen=True, kw_only=True)
class AudioMultilabel(Multilabel, Speech):
    """Task with any number of labels per clip."""


@dataclass(frozen=True, kw_only=True)
class SpeechRecognition(Dictation, Speech):
    """Transcription of clips: characters of a new head, or tokens of a decoder."""

    metric: ClassVar[str] = "character_accuracy"

    language: str | None  # of the clips, in the prompt of a multilingual decoder
    max_target_tokens: int  # of a decoder, its end token included; longer transcripts are cut and counted


@dataclass(frozen=True, kw_only=True)
class SpeakerVerification(SpeechClassification):
    """Verification of whether two clips are of one speaker, for every pair of a split.

    The network learns to classify the training speakers.
    """

    metric: ClassVar[str] = "verification_accuracy"
    proper: ClassVar[str | None] = None  # speakers of a test may be new, and have no probability

    def closed(self, split: str) -> bool:
        """Allow new speakers in tests, but not in validation."""
        return not split.startswith("test")

    def lacking(self, targets: Sequence[tuple[Any, ...]], head: Head) -> str | None:
        """Give a reason where there are no pairs of one speaker, or of two."""
        clips = Counter(str(t[0]) for t in targets)
        if len(clips) < 2:
            return f"no speaker beside {min(clips)!r}"
        return None if max(clips.values()) > 1 else "no speaker with two clips"

    def label(self, example: Example, head: Head, length: int) -> int:
        name = str(example.targets[0])
        return head.labels.index(name) if name in head.labels else IGNORED

    def answers(self, output: Any, features: Sequence[Features], head: Head) -> list[Prediction]:
        """Add the embedding of a clip: its scores for the training speakers (anchors)."""
        rows = output.logits.cpu().tolist()
        named = super().answers(output, features, head)
        return [{**one, "embedding": [round(x, 4) for x in row]} for one, row in zip(named, rows, strict=True)]

    def nothing(self) -> Prediction:
        return {**super().nothing(), "embedding": []}

    def scores(self) -> tuple[str, ...]:
        return self.metric, *super().scores()

    def score(self, predictions: Sequence[Prediction], targets: Sequence[tuple[Any, ...]]) -> dict[str, float]:
        """Compare every two clips by the cosine of their embeddings."""
        scores = super().score(predictions, targets)
        width = max(len(p["embedding"]) for p in predictions)
        rows = np.array([p["embedding"] or [0.0] * width for p in predictions])
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        first, second = np.triu_indices(len(rows), 1)
        speakers = np.array([str(t[0]) for t in targets])
        same = speakers[first] == speakers[second]
        if same.all() or not same.any():  # nothing to tell apart
            return scores
        error = equal_error_rate((rows @ rows.T)[first, second], same)
        return scores | {"verification_accuracy": 1 - error, "equal_error_rate": error}


def equal_error_rate(likeness: np.ndarray, same: np.ndarray) -> float:
    """Find the rate at which false acceptances and false rejections are equal."""
    from sklearn.metrics import roc_curve

    accepted, right, _ = roc_curve(same, likeness, drop_intermediate=False)
    nearest = np.abs(accepted - (1 - right)).argmin()
    return float((accepted[nearest] + 1 - right[nearest]) / 2)
