"""Records: they are read as written, have one name, and are never lost."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import multiprocessing
import os
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.errors import MalformedError, NewerSchemaError
from benchmark.identity import content_hash, fingerprinted, run_id
from benchmark.records import Measurement, Record, Store, answers_digest, file_name, thin

CONFIG = {"task": {"_target_": "tasks.nmt.Nmt", "locale": "si"}, "method": {"rank": 8, "lr": 0.01}, "seed": 1}
ROWS = [{"id": "a", "prediction": "ව", "target": ["වම"]}, {"id": "b", "prediction": "", "target": ["x", "y"]}]


def record(device: str = "cpu", status: str = "done", bleu: float = 41.25, **changes: object) -> Record:
    values = {
        "run_id": run_id(CONFIG),
        "task": "nmt",
        "method": "lora",
        "backbone": "mbart_cldr",
        "seed": 1,
        "status": status,
        "created": "2025-01-02T03:04:05+00:00",
        "config": CONFIG,
        "data": {"fingerprint": "ab12", "metric": "bleu", "sizes": {"train": 10}},
        "modules": ["decoder.q", "decoder.v"],
        "signatures": {"bleu": "nrefs:1|case:mixed"},
        "environment": {"device": device, "commit": None},
        "measurements": (
            Measurement("valid", "loss", 1 / 3, 10),
            Measurement("valid", "loss", 0.1),
            Measurement("test", "bleu", bleu),
        ),
    }
    return Record(**values | changes)


def test_a_record_comes_back_exactly() -> None:
    original = record(reason='ව \u2028 "quoted"\nsecond line')
    assert Record.from_json(original.to_json()) == original


def test_the_public_keys_stand_in_their_documented_order() -> None:
    content = json.loads(record().to_json())
    assert " ".join(content) == (
        "schema run_id task method backbone seed status reason created config data modules signatures environment "
        "measurements digest"
    )
    assert content["measurements"][0] == {"split": "valid", "name": "loss", "value": 1 / 3, "step": 10}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_absent(value: float) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    content = json.loads(record(bleu=value).to_json(), parse_constant=refuse)
    assert [m["name"] for m in content["measurements"]] == ["loss", "loss"]
    assert record(bleu=value).value("test", "bleu") is None


def test_value_is_the_final_one_not_a_point_of_the_curve() -> None:
    assert record().value("valid", "loss") == 0.1
    assert record().value("test", "bleu") == 41.25
    assert record().value("test", "chrf") is None


@pytest.mark.parametrize(("size", "kept"), [(0, 0), (1, 1), (100, 100), (101, 100), (12345, 100)])
def test_thin_keeps_the_ends_the_order_and_at_most_a_hundred(size: int, kept: int) -> None:
    thinned = thin(range(size))
    assert len(thinned) == len(set(thinned)) == kept
    assert thinned == sorted(thinned)
    assert thinned[:1] + thinned[-1:] == list(range(size))[:1] + list(range(size))[-1:]


def test_run_id_is_the_documented_hash() -> None:
    text = '{"method":{"lr":0.01,"rank":8},"seed":1,"task":{"_target_":"tasks.nmt.Nmt","locale":"si"}}'
    assert run_id(CONFIG) == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_run_id_knows_choices_only() -> None:
    worded = {"seed": 1, "method": {"lr": 0.01, "search": {"lr": [0.1]}, "rank": 8, "description": "low rank"}}
    worded["task"] = CONFIG["task"]
    assert run_id(worded) == run_id(CONFIG)
    assert run_id(CONFIG | {"seed": 2}) != run_id(CONFIG)
    assert run_id(CONFIG | {"method": {"rank": 8.0, "lr": 0.01}}) != run_id(CONFIG)


def test_a_file_enters_by_name_and_content_never_by_place(tmp_path: Path) -> None:
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


def test_a_folder_enters_by_its_files(tmp_path: Path) -> None:
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


def test_words_are_not_taken_for_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_choice_that_json_lacks_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="clip: inf"):
        run_id({"budget": {"clip": math.inf}})


def test_the_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    path = store.append(record(), ROWS)
    assert path == tmp_path / "runs" / "nmt" / "lora" / f"{run_id(CONFIG)}.json"
    assert store.find("nmt", "lora", run_id(CONFIG), "cpu") == record()
    assert list(store.records()) == [record()]
    assert store.examples(record()) == ROWS
    assert store.find("nmt", "lora", "000000000000", "cpu") is None
    assert sorted(p.name for p in path.parent.iterdir()) == [path.stem + ".examples.jsonl.gz", path.name]


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = Store(tmp_path).append(record(), ROWS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_same_rows_same_bytes_and_an_answer_gone_wrong_is_null(tmp_path: Path) -> None:
    paths = [Store(tmp_path / name).append(record(), [*ROWS, {"nll": math.nan}]) for name in "ab"]
    first, second = (p.with_suffix(".examples.jsonl.gz").read_bytes() for p in paths)
    assert first == second
    assert first[4:8] == bytes(4)  # RFC 1952: the time stamp
    assert json.loads(gzip.decompress(first).splitlines()[-1]) == {"nll": None}


def test_nothing_recorded_is_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.append(record(bleu=1.0), ROWS[:1])
    assert store.append(record(bleu=2.0), ROWS) == path
    assert store.find("nmt", "lora", run_id(CONFIG), "cpu") == record(bleu=1.0)
    assert store.examples(record(bleu=1.0)) == ROWS[:1]


def test_a_replaced_record_is_kept_under_the_next_number(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.append(record(bleu=1.0), ROWS[:1])
    store.append(record(bleu=2.0), ROWS, replace=True)
    store.append(record(bleu=3.0, status="failed"), None, replace=True)
    values = {p.name: Record.from_json(p.read_text()).value("test", "bleu") for p in path.parent.glob("*.json")}
    assert values == {f"{path.stem}.1.json": 1.0, f"{path.stem}.2.json": 2.0, path.name: 3.0}
    assert [r.value("test", "bleu") for r in store.records()] == [3.0]
    assert store.examples(record(bleu=1.0)) == ROWS[:1]
    assert store.examples(record(bleu=2.0)) == ROWS
    assert not path.with_suffix(".examples.jsonl.gz").exists()


def test_device_types_stand_side_by_side(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cpu, cuda, newer = record(bleu=1.0), record("cuda", bleu=2.0), record("cuda", bleu=3.0)
    store.append(cpu, ROWS)
    store.append(cuda, ROWS[:1])
    assert store.append(record(bleu=9.0), ROWS).name.endswith(".1.json")  # the cpu has one, if under a number
    store.append(newer, None, replace=True)
    name = run_id(CONFIG)
    assert store.find("nmt", "lora", name, "cpu") == cpu
    assert store.find("nmt", "lora", name, "cuda") == newer
    assert store.find("nmt", "lora", name, "mps") is None
    assert sorted(store.records(), key=lambda r: r.device) == [cpu, newer]
    assert store.examples(cpu) == ROWS


def _finish(folder: Path, start: object, number: int) -> None:
    publish = os.replace
    os.replace = lambda *paths: (publish(*paths), time.sleep(0.1))  # the moment in which another one could come in
    start.wait()
    Store(folder).append(record(bleu=float(number)), [{"prediction": number}])


def test_processes_that_finish_the_same_cell_leave_one_valid_record(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    workers = [context.Process(target=_finish, args=(tmp_path, start, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    (only,) = Store(tmp_path).records()
    assert len(list((tmp_path / "nmt" / "lora").iterdir())) == 2
    assert Store(tmp_path).examples(only) == [{"prediction": only.value("test", "bleu")}]


def _die_while_writing(folder: Path) -> None:
    os.fsync = lambda handle: os._exit(9)
    Store(folder).append(record(), ROWS)


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    worker = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(tmp_path,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 9
    (leftover,) = (tmp_path / "nmt" / "lora").iterdir()
    assert list(Store(tmp_path).records()) == []
    Store(tmp_path).append(record(), ROWS)
    assert list(Store(tmp_path).records()) == [record()]
    assert leftover.exists()


@pytest.mark.parametrize("failing", ["replace", "link"])
def test_an_interrupt_between_two_files_loses_nothing(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    store = Store(tmp_path)
    store.append(record(bleu=1.0), ROWS[:1])
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.append(record(bleu=2.0), ROWS, replace=True)
    assert list(store.records()) == [record(bleu=1.0)]
    assert store.examples(record(bleu=1.0)) == ROWS[:1]


def test_without_hard_links_the_promises_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(tmp_path)
    store.append(record(bleu=1.0), ROWS[:1])
    store.append(record(bleu=2.0), ROWS)
    assert list(store.records()) == [record(bleu=1.0)]
    store.append(record(bleu=3.0), ROWS, replace=True)
    assert list(store.records()) == [record(bleu=3.0)]
    assert store.examples(record(bleu=1.0)) == ROWS[:1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 0}', '{"run_id": "x", "status": "done"}', "\x00"])
def test_a_broken_file_is_named_and_replaced(content: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    good = replace(record(), run_id="0123456789ab")
    broken = store.append(record(), None)
    store.append(good, None)
    broken.write_text(content)
    with pytest.warns(UserWarning, match=f"{broken.name} is left out.*delete it"):
        assert list(store.records()) == [good]
    with pytest.warns(UserWarning, match=broken.name):
        assert store.append(record(), ROWS) == broken
    assert Record.from_json(broken.read_text()) == record()


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "x"}, {"config": {"budget": "x"}}, {"environment": [1]}, {"data": None}, {"seed": "0"},
        {"method": 5}, {"measurements": None}, {"measurements": [["test", "bleu", 1]]},
        *({"measurements": [{"split": "test", "name": "bleu", "value": 1, "step": None} | odd]}
          for odd in ({"value": 10**400}, {"value": "1"}, {"value": None}, {"step": "1"}, {"split": 3})),
    ],
)  # fmt: skip
def test_a_file_with_fields_of_another_kind_is_left_out(changes: dict, tmp_path: Path) -> None:
    path = Store(tmp_path).append(record(), None)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content))
    assert list(Store(tmp_path).records()) == [record()]  # the first records had no digest
    path.write_text(json.dumps(content | changes))
    with pytest.warns(UserWarning, match=f"{path.name} is left out, it is no record"):
        assert not list(Store(tmp_path).records())


def test_a_file_of_brackets_is_left_out(tmp_path: Path) -> None:
    path = Store(tmp_path).append(record(), None)
    path.write_text("[" * 100_000)
    with pytest.warns(UserWarning, match="is left out"):
        assert not list(Store(tmp_path).records())


def test_published_records_are_read_only(tmp_path: Path) -> None:
    with pytest.raises(PermissionError, match="published"):
        Store(tmp_path, read_only=True).append(record(), ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_was_edited_is_named_and_not_read(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.append(record(measurements=(Measurement("test", "bleu", 12.5),)), None)
    assert list(store.records())
    path.write_text(path.read_text().replace("12.5", "92.5"))
    with pytest.warns(UserWarning, match=f"{path.name} is left out, .*edited or damaged"):
        assert list(store.records()) == []
    path.write_text(path.read_text()[:200])
    with pytest.warns(UserWarning, match=f"{path.name} is left out"):
        assert list(store.records()) == []


def test_a_record_without_a_digest_is_an_old_one(tmp_path: Path) -> None:
    old = json.loads(record().to_json())
    del old["digest"]
    assert Record.from_json(json.dumps(old)) == record(created=old["created"])


def test_a_newer_record_is_refused_by_name_and_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.append(record(), None)
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
def test_a_record_that_would_end_a_report_is_left_out_by_name(changes: dict, tmp_path: Path) -> None:
    path = Store(tmp_path).append(record(), None)
    content = json.loads(path.read_text())
    del content["digest"]
    path.write_text(json.dumps(content | changes))
    with pytest.warns(UserWarning, match=f"{path.name} is left out"):
        assert not list(Store(tmp_path).records())


@pytest.mark.parametrize("place", ["nmt/lora/copy.json", "nmt/lora2/RUN.json", "other/lora/RUN.json"])
def test_a_copied_record_counts_once_and_is_named(place: str, tmp_path: Path) -> None:
    path = Store(tmp_path).append(record(), None)
    copy = tmp_path / place.replace("RUN", path.stem)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match=rf"{copy.name} is left out, .*copy of nmt/lora/{path.stem}"):
        assert list(Store(tmp_path).records()) == [record()]
    if copy.stem == path.stem:
        with pytest.warns(UserWarning, match="copy of"):
            assert Store(tmp_path).find(*place.split("/")[:2], path.stem, "cpu") is None


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_left_out_by_name(kind: str, tmp_path: Path) -> None:
    path = Store(tmp_path).append(record(), None)
    odd = path.with_name("0123456789ab.json")
    odd.mkdir() if kind == "folder" else os.mkfifo(odd)
    with pytest.warns(UserWarning, match=f"{odd.name} is left out, .*a folder or a pipe"):
        assert list(Store(tmp_path).records()) == [record()]


def bound(rows: list[dict]) -> Record:
    return replace(record(), data=record().data | {"answers_digest": answers_digest(rows)})


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"[1]\n"), gzip.compress(b"x" * 999)[:-12], "other"],
    ids=["empty", "no gzip", "no row", "cut", "other"],
)
def test_answers_that_are_not_the_records_are_refused_by_name(content: bytes | str, tmp_path: Path) -> None:
    store, made = Store(tmp_path), bound(ROWS)
    path = store.append(made, ROWS)
    assert store.examples(made) == ROWS
    answers = path.with_suffix(".examples.jsonl.gz")
    if content == "other":
        content = gzip.compress(b'{"prediction": "another run\'s"}\n')
    answers.write_bytes(content)
    with pytest.warns(UserWarning, match=answers.name), pytest.raises(MalformedError, match=answers.name):
        store.examples(made)
    with pytest.raises(MalformedError, match=answers.name):
        list(store.versions("*", "*"))


@pytest.mark.parametrize("text", ["..", "../../README", "/etc/passwd", "a\nb", ".hidden", "x" * 300, "\ud800"])
def test_a_files_name_stays_in_its_folder(text: str) -> None:
    name = file_name(text)
    assert Path(name).name == name
    assert not name.startswith(".")
    assert len(name) < 100
    assert file_name(text + "x") != name
