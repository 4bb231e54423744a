"""Inputs of users to an adapted network; invalid ones are refused."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from factories import run_cell
from omegaconf import OmegaConf
from PIL import Image

from benchmark import run
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.errors import InputError
from benchmark.saved import load
from benchmark.types import Bad, Example, Kind
from tasks.pictures import rescan
from tasks.sound import Wave, clip


def task_of(*words):
    return cell_of([*words, "method=head"]).task


def test_an_image_is_read_as_the_tasks_own_are(tmp_path):
    task = task_of("task=medical_images", "task.size=8")
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "patch.png")
    assert np.array_equal(task.source(tmp_path / "patch.png"), pixels)
    assert np.array_equal(task.source(pixels), pixels)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image .*broken.png cannot be decoded"):
        task.source(tmp_path / "broken.png")
    with pytest.raises(InputError, match=r"image .*gone.png: no such file"):
        task.source(str(tmp_path / "gone.png"))


def test_a_recording_is_read_and_an_empty_one_refused(tmp_path):
    task = task_of("task=speech")
    samples = np.sin(np.arange(4000) / 5).astype(np.float32) / 2
    soundfile.write(tmp_path / "a.wav", samples, 8000)
    soundfile.write(tmp_path / "empty.wav", samples[:0], 8000)
    wave = task.source(tmp_path / "a.wav").read()
    assert wave.rate == 8000
    assert np.allclose(wave.samples, samples, atol=1e-4)
    with pytest.raises(InputError, match=r"recording .*empty.wav is empty"):
        task.source(tmp_path / "empty.wav")


def test_a_sequence_is_read_in_either_case():
    assert task_of("task=protein").source(" mkT v*") == "MKTV"
    with pytest.raises(InputError, match=r"'MK1T': '1' at position 3 is no residue"):
        task_of("task=protein").source("MK1T")


def test_a_saved_adapter_with_a_new_head_answers_as_the_run_did(tmp_path):
    rows = ["sequence,target,set,validation"]
    rng = np.random.default_rng(0)
    for i in range(40):
        sequence = "".join(rng.choice(list("ACDEFGHIKL"), 12))
        part = "test,False" if i % 5 == 0 else f"train,{i % 5 == 1}"
        rows.append(f"{sequence},{sequence.count('A') * 3.0 + 100 + i / 100},{part}")
    (tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    words = ["task=protein_regression", f"data.files.all={tmp_path / 't.csv'}", "method=lora", "budget=smoke"]
    assert run.main([*words, "device=cpu", f"results={tmp_path / 'results'}", f"save={tmp_path / 'kept'}"]) == 0
    (stored,) = (tmp_path / "results").rglob("*.examples.jsonl.gz")
    rows = map(json.loads, gzip.decompress(stored.read_bytes()).splitlines())
    answers = {row["id"]: row["prediction"] for row in rows}
    task = cell_of(words).task
    examples = task.splits()["test"]
    again = load(tmp_path / "kept").answer([e.source for e in examples])
    assert len(again) == 8
    assert again == pytest.approx([answers[e.id] for e in examples], rel=1e-4)


def recordings(folder, speakers, takes):
    """Record speakers with a tone each; return the overrides of a run."""
    rows, rng = ["file_name,who"], np.random.default_rng(0)
    for speaker in range(speakers):
        for take in range(takes):
            pitch = 0.05 * (speaker + 1) + rng.normal(0, 0.002)
            samples = np.sin(np.arange(4000) * pitch).astype(np.float32) / 2
            soundfile.write(folder / f"{speaker}-{take}.wav", samples, 8000)
            rows.append(f"{speaker}-{take}.wav,s{speaker}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    words = ["task=speaker_verification", f"data.folder={folder}", "method=head", "budget=smoke"]
    return [*words, "data.columns.target=who", "data.columns.speaker=who"]


def test_a_verifier_is_asked_of_speakers_that_it_never_heard(tmp_path):
    result = run_cell(cell_of([*recordings(tmp_path, 4, 20), "+data.splits_of.test=[s2,s3]"]))
    scores = {m.name: m.value for m in result.measurements if m.split == "test"}
    assert result.data["sizes"]["test"] == 40
    assert result.data["head"]["labels"] == ("s0", "s1")
    assert scores["accuracy"] == 0  # no test speaker has a name that could be said
    assert 0.5 < scores["verification_accuracy"] <= 1  # a low and a high tone are told apart all the same


def test_speakers_test_whole_and_validate_in_part(tmp_path):
    splits = cell_of(recordings(tmp_path, 30, 3)).task.splits()
    train, valid, test = ({e.group for e in splits[name]} for name in ("train", "valid", "test"))
    assert valid <= train
    assert len(test) > 1
    assert not test & train
    assert not [e for examples in splits.values() for e in examples if isinstance(e.source, Bad)]


@pytest.mark.parametrize(
    ("split", "speakers", "reason"),
    [
        ("test", "aaaa", "split test has no speaker beside 'a', so that verification_accuracy cannot be computed"),
        ("test/far", "abcd", "split test/far has no speaker with two clips, so that"),
        ("valid", "aaaa", None),  # chosen by the loss
        ("test", "abcc", None),
    ],
)
def test_a_test_without_both_kinds_of_pairs_is_refused(split, speakers, reason):
    def said(names):
        return [Example(f"{i}", clip(Wave(np.ones(9, np.float32), 8000)), (who,)) for i, who in enumerate(names)]

    words = ["task=speaker_verification", "data.folder=x"]
    splits = {name: said("abab") for name in ("train", "valid", "test")} | {split: said(speakers)}
    refused_or_not(given(task_of(*words), **splits), reason)


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ("0101", "0000", "split test has no example of class '1', so that aupr cannot be computed"),
        ("0000", "0000", "split test has no class beside '0', so that"),
        ("0120", "0102", None),
        ("0120", "0110", "split test has no example of class '2'"),
        ("0101", "2000", None),  # 2 is told first, by its row
    ],
)
def test_a_test_of_pairs_that_lacks_a_class_is_refused(train, test, reason):
    def pairs(labels):
        return [Example(f"t.csv, row {i}", ("MKT", "MKV"), (label,)) for i, label in enumerate(labels)]

    words = ["task=protein_pairs", "data.files.all=x", "data.columns.partner=y"]
    task = given(task_of(*words), train=pairs(train), valid=pairs(train), test=pairs(test))
    refused_or_not(task, reason)
    head = task.head(Kind.CLASSIFY, pairs(train))
    said = [{"prediction": "0", "probabilities": dict.fromkeys(head.labels, 0.1)} for _ in test]
    if "2" in train or "2" not in test:  # the same verdict as the score's own
        assert ("aupr" in task.score(said, [e.targets for e in pairs(test)])) == (reason is None)


def refused_or_not(task, reason):
    if reason is None:
        assert task.splits()
    else:
        with pytest.raises(InputError, match=f"^{reason}"):
            task.splits()


def given(task, **splits):
    """Let a task read these examples in place of its data."""
    data = type("Given", (), {"splits": lambda self: splits})()
    object.__setattr__(task, "data", data)
    return task


def test_images_without_a_shift_of_their_own_are_seen_by_another_scanner():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(4)]
    examples = [Example(f"{i}", image, ("ab"[i % 2],)) for i, image in enumerate(images)]
    task = given(task_of("task=bloodmnist", "task.size=16"), train=examples, valid=examples, test=examples[:2])
    splits = task.splits()
    assert list(splits) == ["train", "valid", "test", "test/scanner"]
    for plain, seen in zip(splits["test"], splits["test/scanner"], strict=True):
        assert plain.targets == seen.targets
        assert seen.source.shape == plain.source.shape
        assert 0.6 <= np.std(rescan(np.tile(np.uint8([[0, 255]]), (64, 32)).repeat(8, 1), 0, 0)) / 127.5 <= 0.9
        assert not np.array_equal(seen.source, plain.source)
    assert np.array_equal(task.splits()["test/scanner"][0].source, splits["test/scanner"][0].source)


def test_recordings_without_a_shift_of_their_own_are_heard_in_noise():
    samples = np.sin(np.arange(8000) / 7).astype(np.float32) / 2
    examples = [Example(f"{i}", clip(Wave(samples, 8000)), ("ab"[i],)) for i in range(2)]
    task = given(task_of("task=cremad"), train=examples, valid=examples, test=examples)
    heard = task.splits()["test/noise"][1].source.read().samples
    plain = examples[1].source.read().samples
    scale = (heard @ plain) / (plain @ plain)  # what is too loud is turned down as a whole
    ratio = np.mean((scale * plain) ** 2) / np.mean((heard - scale * plain) ** 2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.3)


def test_proteins_without_a_shift_of_their_own_are_read_as_fragments():
    examples = [Example("a", "MKTVLAGHIK", ("HHHHHCCCCE",)), Example("b", "MKT", ("HCE",))]
    task = given(task_of("task=secondary_structure"), train=examples, valid=examples, test=examples)
    splits = task.splits()
    assert [e.source for e in splits["test/fragments"]] == ["MKTVLAGH", "MKT"]
    assert [e.targets for e in splits["test/fragments"]] == [(tuple("HHHHHCCC"),), (tuple("HCE"),)]
    assert [e.source for e in splits["test"]] == ["MKTVLAGHIK", "MKT"]


MEANINGS = [
    "name[The Vaults], eatType[pub], priceRange[more than £30], customer rating[5 out of 5], near[Café Adriatic]",
    "name[Bibimbap House], food[English]",
    "name[Cocum]",
]


def test_meanings_without_a_shift_of_their_own_are_read_in_another_order():
    examples = [Example(f"test/{i}", meaning, (f"text {i}", "another")) for i, meaning in enumerate(MEANINGS)]
    splits = given(task_of("task=e2e_nlg"), train=examples, valid=examples, test=examples).splits()
    assert list(splits) == ["train", "valid", "test", "test/order"]
    assert [e.source for e in splits["test"]] == MEANINGS
    long, short = splits["test/order"]  # one attribute alone has no other order
    assert short.source == "food[English], name[Bibimbap House]"
    assert long.source != MEANINGS[0]
    assert set(long.source.split(", ")) == set(MEANINGS[0].split(", "))
    assert [e.targets for e in (long, short)] == [e.targets for e in examples[:2]]
    assert {e.id for e in (long, short)}.isdisjoint(e.id for e in examples)
    alone = given(task_of("task=e2e_nlg"), train=examples, valid=examples, test=examples[:1]).splits()
    assert alone["test/order"] == [long]  # whatever else the test holds
    tasks = [given(task_of("task=e2e_nlg", f"task.order={i}"), test=examples) for i in range(6)]
    assert {task.splits()["test/order"][1].source for task in tasks} == {short.source}  # never as it was
    orders = {task.splits()["test/order"][0].source for task in tasks}
    assert len(orders) > 1


def test_a_source_without_attributes_has_no_other_order():
    splits = {"test": [Example("test/3", "def f(a, b):", ("x",))]}
    with pytest.raises(InputError, match=r"test/3: 'def f\(a, b\):' is no list like .*task.order=null"):
        given(task_of("task=text_generation", "task.order=0"), **splits).splits()
    assert list(given(task_of("task=text_generation"), **splits).splits()) == ["test"]


PACKS = ("commonsense", "glue", "glue_cola", "glue_stsb", "gsm8k", "summarisation")  # published sets as they are


def test_every_task_of_the_hub_has_a_shifted_test():
    for file in sorted((CONFIGS / "task").glob("*.yaml")):
        content = OmegaConf.load(file)
        data = OmegaConf.load(CONFIGS / "data" / f"{content.defaults[0]['override /data']}.yaml")
        own = [content.task.get(name) for name in ("scanner", "noise", "fragment", "order")]
        if "Hub" in data._target_ and file.stem not in PACKS:
            assert data.shifts or any(value is not None for value in own), file.stem
