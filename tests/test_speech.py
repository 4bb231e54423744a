"""Speech: clips, files, encoders under a new head, disjoint pretraining."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import peft
import pytest
import soundfile
import torch
import transformers
from factories import run_cell
from omegaconf import OmegaConf

from benchmark.backbones import roles
from benchmark.backbones.hearing import Hearing, reach
from benchmark.backbones.speech import Speech
from benchmark.config.build import build
from benchmark.config.compose import cell_of, choices_of
from benchmark.engine.batches import in_order, split_batches
from benchmark.engine.train import parts
from benchmark.errors import InputError
from benchmark.methods.houlsby import Bottleneck, Houlsby, add_bottleneck
from benchmark.records import Record
from benchmark.saved import CELL, load
from benchmark.types import Bad, Example, Head, Kind
from tasks.audio_files import AudioFolder
from tasks.embedded.espeak import Utterance, person, speak, variants
from tasks.embedded.spoken_words import plain
from tasks.embedded.voices import CAST, RATE, cast, phrases
from tasks.sound import Wave, add_noise, at_rate, clip, fault, recording
from tasks.speech import SpeakerVerification, SpeechClassification, equal_error_rate

ROOT = Path(__file__).resolve().parents[1]
CONV = {"conv_dim": [8, 8], "conv_kernel": [10, 4], "conv_stride": [5, 4], "num_conv_pos_embeddings": 4}
SHAPE = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_conv_pos_embedding_groups": 2, **CONV,
}  # fmt: skip
LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
WHISPER = {
    "d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "num_mel_bins": 8, "max_source_positions": 50, "vocab_size": 20,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3,
}  # fmt: skip
NETWORKS = {  # the class of every configuration of the hub, and our own shape
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model, SHAPE),
    "wav2vec2 layered": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model, SHAPE | LAYERED),
    "hubert": (transformers.HubertConfig, transformers.HubertModel, SHAPE),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel, SHAPE),
    "whisper": (transformers.WhisperConfig, transformers.WhisperModel, WHISPER),
}
LABELS = ("go", "stop", "yes")


def encoder(name):
    """Build a random network whose every parameter is random, norms and biases too."""
    config, model, shape = NETWORKS[name]
    torch.manual_seed(0)
    network = model(config(**shape, layerdrop=0.0) if name != "whisper" else config(**shape)).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return network.get_encoder() if name == "whisper" else network


def hearing(name, kind=Kind.CLASSIFY, weighted=False):
    torch.manual_seed(1)
    return Hearing(encoder(name), Head(kind, labels=LABELS), weighted).eval()


def extractor(name):
    if name == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=1)
    return transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=True, return_attention_mask=False)


def heard(name, *lengths):
    """Give random clips as the network reads them."""
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(n).astype(np.float32) for n in lengths]
    rate = extractor(name).sampling_rate
    padding = "max_length" if name == "whisper" else "longest"
    return dict(
        extractor(name)(clips, sampling_rate=rate, padding=padding, return_attention_mask=True, return_tensors="pt")
    )


def family(name):
    return name.split()[0]


def cell_for(name):
    return SimpleNamespace(backbone=SimpleNamespace(family=family(name)), kind=Kind.CLASSIFY)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [Kind.CLASSIFY, Kind.CTC])
def test_forward_and_backward_with_either_head(name, weighted, kind):
    model = hearing(name, kind, weighted)
    labels = torch.tensor([0, 2]) if kind == Kind.CLASSIFY else torch.tensor([[1, 2, 1], [3, -100, -100]])
    output = model(**heard(name, 3000, 2000), labels=labels)
    output.loss.backward()
    assert output.logits.shape[-1] == (3 if kind == Kind.CLASSIFY else 4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.new_head.parameters())
    assert hasattr(model.new_head, "mix") == weighted
    if weighted:  # the embedding and every block
        assert model.new_head.mix.shape == (3,)
        assert model.new_head.mix.grad.abs().min() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_the_last_of_all_layers_is_what_a_head_on_the_last_one_reads(name):
    batch = heard(name, 3000, 2000)
    (layers, _), (last, _) = (hearing(name, weighted=weighted).states(**batch) for weighted in (True, False))
    assert len(layers) == 3
    assert torch.equal(layers[-1], last)
    assert not torch.equal(layers[-2], last)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_frame_mask_counts_real_frames(name):
    batch = heard(name, 3000, 1200)
    _, mask = hearing(name).states(**batch)
    if name == "whisper":  # 160 samples to a spectrum, two of which make a frame
        assert mask.sum(1).tolist() == [10, 4]
    else:  # by hand: (n - 10) // 5 + 1, then (n - 4) // 4 + 1
        assert mask.sum(1).tolist() == [149, 59]


def test_a_padded_clip_is_heard_as_alone():
    """Layer-normed convolutions are masked; group-normed ones are not padded."""
    long, short = np.random.default_rng(1).standard_normal((2, 3000)).astype(np.float32)
    for name, same in (("wav2vec2 layered", True), ("wav2vec2", False)):
        model, prepare = hearing(name), extractor(name)
        options = {"sampling_rate": 8000, "padding": True, "return_attention_mask": True, "return_tensors": "pt"}
        with torch.no_grad():
            alone = model(**prepare([short[:1700]], **options)).logits[0]
            padded = model(**prepare([long, short[:1700]], **options)).logits[1]
        assert torch.allclose(alone, padded, atol=1e-5) == same


def unequal(folder):
    """Record noise of several lengths; return the overrides of a run on it."""
    rng, rows = np.random.default_rng(0), []
    for number, part in enumerate(["train"] * 24 + ["valid"] * 12 + ["test"] * 17):
        length = 1500 + 40 * number if number % 7 == 0 else (1200, 1700, 3000)[number % 3]
        soundfile.write(folder / f"{number}.wav", 0.3 * rng.standard_normal(length).clip(-3, 3), 8000)
        rows.append(f"{number}.wav,{LABELS[number % 3]},,{part}")
    write(folder, rows)
    named = [f"+data.splits_of.{split}=[{split}]" for split in ("train", "valid", "test")]
    return ["task=speech", "data=audio_folder", f"data.folder={folder}", "data.columns.split=part", *named]


@pytest.mark.parametrize(("name", "apart"), [("wav2vec2", True), ("wav2vec2 layered", False)])
def test_clips_are_padded_together_only_where_padding_moves_no_answer(name, apart, tmp_path, monkeypatch):
    words = [*unequal(tmp_path), "backbone=speech_encoder", f"backbone.checkpoint={folder_of(name, tmp_path / 'n')}"]
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
        {"prediction": dict(zip(LABELS, row, strict=True))} for row in output.logits.softmax(-1).tolist()
    ])  # fmt: skip
    assert widest(alone, adapted.answer([e.source for e in examples])) < 1e-5
    assert all(len(set(batch)) == 1 for batch in widths) == apart


def widest(some, others):
    """Give the largest difference between probabilities of the same name."""
    return max(abs(one[label] - other[label]) for one, other in zip(some, others, strict=True) for label in LABELS)


def test_a_step_of_clips_that_cannot_be_padded_together_is_the_step_of_their_whole():
    """Its examples stay those of every network; only the passes are more."""
    lengths = [5, 3, 5, 9, 3, 5]
    assert in_order(lengths, 2, lengths) == [[3], [0, 2], [5], [1, 4]]
    assert split_batches([4, 0, 3, 5, 1], 2, lengths) == [[4, 1], [0, 5], [3]]
    assert split_batches([4, 0, 3, 5, 1], 2) == [[4, 0], [3, 5], [1]]
    assert parts(list("abcdef"), [4, 0, 5, 1], 1, lengths) == [["e", "b"], ["a", "f"]]


def test_pooling_leaves_padding_out():
    model, batch = hearing("hubert"), heard("hubert", 3000, 1500)
    states, mask = model.states(**batch)
    real = int(mask[1].sum())
    by_hand = model.new_head.project(states[1, :real].mean(0))
    assert real < states.shape[1]
    assert torch.allclose(model(**batch).logits[1], by_hand, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_adapter_at_every_role_changes_the_output_and_has_a_gradient(name):
    batch = heard(name, 3000, 2000)
    for role in sorted(roles._roles(family(name))):
        model = hearing(name)
        before = model(**batch).logits
        for chosen in roles.resolve(dict(model.named_modules()), family(name), [role]):
            module = model.get_submodule(chosen)
            if role == "norm":
                module.weight.grad = None
                touched, nudge = module.weight, module.weight
            else:
                width = module.out_features
                module.adapter = Bottleneck(width, 2, "gelu")
                module.register_forward_hook(add_bottleneck)
                touched = nudge = module.adapter.up.weight
            model.zero_grad()
            model(**batch, labels=torch.tensor([0, 1])).loss.backward()
            assert touched.grad is not None, chosen
            assert touched.grad.abs().sum() > 0, chosen
            kept = nudge.detach().clone()
            with torch.no_grad():
                nudge.add_(torch.randn_like(nudge))
                assert not torch.allclose(model(**batch).logits, before, atol=1e-7), chosen
                nudge.copy_(kept)


def test_what_is_wrapped_around_the_attention_of_wavlm_does_nothing():
    """Hence only its feed-forward roles; if the library changes, offer more."""
    model, batch = hearing("wavlm"), heard("wavlm", 3000)
    before = model(**batch).logits
    called = []
    for block in model.encoder.encoder.layers:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            getattr(block.attention, name).register_forward_hook(lambda *_: called.append(1))
    assert torch.equal(model(**batch).logits, before)
    assert called == []
    assert roles.refusal("wavlm", ["query"]) is not None
    assert roles.expand("wavlm", ["default"]) == ["down", "up"]


@pytest.mark.parametrize("name", NETWORKS)
def test_default_roles_are_the_linear_layers_of_the_blocks(name):
    modules = dict(hearing(name).named_modules())
    blocks = [n for n, m in modules.items() if isinstance(m, torch.nn.Linear) and ".layers." in n]
    if name == "wavlm":
        blocks = [n for n in blocks if "feed_forward" in n]
    assert roles.resolve(modules, family(name), ["default"]) == blocks
    norms = [n for n, m in modules.items() if isinstance(m, torch.nn.LayerNorm | torch.nn.GroupNorm)]
    assert roles.resolve(modules, family(name), ["norm"]) == norms


def lora(name):
    model = hearing(name)
    chosen = roles.resolve(dict(model.named_modules()), family(name), ["default"])
    config = peft.LoraConfig(r=4, target_modules=chosen, modules_to_save=["new_head"], init_lora_weights=False)
    return peft.get_peft_model(model, config)


@pytest.mark.parametrize("name", NETWORKS)
def test_lora_learns_and_comes_back_from_its_file(name, tmp_path):
    batch = heard(name, 3000, 2000)
    torch.manual_seed(2)
    model = lora(name).eval()
    model(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "lora_B" in n)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(hearing(name), tmp_path).eval()
    assert torch.allclose(again(**batch).logits, model(**batch).logits, atol=1e-6)
    assert not torch.allclose(hearing(name)(**batch).logits, model(**batch).logits, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in NETWORKS if n != "wavlm"])
def test_bottlenecks_learn_and_come_back_from_their_file(name, tmp_path):
    batch = heard(name, 3000, 2000)
    method = Houlsby(description="", search={}, sized_by=None, lr=1e-3, bottleneck=4, activation="gelu", norms=True)
    model = method.attach(hearing(name), cell_for(name))
    before = model(**batch, labels=torch.tensor([0, 1]))
    before.loss.backward()
    ups = [p for n, p in model.named_parameters() if "adapter.up.weight" in n]
    assert len(ups) == 4
    assert all(p.grad.abs().sum() > 0 for p in ups)
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.requires_grad):
            p.add_(torch.randn_like(p), alpha=0.1)
    method.save(model, tmp_path)
    again = method.restore(hearing(name), tmp_path, cell_for(name)).eval()
    assert torch.allclose(again(**batch).logits, model(**batch).logits, atol=1e-6)
    assert not torch.allclose(before.logits, model(**batch).logits, atol=1e-4)


def folder_of(name, where):
    where.mkdir(parents=True, exist_ok=True)
    config, model, shape = NETWORKS[name]
    torch.manual_seed(0)
    model(config(**shape)).save_pretrained(where)
    extractor(name).save_pretrained(where)
    return where


def backbone(where, **changes):
    fields = {"description": "", "lr_scale": 1.0, "head_lr": None, "revision": None, "weights": "pretrained"}
    return Speech(**{**fields, "layers": "last", "checkpoint": str(where), **changes})


BUDGET = build(OmegaConf.to_container(OmegaConf.load(ROOT / "configs/budget/smoke.yaml")), "budget")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_checkpoint_folder_is_loaded_and_nothing_is_masked_at_random(name, tmp_path):
    made = backbone(folder_of(name, tmp_path / "network"))
    model, processor = made.load(BUDGET, Head(Kind.CLASSIFY, labels=LABELS))
    assert made.family == family(name)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    batch = processor([np.ones(3, np.float32), np.sin(np.arange(4000)).astype(np.float32)])
    model.train()  # with dropout 0, training and evaluating are the same
    training = model(**batch).logits
    assert torch.equal(training, model(**batch).logits)
    assert torch.allclose(training, model.eval()(**batch).logits, atol=1e-6)
    model.train()(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert [n for n, p in model.named_parameters() if "conv" in n and "pos_conv" not in n and p.grad is None] == []


def test_a_clip_shorter_than_a_frame_is_heard(tmp_path):
    model, processor = backbone(folder_of("wav2vec2 layered", tmp_path)).load(BUDGET, Head(Kind.CTC, labels=LABELS))
    assert processor.shortest == reach(model.config) == 10 + 3 * 5
    output = model(**processor([np.ones(2, np.float32)]))
    assert output.logits.shape == (1, 1, 4)
    assert output.mask.tolist() == [[1]]


@pytest.mark.parametrize("name", NETWORKS)
def test_frames_are_counted_as_the_network_makes_them(name, tmp_path):
    model, processor = backbone(folder_of(name, tmp_path)).load(BUDGET, Head(Kind.CTC, labels=LABELS))
    lengths = [2, 24, 25, 44, 45, 160, 161, 320, 321, 3000]
    with torch.no_grad():
        made = model(**processor([np.ones(n, np.float32) for n in lengths])).mask.sum(1)
    assert [processor.frames(n) for n in lengths] == made.tolist()


@pytest.mark.parametrize("name", ["wav2vec2 layered", "whisper"])
def test_an_answer_that_its_frames_cannot_hold_is_counted(name, tmp_path):
    model, processor = backbone(folder_of(name, tmp_path)).load(BUDGET, Head(Kind.CTC, labels=("a", "b")))
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
        model, _ = cell.backbone.load(BUDGET, Head(Kind.CLASSIFY, labels=LABELS))
        losses.append(cell.backbone.pretraining_loss(model.eval()))
    assert 0 < losses[0] < 2
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_wrong_checkpoints_are_refused_with_the_reason(tmp_path):
    with pytest.raises(InputError, match=r"backbone.layers: 'all' given, last or weighted wanted"):
        backbone(tmp_path, layers="all")
    with pytest.raises(InputError, match=r"no config.json in"):
        _ = backbone(tmp_path).family
    where = folder_of("hubert", tmp_path / "hubert")
    (where / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match=r"no feature extractor in"):
        _ = backbone(where).family
    other = tmp_path / "bert"
    transformers.BertModel(
        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(other)
    extractor("hubert").save_pretrained(other)
    with pytest.raises(InputError, match=r"is a bert network, one of wav2vec2, hubert, wavlm, whisper wanted"):
        _ = backbone(other).family


def test_ctc_is_decoded_by_merging_repeats_and_dropping_blanks():
    task = cell_of(["task=speech_recognition", "method=head"]).task
    head = Head(Kind.CTC, labels=(" ", "a", "b"))  # classes: 0 blank, 1 space, 2 a, 3 b
    path = [0, 2, 2, 0, 2, 3, 3, 1, 1, 3, 0, 2, 2]
    logits = torch.nn.functional.one_hot(torch.tensor([path, path]), 4).float()
    mask = torch.ones(2, len(path), dtype=torch.long)
    mask[1, 6:] = 0
    answers = task.answers(SimpleNamespace(logits=logits, mask=mask), [{}, {}], head)
    assert [a["prediction"] for a in answers] == ["aab ba", "aab"]


def test_scores_by_hand():
    recognition = cell_of(["task=speech_recognition", "method=head"]).task
    scores = recognition.score([{"prediction": "red cat"}, {"prediction": ""}], [("red hat",), ("sun",)])
    assert scores == pytest.approx({"character_accuracy": 1 - 4 / 10, "cer": 4 / 10, "wer": 2 / 3})
    speech = cell_of(["task=speech", "method=head"]).task
    said = [{"prediction": w, "probabilities": {}} for w in ("yes", "yes", "yes", "no")]
    scores = speech.score(said, [("yes",), ("yes",), ("no",), ("no",)])
    assert (scores["accuracy"], scores["unweighted_average_recall"]) == (0.75, 0.75)
    scores = speech.score(said[:3], [("yes",), ("yes",), ("no",)])
    assert (scores["accuracy"], scores["unweighted_average_recall"]) == (pytest.approx(2 / 3), 0.5)


def test_equal_error_rate_by_hand():
    same = np.array([True, True, True, True, False, False, False, False])
    assert equal_error_rate(np.array([9, 8, 7, 6, 4, 3, 2, 1.0]), same) == 0
    assert equal_error_rate(np.array([9, 8, 7, 3, 6, 2, 1, 0.0]), same) == 0.25  # one of four on either side
    assert equal_error_rate(-np.array([9, 8, 7, 6, 4, 3, 2, 1.0]), same) == 1


def test_speakers_are_verified_over_every_pair():
    fields = {"description": "", "version": 1, "skip_bad": False, "max_seconds": 1.0}
    task = SpeakerVerification(data=None, noise=None, **fields)
    head = Head(Kind.CLASSIFY, labels=("ann", "bob"))
    logits = torch.tensor([[2.0, 0.1], [4.0, 0.3], [0.1, 1.0], [0.2, 3.0]])
    answers = task.answers(SimpleNamespace(logits=logits), [{}] * 4, head)
    scores = task.score(answers, [("ann",), ("ann",), ("bob",), ("bob",)])
    assert (scores["equal_error_rate"], scores["verification_accuracy"]) == (0.0, 1.0)
    mixed = task.score(answers, [("ann",), ("bob",), ("ann",), ("bob",)])  # the two alike are never the same
    assert mixed["equal_error_rate"] > 0.4


# ---- sound


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


# ---- eSpeak NG


def test_the_same_words_sound_the_same_in_every_process(tmp_path):
    """The second process speaks something else first, with another cache."""
    asked = [Utterance("seven", "gmw/en-US", v, 160, 50, 50) for v in ("klatt", "m3", "whisper", "Annie", "croak")]
    here = speak(asked, RATE)
    code = (
        "import hashlib; from tasks.embedded.espeak import Utterance, speak; "
        "speak([Utterance('before', 'gmw/en', 'f2', 120, 20, 90)], 8000); "
        f"asked = [Utterance(*u) for u in {[list(u) for u in asked]!r}]; "
        "print(hashlib.sha256(b''.join(s.samples.tobytes() for s in speak(asked, 8000))).hexdigest())"
    )
    import hashlib
    import os

    environment = {**os.environ, "BENCHMARK_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == hashlib.sha256(b"".join(s.samples.tobytes() for s in here)).hexdigest()
    assert len({s.samples.tobytes() for s in here}) == len(here)


def test_phonemes_are_told_when_they_are_spoken():
    rate = 22_050  # an s is high: little of it is left at 8 kHz
    (spoken,) = speak([Utterance("see", "gmw/en-US", "m1", 150, 50, 50)], rate)
    names = [plain(name) for name, _ in spoken.phonemes]
    assert [n for n in names if n != "_"] == ["s", "i"]
    begins = [at for _, at in spoken.phonemes]
    assert begins == sorted(begins)
    assert begins[-1] <= len(spoken.samples) / rate + 0.01
    hiss, vowel = (spoken.samples[int(begins[i] * rate) : int(begins[i + 1] * rate)] for i in (0, 1))
    assert centre(hiss) > 2 * centre(vowel)  # s is high, the vowel is low


def centre(samples):
    """Find the middle of the spectrum, as a fraction of its width."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return float((power * np.linspace(0, 1, len(power))).sum() / power.sum())


def test_names_of_phonemes_lose_stress_and_length_alone():
    assert [plain(n) for n in ("'O@", "t2", "3:", "_:", "'0", ",i@3", "r-", "@L", "a#")] == [
        "O@", "t", "3", "_", "0", "i@", "r", "@L", "a",
    ]  # fmt: skip


def test_what_espeak_refuses_is_said():
    with pytest.raises(InputError, match=r"could not speak 1 utterances: .*no voice 'gmw/en-XX\+m1'"):
        speak([Utterance("yes", "gmw/en-XX", "m1", 150, 50, 50)], RATE)
    with pytest.raises(InputError, match=r"no voice 'gmw/en\+nobody'"):
        speak([Utterance("yes", "gmw/en", "nobody", 150, 50, 50)], RATE)


def test_without_espeak_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match=r'pip install -e "\.\[embedded\]"'):
        speak([Utterance("yes", "gmw/en", "m1", 150, 50, 50)], RATE)


def test_every_voice_belongs_to_one_split():
    members = {role: {v for moods in cast(role).values() for v in moods} for role in CAST}
    assert sum(map(len, members.values())) == len(variants()) == len(set.union(*members.values()))
    assert all(len(cast(role)) >= 7 for role in CAST)
    assert [person(v) for v in ("steph2", "m2", "f5", "anikaRobot", "klatt6")] == [
        "steph",
        "m2",
        "f5",
        "anika",
        "klatt",
    ]


@pytest.fixture(scope="module")
def tasks():
    return {name: cell_of([f"task={name}", "method=head"]).task for name in ("speech", "speech_recognition")}


@pytest.mark.parametrize("name", ["speech", "speech_recognition"])
def test_no_speaker_and_no_clip_stands_in_two_splits(tasks, name):
    splits = tasks[name].splits()
    assert not any(isinstance(e.source, Bad) for examples in splits.values() for e in examples)
    groups = [{e.group for e in examples} for examples in splits.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    clips = [str(e.source) for examples in splits.values() for e in examples]
    assert len(clips) == len(set(clips))
    assert [str(e.source) for e in tasks[name].splits()["test"]] == [str(e.source) for e in splits["test"]]


def test_the_shifted_test_of_recognition_says_unseen_words(tasks):
    splits = tasks["speech_recognition"].splits()
    words = {name: {w for e in examples for w in e.targets[0].split()} for name, examples in splits.items()}
    assert not words["test/unseen"] & (words["train"] | words["valid"] | words["test"])
    assert words["test"] <= words["train"]


def test_phrases_use_every_word_as_often():
    drawn = [w for phrase in phrases(["a", "b", "c"], 50, 3, "x") for w in phrase.split()]
    counts = [drawn.count(w) for w in "abc"]
    assert max(counts) - min(counts) <= 1
    assert {len(p.split()) for p in phrases(["a", "b", "c"], 50, 3, "x")} == {1, 2, 3}


def test_pretraining_shares_no_word_no_sound_of_a_word_and_no_voice_with_the_tasks(tasks):
    recipe = OmegaConf.load(ROOT / "configs/pretrain/wav2vec2_words.yaml")
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    said = {w for t in tasks.values() for s in t.splits().values() for e in s for w in e.targets[0].split()}
    assert not said & set(corpus.words)
    accents = ["gmw/en", "gmw/en-US"]

    def sounds(words):
        asked = [Utterance(w, a, "m2", 160, 50, 50) for a in accents for w in sorted(words)]
        return {tuple(plain(n) for n, _ in s.phonemes if not n.startswith("_")) for s in speak(asked, RATE)}

    assert not sounds(said) & sounds(corpus.words)  # no and know, right and write
    voices = {e.group for t in tasks.values() for s in t.splits().values() for e in s}
    assert not voices & set(cast("pretraining"))


# ---- the user's files


def write(folder, rows, header="file_name,label,speaker,part"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metadata.csv").write_text("\n".join([header, *rows]) + "\n")


def tone(file, hertz=300.0, rate=8000, seconds=0.2, channels=1):
    samples = np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    soundfile.write(file, np.stack([samples] * channels, 1) * 0.5, rate)


def files(folder, splits_of=None, **columns):
    columns = {"file": "file_name", "target": "label", **columns}
    return AudioFolder(
        description="", folder=str(folder), metadata="metadata.csv", columns=columns, splits_of=splits_of or {}
    )


def test_speakers_are_held_out_by_name_or_by_hash(tmp_path):
    rows = []
    for speaker in range(30):
        for take in range(2):
            tone(tmp_path / f"{speaker}_{take}.wav", 200 + speaker)
            rows.append(f"{speaker}_{take}.wav,{take},s{speaker},")
    write(tmp_path, rows)
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
    rows = []
    for number in range(60):
        tone(tmp_path / f"{number}.wav", 200 + number)
        rows.append(f"{number}.wav,a,x,{'tr' if number % 3 else 'te'}")
    write(tmp_path, rows)
    splits = files(tmp_path, {"train": ["tr"], "test": ["te"]}, split="part").splits()
    assert len(splits["test"]) == 20
    assert len(splits["train"]) + len(splits["valid"]) == 40
    assert 1 <= len(splits["valid"]) <= 10
    with pytest.raises(InputError, match=r"no split 'dev' in metadata.csv"):
        files(tmp_path, {"train": ["tr"], "valid": ["dev"], "test": ["te"]}, split="part").splits()


def test_bad_rows_name_file_and_row(tmp_path):
    tone(tmp_path / "good.wav")
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(100), 8000)
    names = ["good.wav", "text.wav", "empty.wav", "nan.wav", "silent.wav", "missing.wav"]
    write(tmp_path, [*(f"{name},a,x,train" for name in names), "good.wav,,x,train"])
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
    write(tmp_path, ["good.wav,a,x,train"])
    with pytest.raises(InputError, match=r"metadata.csv: no column 'who'; it has file_name, label, speaker, part"):
        files(tmp_path, speaker="who").splits()
    with pytest.raises(InputError, match=r"data.columns.target"):
        AudioFolder(description="", folder="", metadata="", columns={"file": "file_name"}, splits_of={})


def test_channels_are_averaged_and_rates_resampled_and_counted(tmp_path, tasks):
    tone(tmp_path / "a.wav", 440, rate=44_100, seconds=3.0, channels=2)
    source = recording(tmp_path / "a.wav", "")
    counts = {}
    processor = SimpleNamespace(rate=8000, longest=None)
    features = tasks["speech"].features(source, processor, counts)
    assert counts == {"resampled_44100_to_8000_hz_by_soxr": 1, "cut_clips": 1}
    assert features["length"] == len(features["samples"]) == 16_000
    assert np.abs(np.fft.rfft(features["samples"])).argmax() == 880  # of two seconds
    assert fault(Wave(np.zeros(0, np.float32), 8000)) == "is empty"


def test_the_hub_keeps_recordings_encoded(tmp_path, monkeypatch):
    import datasets

    from tasks.audio_files import AudioHub

    tone(tmp_path / "a.wav", 440)
    (tmp_path / "b.wav").write_text("no sound")
    audio = [{"bytes": (tmp_path / name).read_bytes(), "path": None} for name in ("a.wav", "b.wav")]
    table = datasets.Dataset.from_dict({"audio": audio, "label": [1, 0]})
    table = table.cast_column("label", datasets.ClassLabel(names=["no", "yes"]))
    table = table.cast_column("audio", datasets.Audio(decode=True, sampling_rate=8000))
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: table)
    hub = AudioHub(
        description="", id="a/b", config=None, revision=None, splits_of={s: s for s in ("train", "valid", "test")},
        shifts={}, columns={"file": "audio", "target": "label"},
    )  # fmt: skip
    good, bad = hub.splits()["train"]
    assert good.id == "a/b (train), row 0"
    assert good.targets == ("yes",)
    assert good.source.read().rate == 8000
    assert "a/b (train), row 1 cannot be decoded" in bad.source.reason


# ---- what ships


def test_the_shipped_network_says_what_it_is():
    folder = ROOT / "benchmark/backbones/embedded/wav2vec2_words"
    config = json.loads((folder / "config.json").read_text())
    assert config["feat_extract_norm"] == "layer"
    assert config["do_stable_layer_norm"]
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    made = cell_of(["task=speech", "method=head"]).backbone
    model, processor = made.load(BUDGET, Head(Kind.CLASSIFY, labels=LABELS))
    assert processor.rate == RATE
    assert made.pretraining_loss(model) < 0.6 * np.log(50)  # far better than guessing among the phonemes
