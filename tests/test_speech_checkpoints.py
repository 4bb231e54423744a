"""Checkpoints of speech: loading, frames, padding, and the network that ships."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import transformers
from factories import run_cell, write_metadata
from networks import SPEECH, SPEECH_LABELS, feature_extractor, save_speech, speech_backbone, speech_family
from omegaconf import OmegaConf

from benchmark.backbones.hearing import reach
from benchmark.config.build import build
from benchmark.config.compose import cell_of, choices_of
from benchmark.engine.batches import in_order, split_batches
from benchmark.engine.train import parts
from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.saved import CELL, load
from benchmark.types import Example, Head, Kind
from tasks.embedded.voices import RATE
from tasks.sound import Wave, clip
from tasks.speech import SpeechClassification

ROOT = Path(__file__).resolve().parents[1]


def unequal(folder):
    """Record noise of several lengths; return the overrides of a run on it."""
    rng, rows = np.random.default_rng(0), []
    for number, part in enumerate(["train"] * 24 + ["valid"] * 12 + ["test"] * 17):
        length = 1500 + 40 * number if number % 7 == 0 else (1200, 1700, 3000)[number % 3]
        soundfile.write(folder / f"{number}.wav", 0.3 * rng.standard_normal(length).clip(-3, 3), 8000)
        rows.append(f"{number}.wav,{SPEECH_LABELS[number % 3]},,{part}")
    write_metadata(folder, rows)
    named = [f"+data.splits_of.{split}=[{split}]" for split in ("train", "valid", "test")]
    return ["task=speech", "data=audio_folder", f"data.folder={folder}", "data.columns.split=part", *named]


@pytest.mark.parametrize(("name", "apart"), [("wav2vec2", True), ("wav2vec2 layered", False)])
def test_clips_are_padded_together_only_where_padding_moves_no_answer(name, apart, tmp_path, monkeypatch):
    words = [*unequal(tmp_path), "backbone=speech_encoder", f"backbone.checkpoint={save_speech(name, tmp_path / 'n')}"]
    cell, widths = cell_of([*words, "method=full", "method.lr=0.003", "budget=smoke"]), []
    inputs = SpeechClassification.inputs

    def spied(self, features, processor):
        widths.append([f["length"] for f in features])
        return inputs(self, features, processor)

    monkeypatch.setattr(SpeechClassification, "inputs", spied)
    (tmp_path / "kept").mkdir()
    result = run_cell(cell, save=tmp_path / "kept")
    assert all(len(set(batch)) == 1 for batch in widths) == apart  # training, looks at valid, and predicting
    assert max(map(len, widths)) > 3  # equal ones do stand together
    record = Record(
        run_id="0", seed=0, config=choices_of(cell), task="speech", method="full", backbone="speech_encoder",
        status="done", data=result.data,
    )  # fmt: skip
    (tmp_path / "kept" / CELL).write_text(record.to_json())
    adapted = load(tmp_path / "kept", tmp_path / "n")
    examples = cell.task.splits()["test"]
    features = [cell.task.encode(e, adapted.processor, {}) for e in examples]
    with torch.no_grad():
        alone = [cell.task.predict(adapted.model, [f], adapted.processor)[0]["probabilities"] for f in features]
        together = cell.task.predict(adapted.model, features, adapted.processor)
    assert (widest(alone, [t["probabilities"] for t in together]) > 1e-3) == apart  # what padding would do
    assert widest(alone, [row["probabilities"] for row in result.examples if row["split"] == "test"]) < 1e-5
    assert result.data["counts"].get("test", {}) == ({"examples_padded_with_no_other": 2} if apart else {})

    widths.clear()
    monkeypatch.setattr(SpeechClassification, "answers", lambda self, output, *_: [
        {"prediction": dict(zip(SPEECH_LABELS, row, strict=True))} for row in output.logits.softmax(-1).tolist()
    ])  # fmt: skip
    assert widest(alone, adapted.answer([e.source for e in examples])) < 1e-5
    assert all(len(set(batch)) == 1 for batch in widths) == apart


def widest(some, others):
    """Give the largest difference between probabilities of the same name."""
    return max(
        abs(one[label] - other[label]) for one, other in zip(some, others, strict=True) for label in SPEECH_LABELS
    )


def test_a_step_of_clips_that_cannot_be_padded_together_is_the_step_of_their_whole():
    """Its examples stay those of every network; only the passes are more."""
    lengths = [5, 3, 5, 9, 3, 5]
    assert in_order(lengths, 2, lengths) == [[3], [0, 2], [5], [1, 4]]
    assert split_batches([4, 0, 3, 5, 1], 2, lengths) == [[4, 1], [0, 5], [3]]
    assert split_batches([4, 0, 3, 5, 1], 2) == [[4, 0], [3, 5], [1]]
    assert parts(list("abcdef"), [4, 0, 5, 1], 1, lengths) == [["e", "b"], ["a", "f"]]


BUDGET = build(OmegaConf.to_container(OmegaConf.load(ROOT / "configs/budget/smoke.yaml")), "budget")


@pytest.mark.parametrize("name", SPEECH)
def test_a_checkpoint_folder_is_loaded_and_nothing_is_masked_at_random(name, tmp_path):
    made = speech_backbone(save_speech(name, tmp_path / "network"))
    model, processor = made.load(BUDGET, Head(Kind.CLASSIFY, labels=SPEECH_LABELS))
    assert made.family == speech_family(name)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    batch = processor([np.ones(3, np.float32), np.sin(np.arange(4000)).astype(np.float32)])
    model.train()  # with dropout 0, training and evaluating are the same
    training = model(**batch).logits
    assert torch.equal(training, model(**batch).logits)
    assert torch.allclose(training, model.eval()(**batch).logits, atol=1e-6)
    model.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert [n for n, p in model.named_parameters() if "conv" in n and "pos_conv" not in n and p.grad is None] == []


def test_a_clip_shorter_than_a_frame_is_heard(tmp_path):
    model, processor = speech_backbone(save_speech("wav2vec2 layered", tmp_path)).load(
        BUDGET, Head(Kind.CTC, labels=SPEECH_LABELS)
    )
    assert processor.shortest == reach(model.config) == 10 + 3 * 5
    output = model(**processor([np.ones(2, np.float32)]))
    assert output.logits.shape == (1, 1, 4)
    assert output.mask.tolist() == [[1]]


@pytest.mark.parametrize("name", SPEECH)
def test_frames_are_counted_as_the_network_makes_them(name, tmp_path):
    model, processor = speech_backbone(save_speech(name, tmp_path)).load(BUDGET, Head(Kind.CTC, labels=SPEECH_LABELS))
    lengths = [2, 24, 25, 44, 45, 160, 161, 320, 321, 3000]
    with torch.no_grad():
        made = model(**processor([np.ones(n, np.float32) for n in lengths])).mask.sum(1)
    assert [processor.frames(n) for n in lengths] == made.tolist()


@pytest.mark.parametrize("name", ["wav2vec2 layered", "whisper"])
def test_an_answer_that_its_frames_cannot_hold_is_counted(name, tmp_path):
    model, processor = speech_backbone(save_speech(name, tmp_path)).load(BUDGET, Head(Kind.CTC, labels=("a", "b")))
    task = cell_of(["task=speech_recognition", "method=head"]).task
    counts, learnt = {}, []
    source = clip(Wave(np.sin(np.arange(1280 if name == "whisper" else 85)).astype(np.float32), processor.rate))
    for text in ("abab", "ababa", "aaba", "aab"):  # in four frames; a blank stands between two of the same
        features = task.encode(Example(text, source, (text,)), processor, counts)
        learnt.append(model(**task.collate([features], processor)).loss.item() > 0)  # torch's own verdict
    assert processor.frames(len(source.read().samples)) == 4
    assert learnt == [True, False, False, True]
    assert {n: c for n, c in counts.items() if "resampled" not in n} == {"answers_longer_than_frames": 2}


def test_what_the_shipped_network_still_knows_is_asked_of_its_last_layer():
    losses = []
    for layers in ("last", "weighted"):
        cell = cell_of(["task=speech", "method=head", f"backbone.layers={layers}"])
        model, _ = cell.backbone.load(BUDGET, Head(Kind.CLASSIFY, labels=SPEECH_LABELS))
        losses.append(cell.backbone.pretraining_loss(model.eval()))
    assert 0 < losses[0] < 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_wrong_checkpoints_are_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"backbone.layers: 'all' given, last or weighted wanted"):
        speech_backbone(tmp_path, layers="all")
    with pytest.raises(InputError, match=r"no config.json in"):
        _ = speech_backbone(tmp_path).family
    where = save_speech("hubert", tmp_path / "hubert")
    (where / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no feature extractor in"):
        _ = speech_backbone(where).family
    other = tmp_path / "bert"
    transformers.BertModel(
        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(other)
    feature_extractor("hubert").save_pretrained(other)
    with pytest.raises(InputError, match=r"is a bert network, one of wav2vec2, hubert, wavlm, whisper wanted"):
        _ = speech_backbone(other).family


def test_the_shipped_network_says_what_it_is():
    folder = ROOT / "benchmark/backbones/embedded/wav2vec2_words"
    config = json.loads((folder / "config.json").read_text())
    assert config["feat_extract_norm"] == "layer"
    assert config["do_stable_layer_norm"]
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    made = cell_of(["task=speech", "method=head"]).backbone
    model, processor = made.load(BUDGET, Head(Kind.CLASSIFY, labels=SPEECH_LABELS))
    assert processor.rate == RATE
    assert made.pretraining_loss(model) < 0.6 * np.log(50)  # far better than guessing among the phonemes
