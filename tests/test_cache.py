"""Prepared data: made once, also by several processes, until inputs change."""

import multiprocessing

import numpy as np
import pytest

from tasks import cache
from tasks.cache import load_or_make

MADE = []


def make():
    MADE.append(1)
    return {"x": np.arange(5), "words": np.array(["a", "bc"])}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCHMARK_CACHE_DIR", str(tmp_path))
    MADE.clear()
    return tmp_path


def test_the_same_key_is_made_once_and_another_again():
    first, second = load_or_make("numbers", {"n": 1}, make), load_or_make("numbers", {"n": 1}, make)
    assert len(MADE) == 1
    assert first.keys() == second.keys() == {"x", "words"}
    assert all(np.array_equal(first[name], second[name]) for name in first)
    load_or_make("numbers", {"n": 2}, make)
    assert len(MADE) == 2


def test_changed_source_code_is_another_key(monkeypatch):
    load_or_make("numbers", {}, make)
    monkeypatch.setattr(cache, "code_hashes", lambda make: {"a.py": "other code"})
    load_or_make("numbers", {}, make)
    assert len(MADE) == 2


@pytest.mark.parametrize("damage", [b"", b"no zip at all", None])
def test_a_broken_file_is_made_again(folder, damage):
    load_or_make("numbers", {}, make)
    (file,) = folder.glob("numbers-*.npz")
    file.write_bytes(file.read_bytes()[:60] if damage is None else damage)
    assert load_or_make("numbers", {}, make)["x"].sum() == 10
    assert len(MADE) == 2
    load_or_make("numbers", {}, make)
    assert len(MADE) == 2


def test_objects_are_refused_not_pickled(folder):
    with pytest.raises(ValueError, match="Object arrays cannot be saved when allow_pickle=False"):
        load_or_make("objects", {}, lambda: {"x": np.array([{}], dtype=object)})
    assert list(folder.iterdir()) == []


def test_without_a_place_to_write_nothing_is_kept(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCHMARK_CACHE_DIR", str(tmp_path / "file" / "below"))
    assert load_or_make("numbers", {}, make)["x"].sum() == 10


def total(_):
    return int(load_or_make("numbers", {"n": 3}, make)["x"].sum())


def test_processes_do_not_disturb_each_other(folder):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(total, range(16)) == [10] * 16
    assert len(list(folder.iterdir())) == 1


def test_every_file_beside_the_maker_is_part_of_the_key():
    found = cache.code_hashes(make)
    assert {"test_cache.py", "conftest.py"} <= found.keys()
    assert len(set(found.values())) > 2
