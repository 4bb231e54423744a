"""eSpeak NG through ctypes: text and voice -> samples and phoneme times.

The synthesiser keeps state between utterances (noise, flutter). A list of utterances is therefore spoken in a new
process, so that the same list always gives the same samples.
"""

from __future__ import annotations

import ctypes
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmark.errors import InputError
from tasks.cache import load_or_make

RATE = 22_050  # Hz, the synthesiser's own
SPEED, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
PHONEME = 7  # espeakEVENT_PHONEME
SYNCHRONOUS, PHONEME_EVENTS, UTF8 = 2, 1, 1


class Utterance(NamedTuple):
    """Text, and the settings of its voice."""

    text: str
    accent: str  # a language file of eSpeak, such as gmw/en-US
    variant: str  # a voice variant; with the accent it is a voice
    speed: int  # words per minute, 80 to 450
    pitch: int  # 0 to 99
    range: int  # of the pitch, 0 (monotone) to 99


class Spoken(NamedTuple):
    """Samples and phonemes of an utterance."""

    samples: np.ndarray  # float32, -1 to 1
    phonemes: list[tuple[str, float]]  # (name, second at which it begins); names beginning with _ are pauses


def speak(utterances: Sequence[Utterance], rate: int) -> list[Spoken]:
    """Speak a list of utterances in a new process, at this sampling rate.

    Raises InputError without eSpeak NG.
    """
    data_folder()
    key = {
        "utterances": [list(u) for u in utterances],
        "rate": rate,
        "versions": [version("espeakng-loader"), version("soxr")],
    }
    arrays = load_or_make("espeak", key, lambda: _heard(utterances, rate))
    clips = np.split(arrays["samples"].astype(np.float32) / 32767, arrays["ends"][:-1])
    phonemes = list(zip(arrays["names"].tolist(), arrays["begins"].tolist(), strict=True))
    ends = arrays["phoneme_ends"].tolist()
    return [Spoken(clip, phonemes[begin:end]) for clip, begin, end in zip(clips, [0, *ends[:-1]], ends, strict=True)]


def _heard(utterances: Sequence[Utterance], rate: int) -> dict[str, np.ndarray]:
    import soxr

    command = [sys.executable, "-m", __name__]
    request = json.dumps(utterances).encode()
    done = subprocess.run(command, input=request, capture_output=True, cwd=Path(__file__).parents[2], check=False)
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"eSpeak NG could not speak {len(utterances)} utterances: {last}")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as spoken:
        arrays = dict(spoken)
    clips = [soxr.resample(clip, RATE, rate) for clip in np.split(arrays["samples"], arrays["ends"][:-1])]
    return arrays | {"samples": np.concatenate(clips), "ends": np.cumsum([len(clip) for clip in clips])}


def data_folder() -> Path:
    """Find eSpeak's data. Raises InputError where it is not installed."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise InputError('speech is made by eSpeak NG, which is not installed: pip install -e ".[embedded]"') from error
    return Path(espeakng_loader.get_data_path())


@cache
def variants() -> tuple[str, ...]:
    """List every voice variant that this eSpeak has."""
    return tuple(sorted(f.name for f in (data_folder() / "voices/!v").iterdir()))


def person(variant: str) -> str:
    """Name the person of a variant: steph2 is steph's, but m2 is not m1's."""
    stem = re.sub(r"\d+$", "", variant.lower())
    return variant if stem in ("m", "f") else stem.removesuffix("robot")


class _Event(ctypes.Structure):  # espeak_EVENT of speak_lib.h
    _fields_ = [
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8),
    ]  # fmt: skip


class _Synthesiser:
    """Wrapper of the library, once per process."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        self.pieces: list[np.ndarray] = []
        self.phonemes: list[tuple[str, float]] = []
        heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
        self._callback = heard(self._hear)  # kept: the library calls it
        folder = str(data_folder()).encode()
        rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, folder, PHONEME_EVENTS)
        if rate != RATE:
            raise RuntimeError(f"espeak_Initialize gave {rate}, {RATE} Hz expected")
        self.library.espeak_SetSynthCallback(self._callback)
        self.library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # the clock, otherwise

    def _hear(self, samples: Any, number: int, events: Any) -> int:
        if samples and number:
            self.pieces.append(np.ctypeslib.as_array(samples, (number,)).copy())
        i = 0
        while events[i].type:
            if events[i].type == PHONEME:
                self.phonemes.append((events[i].id.decode(errors="replace"), events[i].sample / RATE))
            i += 1
        return 0

    def say(self, utterance: Utterance) -> tuple[np.ndarray, list[tuple[str, float]]]:
        voice = f"{utterance.accent}+{utterance.variant}"
        if utterance.variant not in variants() or self.library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"no voice {voice!r}")
        for parameter, value in ((SPEED, utterance.speed), (PITCH, utterance.pitch), (RANGE, utterance.range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        self.pieces, self.phonemes = [np.zeros(0, np.int16)], []
        text = utterance.text.encode()
        if self.library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 0, 0, UTF8, None, None):
            raise RuntimeError(f"eSpeak refused {utterance.text!r}")
        self.library.espeak_Synchronize()
        return np.concatenate(self.pieces), self.phonemes


def _main() -> None:
    synthesiser = _Synthesiser()
    waves, phonemes = zip(*(synthesiser.say(Utterance(*u)) for u in json.load(sys.stdin)), strict=True)
    flat = [phoneme for one in phonemes for phoneme in one]
    np.savez(
        sys.stdout.buffer,
        samples=np.concatenate(waves),
        ends=np.cumsum([len(wave) for wave in waves]),
        names=np.array([name for name, _ in flat], dtype="U8"),
        begins=np.array([begin for _, begin in flat], dtype=np.float64),
        phoneme_ends=np.cumsum([len(one) for one in phonemes]),
    )


if __name__ == "__main__":
    _main()
