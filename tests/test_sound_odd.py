"""Recordings of odd kinds: other codings and containers, several channels, cut off, constant."""

import numpy as np
import pytest
import soundfile

from benchmark.types import Bad
from tasks.sound import recording

RATE = 8000
LOUD = 0.5 * np.sin(2 * np.pi * 300 * np.arange(4000) / RATE)
SOFT = 0.25 * np.sin(2 * np.pi * 500 * np.arange(4000) / RATE)


@pytest.mark.parametrize(
    ("name", "subtype", "most"),
    [
        ("a.wav", "PCM_U8", 0.01), ("a.wav", "PCM_24", 1e-6), ("a.wav", "DOUBLE", 1e-6), ("a.wav", "ULAW", 0.02),
        ("a.flac", "PCM_16", 1e-4), ("a.aiff", "PCM_16", 1e-4), ("a.ogg", "VORBIS", 0.05),
    ],
)  # fmt: skip
def test_a_tone_is_the_same_in_every_coding(name, subtype, most, tmp_path):
    soundfile.write(tmp_path / name, LOUD, RATE, subtype=subtype)
    wave = recording(tmp_path / name, "").read()
    assert (wave.rate, wave.channels, len(wave.samples)) == (RATE, 1, 4000)
    assert np.abs(wave.samples - LOUD).max() < most


def test_a_tone_in_mp3_keeps_its_pitch(tmp_path):
    soundfile.write(tmp_path / "a.mp3", LOUD, RATE)
    wave = recording(tmp_path / "a.mp3", "").read()
    assert np.abs(np.fft.rfft(wave.samples)).argmax() * RATE / len(wave.samples) == pytest.approx(300, abs=3)


def test_channels_are_averaged(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([LOUD, SOFT, -SOFT], 1), RATE, subtype="FLOAT")
    wave = recording(tmp_path / "a.wav", "").read()
    assert wave.channels == 3
    assert np.allclose(wave.samples, LOUD / 3, atol=1e-6)


@pytest.mark.parametrize("left", [46, 3000, 8042])
def test_a_recording_that_is_cut_off_is_refused(left, tmp_path):
    soundfile.write(tmp_path / "a.wav", LOUD, RATE)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:left])
    reason = recording(tmp_path / "a.wav", "row 3: a.wav").reason
    assert reason == f"row 3: a.wav is cut off: it has {left:,} bytes, and its header says {len(whole):,}"
    streamed = whole[:4] + b"\xff\xff\xff\xff" + whole[8:]  # a program that did not know the length
    (tmp_path / "a.wav").write_bytes(streamed)
    assert len(recording(tmp_path / "a.wav", "").read().samples) == 4000


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(np.full(800, 0.25), "is silent throughout"), (np.array([0.5]), "is silent throughout"), ([], "is empty")],
)
def test_sound_without_a_wave_is_refused(samples, reason, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.array(samples), RATE)
    assert reason in recording(tmp_path / "a.wav", "").reason


@pytest.mark.parametrize("name", ["a.m4a", "a.mp3", "folder.wav"])
def test_what_is_no_sound_is_refused_in_a_sentence_without_addresses(name, tmp_path):
    (tmp_path / name).mkdir() if name == "folder.wav" else (tmp_path / name).write_bytes(b"\0\0\0\x20ftyp" + bytes(99))
    refused = recording(tmp_path / name, name)
    assert isinstance(refused, Bad)
    assert "0x" not in refused.reason
    assert name in refused.reason
