"""Published sets: exact copies; broken, edited or duplicate ones are refused."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from factories import MT_ROWS, mt_record

from benchmark import publish
from benchmark.identity import run_id
from benchmark.records import Measurement, Store, published, shipped, sources
from benchmark.records.packed import ABOUT, ANSWERS, FILES, MEASUREMENTS, PackedStore, pack
from benchmark.report import frame

ROOT = Path(__file__).resolve().parents[1]
SET = ROOT / "results/published/reference"


def other(name="ffff00001111", **changes):
    return replace(mt_record(), run_id=name, **changes)


@pytest.fixture
def runs(tmp_path):
    """A folder with every kind of record, on two devices."""
    store = Store(tmp_path / "runs")
    for bleu, device in ((1.0, "cpu"), (2.0, "cuda"), (3.0, "cpu"), (4.0, "cpu")):
        store.append(mt_record(device, bleu=bleu), [{"prediction": bleu, "target": ["\ud83d"]}], replace=True)
    store.append(other(), [])
    store.append(other(task="asr", method="frozen"), MT_ROWS)
    store.append(other("0" * 12, status="failed", reason='\ud800 "x",\n"y"', measurements=()), None)
    store.append(other("1" * 12, status="skipped", environment={}), None)
    return store


def published_set(runs, *words):
    results = runs.folder.parent
    assert publish.main(["one", f"results={results}", *words]) == 0
    return PackedStore(results / "published/one")


def test_every_record_comes_back_to_the_bit_in_the_same_order(runs):
    packed = published_set(runs)
    assert [one.to_json() for one in packed.records()] == [one.to_json() for one in runs.records()]
    assert list(packed.versions()) == list(runs.versions("*", "*"))
    assert len(list(packed.versions())) == 8
    assert list(packed.of("nmt", "lora")) == list(runs.of("nmt", "lora"))
    assert list(packed.of("n*", "*")) == list(runs.of("nmt", "*"))
    assert list(packed.of("nmt", "dora")) == []


def test_a_record_is_found_by_its_cell_and_device(runs):
    packed = published_set(runs)
    for device in ("cpu", "cuda", "tpu"):
        assert packed.find("nmt", "lora", run_id(mt_record().config), device) == runs.find(
            "nmt", "lora", run_id(mt_record().config), device
        )
    assert packed.find("nmt", "lora", "unknown", "cpu") is None


def test_answers_come_back_row_by_row(runs):
    packed = published_set(runs)
    for one, answers in runs.versions("*", "*"):
        if answers is None:
            with pytest.raises(FileNotFoundError, match=one.run_id):
                packed.examples(one)
        else:
            assert packed.examples(one) == runs.examples(one) == answers
    first, second = packed.records(), list(packed.records())
    assert packed.stored(next(first)) == packed.stored(second[0]) != packed.stored(second[-1])


def test_a_folder_without_answers_or_measurements_is_packed_too(tmp_path):
    Store(tmp_path / "runs").append(mt_record(measurements=()), None)
    assert list(published_set(Store(tmp_path / "runs")).records()) == [mt_record(measurements=())]


def test_records_of_the_shipped_set_are_those_that_their_digests_name():
    """The digest is computed here from the JSON which the run wrote."""
    rows = pq.read_table(SET / FILES[0]).to_pylist()
    by_id = {one.run_id: one for one in shipped("*", "*")}
    assert len(rows) == len(by_id) == 548
    for row in rows[::60]:
        one = by_id[row["run_id"]]
        lines = one.to_json()[2:].rpartition(',\n"digest"')[0].replace(',\n"', '\n"')
        assert hashlib.sha256(lines.encode()).hexdigest()[:16] == row["digest"]
        answers = PackedStore(SET).examples(one) if row["answers"] is not None else []
        assert len(answers) == (row["answers"] or 0)
        assert run_id(one.config) == one.run_id
    assert sum(one.value("test", one.data["metric"]) is not None for one in by_id.values() if one.data) == 102


def test_a_published_set_says_what_made_it(runs):
    packed = published_set(runs, "overrides=+sweep=final device=cpu", "overrides=seed=3")
    told = json.loads((packed.folder / ABOUT).read_text())
    assert told["overrides"] == ["+sweep=final device=cpu", "seed=3"]
    assert told["records"] == {"done": 6, "failed": 1, "skipped": 1}
    assert [machine["records"] for machine in told["environments"]] == [6, 1, 1]
    assert sorted(told["sha256"]) == sorted(FILES)


def test_only_what_is_asked_for_is_packed(runs, capsys):
    assert {one.task for one in published_set(runs, "task=asr").records()} == {"asr"}
    assert publish.main(["two", f"results={runs.folder.parent}", "method=lroa"]) == 2
    assert "did you mean lora?" in capsys.readouterr().err


def test_nothing_can_be_added_to_a_published_set(runs):
    with pytest.raises(PermissionError, match="published"):
        published_set(runs).append(mt_record(), MT_ROWS)


@pytest.mark.parametrize("name", FILES)
def test_an_edited_set_is_named_and_left_out(name, runs):
    path = published_set(runs).folder / name
    table = pq.read_table(path)
    pq.write_table(table.slice(1), path)  # valid, and not what was published
    if name == ANSWERS:
        [first, *_] = PackedStore(path.parent).records()
        with (
            pytest.warns(UserWarning, match=f"one: answers are left out .{name} is not the published file"),
            pytest.raises(ValueError, match=f"{name} is not the published file"),
        ):
            PackedStore(path.parent).examples(first)
    else:
        with pytest.warns(UserWarning, match=f"one is left out .{name} is not the published file.*restore"):
            assert list(PackedStore(path.parent).records()) == []
    path.unlink()
    if name != ANSWERS:
        with pytest.warns(UserWarning, match="one is left out"):
            assert list(PackedStore(path.parent).records()) == []


def test_a_record_that_was_edited_before_its_set_was_sealed_is_refused(tmp_path):
    pack(tmp_path, [(mt_record(), None)], {})
    path, about = tmp_path / MEASUREMENTS, json.loads((tmp_path / ABOUT).read_text())
    table = pq.read_table(path)
    values = [value + 1 for value in table["value"].to_pylist()]
    pq.write_table(table.set_column(3, "value", [values]), path)
    about["sha256"][MEASUREMENTS] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / ABOUT).write_text(json.dumps(about))
    with pytest.raises(ValueError, match=f"the digest of nmt/lora/{mt_record().run_id} is wrong"):
        list(PackedStore(tmp_path).versions())


def test_a_set_of_a_newer_version_is_named_and_left_out(tmp_path):
    pack(tmp_path, [(mt_record(), None)], {})
    about = json.loads((tmp_path / ABOUT).read_text())
    (tmp_path / ABOUT).write_text(json.dumps(about | {"schema": 2}))
    with pytest.warns(UserWarning, match="schema 2 is newer than 1"):
        assert list(PackedStore(tmp_path).records()) == []


@pytest.mark.parametrize("damage", ["edit", "cut", "answers", "newer"])
def test_a_broken_record_is_refused_by_name_and_nothing_is_left(damage, runs, capsys):
    path = runs.folder / "asr" / "frozen" / "ffff00001111.json"
    text = path.read_text()
    if damage == "answers":
        rows = path.with_suffix(".examples.jsonl.gz")
        rows.write_bytes(rows.read_bytes()[:40])
    else:
        path.write_text(
            {"edit": text.replace("41.25", "91.25"), "cut": text[:90], "newer": text.replace('a": 1', 'a": 2')}[damage]
        )
    assert publish.main(["one", f"results={runs.folder.parent}"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"refused: {path}: ")
    assert err.count("\n") == 1
    assert list((runs.folder.parent / "published").glob("*")) == []


def test_a_taken_name_is_refused_unless_forced(runs, capsys):
    packed = published_set(runs)
    (packed.folder / "tables").mkdir()
    (packed.folder / "tables/nmt.md").write_text("a table")
    before = (packed.folder / FILES[0]).read_bytes()
    shutil.rmtree(runs.folder / "asr")
    assert publish.main(["one", f"results={runs.folder.parent}"]) == 2
    assert "one exists: give another name, or force=true" in capsys.readouterr().err
    assert (packed.folder / FILES[0]).read_bytes() == before
    again = published_set(runs, "force=true")
    assert {one.task for one in again.records()} == {"nmt"}
    assert (packed.folder / "tables/nmt.md").read_text() == "a table"
    assert [path.name for path in packed.folder.parent.iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one", "reslts=x"], "did you mean results"),
        (["one", "force="], "force= has no value"),
        (["--chek"], "did you mean --check"),
        (["--check", "tow"], "no such set; did you mean two?"),
        (["a", "b"], "one name is wanted, 2 given"),
        (["results=x"], "one name is wanted, 0 given"),
        (["yours"], "is not 'yours'"),
        (["../up"], "letters"),
        (["one", "results=none"], "no runs in none/runs"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_in_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pack_folder = tmp_path / "results/published/two"
    pack_folder.mkdir(parents=True)
    pack(pack_folder, [], {})
    assert publish.main(words) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("refused: ")
    assert err.count("\n") == 1


def test_published_runs_are_shown_once_and_a_later_one_beside_them(runs):
    results = runs.folder.parent
    published_set(runs)
    assert list(sources(results)) == ["one", "yours"]
    assert {source for source, _ in frame.load(results)} == {"one"}
    runs.append(mt_record(bleu=5.0, created="2026-01-01"), None, replace=True)
    assert [(s, one.value("test", "bleu")) for s, one in frame.load(results) if s == "yours"] == [("yours", 5.0)]


def test_several_sets_are_read(runs):
    results = runs.folder.parent
    assert publish.main(["b", f"results={results}", "task=asr"]) == 0
    assert publish.main(["a", f"results={results}", "task=nmt"]) == 0
    assert list(published(results)) == ["a", "b"]
    assert [(source, one.task) for source, one in frame.load(results)][-1] == ("b", "asr")


def test_a_stale_table_is_named_and_made_again(tmp_path, capsys):
    store = Store(tmp_path / "runs")
    for seed in (0, 1):
        scored = {"data": {"metric": "bleu"}, "measurements": (Measurement("test", "bleu", 3.5),)}
        store.append(other(f"{seed:012d}", seed=seed, **scored), None)
    assert publish.main(["one", f"results={tmp_path}"]) == 0
    table = tmp_path / "published/one/tables/nmt.md"
    table.parent.mkdir()
    table.write_text("old")
    assert publish.main(["--check", f"results={tmp_path}"]) == 1
    assert f"{table} is not that of the records" in capsys.readouterr().out
    assert publish.main(["--derive", "one", f"results={tmp_path}"]) == 0
    assert "3.50" in table.read_text()
    assert publish.main(["--check", f"results={tmp_path}"]) == 0
    assert not (tmp_path / "tables").exists()


@pytest.mark.slow
def test_the_shipped_tables_and_figures_are_those_of_the_shipped_records():
    assert publish.main(["--check", f"results={ROOT / 'results'}"]) == 0
