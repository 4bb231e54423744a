"""The store: records are never lost, overwritten or half written."""

import gzip
import json
import math
import multiprocessing
import os
import stat
import time
from dataclasses import replace

import pytest
from factories import MT_CHOICES, MT_ROWS, mt_record

from benchmark.identity import run_id
from benchmark.records import Record, Store


def test_the_store_gives_back_what_it_was_given(tmp_path):
    store = Store(tmp_path / "runs")
    path = store.append(mt_record(), MT_ROWS)
    assert path == tmp_path / "runs" / "nmt" / "lora" / f"{run_id(MT_CHOICES)}.json"
    assert store.find("nmt", "lora", run_id(MT_CHOICES), "cpu") == mt_record()
    assert list(store.records()) == [mt_record()]
    assert store.examples(mt_record()) == MT_ROWS
    assert store.find("nmt", "lora", "000000000000", "cpu") is None
    assert sorted(p.name for p in path.parent.iterdir()) == [path.stem + ".examples.jsonl.gz", path.name]


def test_files_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        path = Store(tmp_path).append(mt_record(), MT_ROWS)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_same_rows_same_bytes_and_an_answer_gone_wrong_is_null(tmp_path):
    paths = [Store(tmp_path / name).append(mt_record(), [*MT_ROWS, {"nll": math.nan}]) for name in "ab"]
    first, second = (p.with_suffix(".examples.jsonl.gz").read_bytes() for p in paths)
    assert first == second
    assert first[4:8] == bytes(4)  # RFC 1952: the time stamp
    assert json.loads(gzip.decompress(first).splitlines()[-1]) == {"nll": None}


def test_nothing_recorded_is_overwritten(tmp_path):
    store = Store(tmp_path)
    path = store.append(mt_record(bleu=1.0), MT_ROWS[:1])
    assert store.append(mt_record(bleu=2.0), MT_ROWS) == path
    assert store.find("nmt", "lora", run_id(MT_CHOICES), "cpu") == mt_record(bleu=1.0)
    assert store.examples(mt_record(bleu=1.0)) == MT_ROWS[:1]


def test_a_replaced_record_is_kept_under_the_next_number(tmp_path):
    store = Store(tmp_path)
    path = store.append(mt_record(bleu=1.0), MT_ROWS[:1])
    store.append(mt_record(bleu=2.0), MT_ROWS, replace=True)
    store.append(mt_record(bleu=3.0, status="failed"), None, replace=True)
    values = {p.name: Record.from_json(p.read_text()).value("test", "bleu") for p in path.parent.glob("*.json")}
    assert values == {f"{path.stem}.1.json": 1.0, f"{path.stem}.2.json": 2.0, path.name: 3.0}
    assert [r.value("test", "bleu") for r in store.records()] == [3.0]
    assert store.examples(mt_record(bleu=1.0)) == MT_ROWS[:1]
    assert store.examples(mt_record(bleu=2.0)) == MT_ROWS
    assert not path.with_suffix(".examples.jsonl.gz").exists()


def test_device_types_stand_side_by_side(tmp_path):
    store = Store(tmp_path)
    cpu, cuda, newer = mt_record(bleu=1.0), mt_record("cuda", bleu=2.0), mt_record("cuda", bleu=3.0)
    store.append(cpu, MT_ROWS)
    store.append(cuda, MT_ROWS[:1])
    assert store.append(mt_record(bleu=9.0), MT_ROWS).name.endswith(".1.json")  # the cpu has one, if under a number
    store.append(newer, None, replace=True)
    name = run_id(MT_CHOICES)
    assert store.find("nmt", "lora", name, "cpu") == cpu
    assert store.find("nmt", "lora", name, "cuda") == newer
    assert store.find("nmt", "lora", name, "mps") is None
    assert sorted(store.records(), key=lambda r: r.device) == [cpu, newer]
    assert store.examples(cpu) == MT_ROWS


def _finish(folder, start, number):
    publish = os.replace
    os.replace = lambda *paths: (publish(*paths), time.sleep(0.1))  # the moment in which another one could come in
    start.wait()
    Store(folder).append(mt_record(bleu=float(number)), [{"prediction": number}])


def test_processes_that_finish_the_same_cell_leave_one_valid_record(tmp_path):
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


def _die_while_writing(folder):
    os.fsync = lambda handle: os._exit(9)
    Store(folder).append(mt_record(), MT_ROWS)


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path):
    worker = multiprocessing.get_context("fork").Process(target=_die_while_writing, args=(tmp_path,))
    worker.start()
    worker.join(30)
    assert worker.exitcode == 9
    (leftover,) = (tmp_path / "nmt" / "lora").iterdir()
    assert list(Store(tmp_path).records()) == []
    Store(tmp_path).append(mt_record(), MT_ROWS)
    assert list(Store(tmp_path).records()) == [mt_record()]
    assert leftover.exists()


@pytest.mark.parametrize("failing", ["replace", "link"])
def test_an_interrupt_between_two_files_loses_nothing(failing, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    store = Store(tmp_path)
    store.append(mt_record(bleu=1.0), MT_ROWS[:1])
    with monkeypatch.context() as patch:
        patch.setattr(os, failing, interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.append(mt_record(bleu=2.0), MT_ROWS, replace=True)
    assert list(store.records()) == [mt_record(bleu=1.0)]
    assert store.examples(mt_record(bleu=1.0)) == MT_ROWS[:1]


def test_without_hard_links_the_promises_hold(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    store = Store(tmp_path)
    store.append(mt_record(bleu=1.0), MT_ROWS[:1])
    store.append(mt_record(bleu=2.0), MT_ROWS)
    assert list(store.records()) == [mt_record(bleu=1.0)]
    store.append(mt_record(bleu=3.0), MT_ROWS, replace=True)
    assert list(store.records()) == [mt_record(bleu=3.0)]
    assert store.examples(mt_record(bleu=1.0)) == MT_ROWS[:1]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 0}', '{"run_id": "x", "status": "done"}', "\x00"])
def test_a_broken_file_is_named_and_replaced(content, tmp_path):
    store = Store(tmp_path)
    good = replace(mt_record(), run_id="0123456789ab")
    broken = store.append(mt_record(), None)
    store.append(good, None)
    broken.write_text(content)
    with pytest.warns(UserWarning, match=f"{broken.name} is left out.*delete it"):
        assert list(store.records()) == [good]
    with pytest.warns(UserWarning, match=broken.name):
        assert store.append(mt_record(), MT_ROWS) == broken
    assert Record.from_json(broken.read_text()) == mt_record()


def test_published_records_are_read_only(tmp_path):
    with pytest.raises(PermissionError, match="published"):
        Store(tmp_path, read_only=True).append(mt_record(), MT_ROWS)
    assert list(tmp_path.iterdir()) == []
