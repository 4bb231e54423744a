"""Recordings of a user and of the hub, as they are read."""

from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import soundfile
from factories import write_metadata

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.audio_files import AudioFolder, AudioHub
from tasks.sound import Wave, add_noise, at_rate, clip, fault, recording


def test_noise_has_the_stated_ratio():
    tone = 0.1 * np.sin(np.arange(80_000) / 3)
    noise = add_noise(tone, 10.0, np.random.default_rng(0)) - tone
    assert 10 * np.log10(np.mean(tone**2) / np.mean(noise**2)) == pytest.approx(10.0, abs=0.1)


def test_resampling_keeps_a_tone():
    tone = np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050).astype(np.float32)
    low = at_rate(Wave(tone, 22_050), 8000)
    assert len(low) == 8000
    assert np.abs(np.fft.rfft(low)).argmax() == 440


def test_clips_are_known_by_their_content():
    tone = np.sin(np.arange(100)).astype(np.float32)
    one, same, other = clip(Wave(tone, 8000)), clip(Wave(tone.copy(), 8000)), clip(Wave(tone, 16_000))
    assert one == same != other
    assert str(one) == str(same) != str(other)
    assert np.abs(one.read().samples - tone).max() < 1e-4


def tone(file, hertz=300.0, rate=8000, seconds=0.2, channels=1):
    samples = np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    soundfile.write(file, np.stack([samples] * channels, 1) * 0.5, rate)


def files(folder, splits_of=None, shares=None, **columns):
    columns = {"file": "file_name", "target": "label", **columns}
    options = {"description": "", "metadata": "metadata.csv", "splits_of": splits_of or {}, "shares": shares or {}}
    return AudioFolder(folder=str(folder), columns=columns, **options)


def clips(folder, number, row):
    """Record tones of different pitch, with a row of the table for each."""
    for i in range(number):
        tone(folder / f"{i}.wav", 200 + i)
    write_metadata(folder, [f"{i}.wav,{row(i)}" for i in range(number)])


def test_speakers_are_held_out_by_name_or_by_hash(tmp_path):
    rows = []
    for speaker in range(30):
        for take in range(2):
            tone(tmp_path / f"{speaker}_{take}.wav", 200 + speaker)
            rows.append(f"{speaker}_{take}.wav,{take},s{speaker},")
    write_metadata(tmp_path, rows)
    splits = files(tmp_path, speaker="speaker").splits()
    groups = {name: {e.group for e in examples} for name, examples in splits.items()}
    assert sum(map(len, groups.values())) == 30 == len(set.union(*groups.values()))
    assert all(groups.values())
    named = files(tmp_path, {"test": ["s3", "s4"], "test/other": ["s5"]}, speaker="speaker").splits()
    assert {e.group for e in named["test"]} == {"s3", "s4"}
    assert {e.group for e in named["test/other"]} == {"s5"}
    assert not {e.group for e in named["train"]} & {e.group for e in named["valid"]}
    with pytest.raises(InputError, match=r"data.splits_of: no speaker 'george' in metadata.csv \(it holds s0, "):
        files(tmp_path, {"test": ["george"]}, speaker="speaker").splits()


def test_a_split_column_is_followed_and_valid_drawn_where_it_names_none(tmp_path):
    clips(tmp_path, 60, lambda i: f"a,x,{'tr' if i % 3 else 'te'}")
    splits = files(tmp_path, {"train": ["tr"], "test": ["te"]}, split="part").splits()
    assert len(splits["test"]) == 20
    assert len(splits["train"]) + len(splits["valid"]) == 40
    assert 1 <= len(splits["valid"]) <= 10
    with pytest.raises(InputError, match=r"no split 'dev' in metadata.csv"):
        files(tmp_path, {"train": ["tr"], "valid": ["dev"], "test": ["te"]}, split="part").splits()


def test_a_split_that_is_not_named_is_drawn_by_speaker_with_its_share_and_said(tmp_path):
    clips(tmp_path, 80, lambda i: f"a,s{i // 4},{'te' if i >= 60 else 'tr'}")
    data = files(tmp_path, {"train": ["tr"], "test": ["te"]}, split="part", speaker="speaker")
    groups = {name: {e.group for e in part} for name, part in data.splits().items()}
    assert groups["test"] == {f"s{i}" for i in range(15, 20)}
    assert groups["valid"]
    assert not groups["valid"] & groups["train"]
    assert data.reading.notes["drawn_from_train"].startswith("valid 0.1 (")
    assert data.reading.notes["drawn_from_train"].endswith("by the hash of the group")
    data = files(tmp_path, shares={"test": 0.5, "test/more": 0.2}, speaker="speaker")
    splits = data.splits()
    groups = [{e.group for e in part} for part in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 20
    assert splits.keys() == {"train", "valid", "test", "test/more"}
    assert len(splits["test"]) > len(splits["test/more"]) > 0
    with pytest.raises(InputError, match=r"split test: name its rows .* or give data.shares.test, not both"):
        files(tmp_path, {"test": ["s3"]}, {"test": 0.5}, speaker="speaker")


def test_clips_without_a_speaker_are_drawn_one_by_one(tmp_path):
    clips(tmp_path, 40, lambda i: f"a,{'s1' if i < 8 else ''},x")
    splits = files(tmp_path, speaker="speaker").splits()
    assert all(splits.values())
    assert sum("s1" in {e.group for e in part} for part in splits.values()) == 1
    assert sum(len({e.group for e in part}) for part in splits.values()) == 33


def test_bad_rows_name_file_and_row(tmp_path):
    tone(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 8000)
    names = ["good.wav", "text.wav", "empty.wav", "nan.wav", "silent.wav", "missing.wav"]
    write_metadata(tmp_path, [*(f"{name},a,x,train" for name in names), "good.wav,,x,train"])
    split = files(tmp_path, {"train": ["train"], "test": []}, split="part").splits()
    reasons = [e.source.reason for e in [*split["train"], *split["valid"]] if isinstance(e.source, Bad)]
    reasons.sort(key=lambda r: int(r.split("row ")[1].split(":")[0]))
    assert [r.split(" (")[0] for r in reasons] == [
        "metadata.csv, row 2: text.wav cannot be decoded",
        "metadata.csv, row 3: empty.wav is empty",
        "metadata.csv, row 4: nan.wav has samples that are not finite",
        "metadata.csv, row 5: silent.wav is silent throughout",
        "metadata.csv, row 6: missing.wav: no such file",
        "metadata.csv, row 7: good.wav has no label",
    ]


def test_a_missing_table_or_column_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*metadata.csv"):
        files(tmp_path).splits()
    tone(tmp_path / "good.wav")
    write_metadata(tmp_path, ["good.wav,a,x,train"])
    with pytest.raises(InputError, match=r"metadata.csv: no column 'who'; it has file_name, label, speaker, part"):
        files(tmp_path, speaker="who").splits()
    with pytest.raises(InputError, match=r"data.columns.target"):
        AudioFolder(description="", folder="", metadata="", columns={"file": "file_name"}, splits_of={}, shares={})


def test_channels_are_averaged_and_rates_resampled_and_counted(tmp_path):
    tone(tmp_path / "a.wav", 440, rate=44_100, seconds=3.0, channels=2)
    source = recording(tmp_path / "a.wav", "")
    counts = {}
    processor = SimpleNamespace(rate=8000, longest=None)
    features = cell_of(["task=speech", "method=head"]).task.features(source, processor, counts)
    assert counts == {
        "clips_of_several_channels_averaged": 1,
        "resampled_44100_to_8000_hz_by_soxr": 1,
        "cut_clips": 1,
    }
    assert features["length"] == len(features["samples"]) == 16_000
    assert np.abs(np.fft.rfft(features["samples"])).argmax() == 880  # of two seconds
    assert fault(Wave(np.zeros(0, np.float32), 8000)) == "is empty"


def test_the_hub_keeps_recordings_encoded(tmp_path, monkeypatch):
    tone(tmp_path / "a.wav", 440)
    (tmp_path / "b.wav").write_text("no sound")
    audio = [{"bytes": (tmp_path / name).read_bytes(), "path": None} for name in ("a.wav", "b.wav")]
    table = datasets.Dataset.from_dict({"audio": audio, "label": [1, 0]})
    table = table.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
    table = table.cast_column("audio", datasets.Audio(decode=True, sampling_rate=8000))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    hub = AudioHub(
        description="", id="a/b", config=None, revision=None, splits_of={s: s for s in ("train", "valid", "test")},
        shifts={}, columns={"file": "audio", "target": "label"}, shares={},
    )  # fmt: skip
    good, bad = hub.splits()["train"]
    assert good.id == "a/b (train), row 0"
    assert good.targets == ("yes",)
    assert good.source.read().rate == 8000
    assert "a/b (train), row 1 cannot be decoded" in bad.source.reason
