"""Images and sound are prepared by the numbers of the checkpoint; without these its weights are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Head
from tasks.sound import recording

EMBEDDED = Path(__file__).parents[1] / "benchmark" / "backbones" / "embedded"
IMAGES = ("vit_textures", "config.json", "timm_network", "medical_images")
SOUND = ("wav2vec2_words", "preprocessor_config.json", "speech_encoder", "speech")


def load(folder, of, change):
    """Load a shipped network after a change of what its file says about inputs."""
    name, file, backbone, task = of
    network = shutil.copytree(EMBEDDED / name, folder / "network")
    content = json.loads((network / file).read_text())
    change(content)
    (network / file).write_text(json.dumps(content))
    words = [f"task={task}", "method=head", f"backbone={backbone}", f"backbone.checkpoint={network}", "budget=smoke"]
    cell = cell_of(words)
    return cell, cell.load(Head(cell.kind, labels=("a", "b")))[1]


def test_images_are_normalised_by_the_checkpoints_own_numbers(tmp_path):
    def change(content):
        content["pretrained_cfg"] |= {"mean": [0.1], "std": [0.7], "interpolation": "nearest"}

    _, processor = load(tmp_path, IMAGES, change)
    grey = np.arange(48 * 48, dtype=np.int64).reshape(48, 48) % 251
    seen = processor.batch([processor.fit(grey.astype(np.uint8))])["pixels"][0, 0].numpy()
    assert seen.shape == (24, 24)
    assert np.allclose(seen, (grey[1::2, 1::2] / 255 - 0.1) / 0.7, atol=1e-6)


def test_sound_has_the_checkpoints_own_rate_and_loudness(tmp_path):
    cell, processor = load(tmp_path, SOUND, lambda c: c.update(sampling_rate=11_025, do_normalize=False))
    wave = 0.3 * np.sin(2 * np.pi * 441 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "a.wav", wave, 44_100, subtype="FLOAT")
    counts = {}
    features = cell.task.features(recording(tmp_path / "a.wav", ""), processor, counts)
    assert counts == {"resampled_44100_to_11025_hz_by_soxr": 1}
    (heard,) = processor([features["samples"]])["input_values"].numpy()
    expected = 0.3 * np.sin(2 * np.pi * 441 * np.arange(11_025) / 11_025)
    assert np.abs(heard - expected)[200:-200].max() < 1e-3


@pytest.mark.parametrize("key", ["mean", "std", "interpolation", "input_size"])
def test_weights_that_do_not_say_how_images_were_prepared_are_refused(key, tmp_path):
    with pytest.raises(InputError, match=rf"config.json lacks pretrained_cfg.{key}, .* take this file from"):
        load(tmp_path, IMAGES, lambda content: content["pretrained_cfg"].pop(key))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mean": [127.5], "std": [64.0]}, "a number from 0 to 1 for each channel"),
        ({"mean": [0.4, 0.5, 0.6]}, "a number from 0 to 1 for each channel"),
        ({"std": [0.0]}, "a number from 0 to 1 for each channel"),
        ({"interpolation": "random"}, "has interpolation 'random', one of nearest, box, bilinear"),
    ],
)
def test_numbers_of_another_scale_are_refused(values, reason, tmp_path):
    with pytest.raises(InputError, match=reason):
        load(tmp_path, IMAGES, lambda content: content["pretrained_cfg"].update(values))


def test_sound_without_a_rate_or_for_another_network_is_refused(tmp_path):
    with pytest.raises(InputError, match="names no sampling_rate: take this file from"):
        load(tmp_path, SOUND, lambda content: content.pop("sampling_rate"))
    shutil.rmtree(tmp_path / "network")
    with pytest.raises(InputError, match=r"a wav2vec2 network reads input_values, .* gives input_features"):
        load(tmp_path, SOUND, lambda content: content.update(feature_extractor_type="WhisperFeatureExtractor"))
