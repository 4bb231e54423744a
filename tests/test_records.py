"""Records: read as written, named by their choices, broken ones left out."""

import gzip
import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from factories import MT_CHOICES, MT_ROWS, mt_record

from benchmark.errors import MalformedError, NewerSchemaError
from benchmark.identity import content_hash, fingerprinted, run_id
from benchmark.records import Measurement, Record, Store, answers_digest, file_name, thin


def test_a_record_comes_back_exactly():
    original = mt_record(reason='ව \u2028 "quoted"\nsecond line')
    assert Record.from_json(original.to_json()) == original


def test_the_public_keys_stand_in_their_documented_order():
    content = json.loads(mt_record().to_json())
    assert " ".join(content) == (
        "schema run_id task method backbone seed status reason created config data modules signatures environment "
        "measurements digest"
    )
    assert content["measurements"][0] == {"split": "valid", "name": "loss", "value": 1 / 3, "step": 10}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_absent(value):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    content = json.loads(mt_record(bleu=value).to_json(), parse_constant=refuse)
    assert [m["name"] for m in content["measurements"]] == ["loss", "loss"]
    assert mt_record(bleu=value).value("test", "bleu") is None


def test_value_is_the_final_one_not_a_point_of_the_curve():
    assert mt_record().value("valid", "loss") == 0.1
    assert mt_record().value("test", "bleu") == 41.25
    assert mt_record().value("test", "chrf") is None


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (1, 1), (100, 100), (101, 100), (12345, 100)])
def test_thin_keeps_the_ends_the_order_and_at_most_a_hundred(size, kept):
    thinned = thin(range(size))
    assert len(thinned) == len(set(thinned)) == kept
    assert thinned == sorted(thinned)
    assert thinned[:1] + thinned[-1:] == list(range(size))[:1] + list(range(size))[-1:]


def test_run_id_is_the_documented_hash():
    text = '{"method":{"lr":0.01,"rank":8},"seed":1,"task":{"_target_":"tasks.nmt.Nmt","locale":"si"}}'
    assert run_id(MT_CHOICES) == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_run_id_knows_choices_only():
    worded = {"seed": 1, "method": {"lr": 0.01, "search": {"lr": [0.1]}, "rank": 8, "description": "low rank"}}
    worded["task"] = MT_CHOICES["task"]
    assert run_id(worded) == run_id(MT_CHOICES)
    assert run_id(MT_CHOICES | {"seed": 2}) != run_id(MT_CHOICES)
    assert run_id(MT_CHOICES | {"method": {"rank": 8.0, "lr": 0.01}}) != run_id(MT_CHOICES)


def test_a_file_enters_by_name_and_content_never_by_place(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.csv").write_bytes(b"mr,ref\n")
    one, two = ({"data": {"files": [str(tmp_path / f / "train.csv")]}} for f in ("one", "two"))
    expected = {"name": "train.csv", "sha256": hashlib.sha256(b"mr,ref\n").hexdigest()}
    assert fingerprinted(one) == {"data": {"files": [expected]}}
    assert run_id(one) == run_id(two) == run_id(fingerprinted(one))
    assert str(tmp_path) not in json.dumps(fingerprinted(one))
    (tmp_path / "two" / "train.csv").write_bytes(b"mr,reg\n")
    assert run_id(one) != run_id(two)


def test_a_folder_enters_by_its_files(tmp_path):
    for place in ("here", "there"):
        (tmp_path / place / "ckpt" / "sub").mkdir(parents=True)
        (tmp_path / place / "ckpt" / "config.json").write_text("{}")
        (tmp_path / place / "ckpt" / "sub" / "weights").write_text("w")
    here, there = tmp_path / "here" / "ckpt", tmp_path / "there" / "ckpt"
    (there / ".cache").mkdir()
    (there / ".cache" / "downloaded").write_text("yesterday")
    assert content_hash(here) == content_hash(there)
    (there / "sub" / "weights").rename(there / "sub" / "other")
    assert content_hash(here) != content_hash(there)


def test_words_are_not_taken_for_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "source").mkdir()
    (tmp_path / "target").write_text("")
    words = {"columns": {"source": "source", "target": "target"}, "between": "/", "hub": "facebook/mbart", "dot": "."}
    assert fingerprinted(words) == words
    (tmp_path / "data.csv").write_text("x")
    assert fingerprinted({"a": "data.csv", "b": "source"}, paths={"b"}) == {
        "a": {"name": "data.csv", "sha256": hashlib.sha256(b"x").hexdigest()},
        "b": {"name": "source", "sha256": hashlib.sha256(b"").hexdigest()},
    }
    assert fingerprinted({"b": Path("source")})["b"]["name"] == "source"


def test_a_choice_that_json_lacks_is_refused_by_name():
    with pytest.raises(ValueError, match="clip: inf"):
        run_id({"budget": {"clip": math.inf}})


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "x"}, {"config": {"budget": "x"}}, {"environment": [1]}, {"data": None}, {"seed": "0"},
        {"method": 5}, {"measurements": None}, {"measurements": [["test", "bleu", 1]]},
        *({"measurements": [{"split": "test", "name": "bleu", "value": 1, "step": None} | odd]}
          for odd in ({"value": 10**400}, {"value": "1"}, {"value": None}, {"step": "1"}, {"split": 3})),
    ],
)  # fmt: skip
def test_a_file_with_fields_of_another_kind_is_left_out(changes, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert list(Store(tmp_path).records()) == [mt_record()]  # the first records had no digest
    path.write_text(json.dumps(content | changes))
    with pytest.warns(UserWarning, match=f"{path.name} is left out, it is no record"):
        assert not list(Store(tmp_path).records())


def test_a_file_of_brackets_is_left_out(tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    path.write_text("[" * 100_000)
    with pytest.warns(UserWarning, match="is left out"):
        assert not list(Store(tmp_path).records())


def test_a_record_that_was_edited_is_named_and_not_read(tmp_path):
    store = Store(tmp_path)
    path = store.append(mt_record(measurements=(Measurement("test", "bleu", 12.5),)), None)
    assert list(store.records())
    path.write_text(path.read_text().replace("12.5", "92.5"))
    with pytest.warns(UserWarning, match=f"{path.name} is left out, .*edited or damaged"):
        assert list(store.records()) == []
    path.write_text(path.read_text()[:200])
    with pytest.warns(UserWarning, match=f"{path.name} is left out"):
        assert list(store.records()) == []


def test_a_record_without_a_digest_is_an_old_one(tmp_path):
    old = json.loads(mt_record().to_json())
    del old["digest"]
    assert Record.from_json(json.dumps(old)) == mt_record(created=old["created"])


def test_a_newer_record_is_refused_by_name_and_stays(tmp_path):
    store = Store(tmp_path)
    path = store.append(mt_record(), None)
    later = path.read_text().replace('"schema": 1', '"schema": 2')
    path.write_text(later)
    with pytest.raises(NewerSchemaError, match=rf"{path.name}: schema 2 is newer than 1: .*another results folder"):
        store.find("nmt", "lora", path.stem, "cpu")
    with pytest.warns(UserWarning, match=rf"{path.name} is left out and kept, a newer .*: read it with") as told:
        assert list(store.records()) == []
    assert "delete" not in str(told[0].message)
    assert path.read_text() == later


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "../../README"}, {"method": "/etc"}, {"run_id": "a/b"}, {"backbone": {"name": "x"}},
        {"task": "\ud800"},
        {"config": {"budget": {"name": "../x"}}}, {"data": {"metric": {}}}, {"data": {"headlines": {"test": 1}}},
        {"environment": {"device": []}}, {"environment": {"load_average": "high"}}, {"seed": 1 << 70}, {"reason": 5},
        *({"measurements": [{"split": "test", "name": "bleu", "value": 1, "step": None} | odd]}
          for odd in ({"value": 1e308}, {"step": 1 << 40}, {"step": -1}, {"name": "\ud800"}, {"split": "a\nb"})),
    ],
)  # fmt: skip
def test_a_record_that_would_end_a_report_is_left_out_by_name(changes, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content | changes))
    with pytest.warns(UserWarning, match=f"{path.name} is left out"):
        assert not list(Store(tmp_path).records())


@pytest.mark.parametrize("place", ["nmt/lora/copy.json", "nmt/lora2/RUN.json", "other/lora/RUN.json"])
def test_a_copied_record_counts_once_and_is_named(place, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    copy = tmp_path / place.replace("RUN", path.stem)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match=rf"{copy.name} is left out, .*copy of nmt/lora/{path.stem}"):
        assert list(Store(tmp_path).records()) == [mt_record()]
    if copy.stem == path.stem:
        with pytest.warns(UserWarning, match="copy of"):
            assert Store(tmp_path).find(*place.split("/")[:2], path.stem, "cpu") is None


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_left_out_by_name(kind, tmp_path):
    path = Store(tmp_path).append(mt_record(), None)
    odd = path.with_name("0123456789ab.json")
    odd.mkdir() if kind == "folder" else os.mkfifo(odd)
    with pytest.warns(UserWarning, match=f"{odd.name} is left out, .*a folder or a pipe"):
        assert list(Store(tmp_path).records()) == [mt_record()]


def bound(rows):
    return replace(mt_record(), data=mt_record().data | {"answers_digest": answers_digest(rows)})


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"[1]\n"), gzip.compress(b"x" * 999)[:-12], "other"],
    ids=["empty", "no gzip", "no row", "cut", "other"],
)
def test_answers_that_are_not_the_records_are_refused_by_name(content, tmp_path):
    store, made = Store(tmp_path), bound(MT_ROWS)
    path = store.append(made, MT_ROWS)
    assert store.examples(made) == MT_ROWS
    answers = path.with_suffix(".examples.jsonl.gz")
    if content == "other":
        content = gzip.compress(b'{"prediction": "another run\'s"}\n')
    answers.write_bytes(content)
    with pytest.warns(UserWarning, match=answers.name), pytest.raises(MalformedError, match=answers.name):
        store.examples(made)
    with pytest.raises(MalformedError, match=answers.name):
        list(store.versions("*", "*"))


@pytest.mark.parametrize("text", ["..", "../../README", "/etc/passwd", "a\nb", ".hidden", "x" * 300, "\ud800"])
def test_a_files_name_stays_in_its_folder(text):
    name = file_name(text)
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name) < 100
    assert file_name(text + "x") != name
