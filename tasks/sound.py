"""Clips of sound, decoded on demand, and their sampling rate."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.types import Bad


class Wave(NamedTuple):
    """Sound of one channel."""

    samples: np.ndarray  # float32, -1 to 1
    rate: int  # Hz
    channels: int = 1  # of the file, of which samples is the mean


STREAMED = 0x7FFFFFFF  # bytes that a program writes into the header when it does not know the length
RATES = (1000, 768_000)  # Hz of a recording; at others it would be resampled to hours, or is no sound


@dataclass(frozen=True)
class Clip:
    """Recording, identified by its content."""

    digest: str
    read: Callable[[], Wave] = field(compare=False, repr=False)

    def __str__(self) -> str:
        return self.digest


def clip(wave: Wave) -> Clip:
    """Make a clip of a wave in memory, in 16 bits."""
    samples = np.round(np.clip(wave.samples, -1, 1) * 32767).astype(np.int16)
    digest = hashlib.sha256(f"{wave.rate} ".encode() + samples.tobytes()).hexdigest()
    return Clip(digest[:32], lambda: Wave(samples.astype(np.float32) / 32767, wave.rate))


def at_rate(wave: Wave, rate: int) -> np.ndarray:
    """Resample (soxr, high quality)."""
    if wave.rate == rate:
        return wave.samples
    import soxr

    return soxr.resample(wave.samples, wave.rate, rate)


def add_noise(samples: np.ndarray, snr: float, rng: np.random.Generator) -> np.ndarray:
    """Add white noise at a signal-to-noise ratio, in dB over the whole clip."""
    noise = rng.standard_normal(len(samples))
    scale = np.sqrt(np.mean(np.square(samples, dtype=np.float64)) / 10 ** (snr / 10))
    mixed = samples + scale * noise
    return (mixed / max(1.0, np.abs(mixed).max())).astype(np.float32)


def recording(file: Path | io.BytesIO, where: str) -> Clip | Bad:
    """Read a recording once for its content hash, and check it."""
    if isinstance(file, Path) and not file.is_file():
        return Bad(f"{where}: no such file")
    content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
    try:
        wave = decode(content)
    except (RuntimeError, ValueError) as error:
        reason = str(error).rpartition("object at ")[2].partition(">: ")  # libsndfile's without the address
        return Bad(f"{where} cannot be decoded ({reason[2] or error})")
    if reason := shortfall(content) or fault(wave):
        return Bad(f"{where} {reason}")
    digest = hashlib.sha256(content).hexdigest()[:32]
    return Clip(digest, lambda: decode(file.read_bytes() if isinstance(file, Path) else content))


def decode(content: bytes) -> Wave:
    """Decode by libsndfile, averaging channels.

    Raises RuntimeError where it cannot.
    """
    import soundfile

    samples, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    return Wave(samples.mean(1), rate, samples.shape[1])


def shortfall(content: bytes) -> str | None:
    """Say that a WAV file ends before its header says; libsndfile reads what there is."""
    size = int.from_bytes(content[4:8], "little") + 8
    if content[:4] != b"RIFF" or size >= STREAMED or size <= len(content) + 1:  # a last byte of padding may lack
        return None
    return f"is cut off: it has {len(content):,} bytes, and its header says {size:,}"


def fault(wave: Wave) -> str | None:
    """Give the reason why a wave is unusable."""
    if not len(wave.samples):
        return "is empty"
    if not RATES[0] <= wave.rate <= RATES[1]:
        return f"has a sampling rate of {wave.rate:,} Hz, {RATES[0]:,} to {RATES[1]:,} Hz can be heard"
    if not np.isfinite(wave.samples).all():
        return "has samples that are not finite"
    return None if np.ptp(wave.samples) else "is silent throughout (all samples are equal)"
