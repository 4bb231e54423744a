"""Sound that cannot be read is refused with its file and the remedy, before memory fills, and never recorded."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark import run
from benchmark.backbones.sound import SOUND

EMBEDDED = Path(__file__).parents[1] / "benchmark" / "backbones" / "embedded"
WORDS = ["task=speech", "method=head", "budget=smoke", "budget.steps=1", "device=cpu"]


def refused(words, results, capsys):
    """Return the refusal of a command that must end in seconds and write no record."""
    begun = time.monotonic()
    assert run.main([*WORDS, *words, f"results={results}"]) == 2
    assert time.monotonic() - begun < 30
    assert not list(results.rglob("*.json"))
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("rate", "length", "reason"),
    [
        (1, 8000, "has a sampling rate of 1 Hz, 1,000 to 768,000 Hz can be heard"),
        (2_000_000_000, 8000, "has a sampling rate of 2,000,000,000 Hz"),
        (8000, 0, "is empty"),
    ],
)
def test_a_recording_that_nobody_can_hear_is_refused(tmp_path, capsys, rate, length, reason):
    folder = tmp_path / "clips"
    folder.mkdir()
    rows = ["file_name,label"]
    for number in range(12):
        odd = number == 5
        wave = np.sin(np.arange(length if odd else 4000) * (0.1 + number / 50))
        soundfile.write(folder / f"{number}.wav", wave, rate if odd else 8000)
        rows.append(f"{number}.wav,{'ab'[number % 2]}")
    (folder / "metadata.csv").write_text("\n".join(rows))
    words = ["data=audio_folder", f"data.folder={folder}", "data.columns.file=file_name", "data.columns.target=label"]
    said = refused(words, tmp_path / "results", capsys)
    assert "5.wav" in said
    assert reason in said
    assert "task.skip_bad=true" in said


@pytest.mark.parametrize(("key", "value"), [*((key, 10**12) for key in SOUND), ("sampling_rate", 0), ("n_fft", "x")])
def test_a_feature_extractor_with_absurd_numbers_is_refused(tmp_path, capsys, key, value):
    network = shutil.copytree(EMBEDDED / "wav2vec2_words", tmp_path / "network")
    file = network / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    said = refused([f"backbone.checkpoint={network}"], tmp_path / "results", capsys)
    assert f"{str(file)!r} says {key}: {value!r}" in said
    assert "take this file from the checkpoint" in said
