"""Surroundings that lack something: no user's folder, a working folder that is read-only, a lease of the dead."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import run
from benchmark.config.compose import cell_of, choices_of
from benchmark.records import Store
from benchmark.sweeps.lease import Lease
from benchmark.sweeps.options import RunOptions
from benchmark.sweeps.override_cache import Entry, OverrideCache

ROOT = Path(__file__).parents[1]
CELL = ["task=protein", "method=head", "budget=smoke", "budget.steps=2", "budget.max_test=8", "device=cpu"]
UNKNOWN = "import pwd\ndef unknown(*_): raise KeyError('uid')\npwd.getpwuid = pwd.getpwnam = unknown\n"
ODD_HOMES = ["no HOME", "a HOME that is a file", "no HOME and an unknown user"]
START = "import runpy, sys\nrunpy.run_module('benchmark.run', run_name='__main__', alter_sys=True)"


@pytest.mark.slow
@pytest.mark.parametrize("home", ODD_HOMES)
def test_without_a_users_folder_a_run_is_recorded(tmp_path, home):
    (tmp_path / "file").touch()
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "XDG_CACHE_HOME", "BENCHMARK_CACHE_DIR")}
    environment |= {"PYTHONPATH": str(ROOT)}
    if "file" in home:
        environment |= {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file" / "cache")}
    script = (UNKNOWN if "unknown" in home else "") + START
    short = "data.steps=5"  # the data are made anew, where no cache is
    words = [sys.executable, "-c", script, *CELL, short, f"results={tmp_path / 'results'}"]
    ended = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert len(list(Store(tmp_path / "results" / "runs").records())) == 1


@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"]])
def test_nothing_is_written_to_the_working_folder(tmp_path, monkeypatch, more):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    mkdir = os.mkdir

    def read_only(path, *given, **options):
        if here in (Path(os.path.abspath(path)), *Path(os.path.abspath(path)).parents):
            raise PermissionError(13, "read-only", str(path))
        mkdir(path, *given, **options)

    monkeypatch.setattr(os, "mkdir", read_only)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != here and real(path, mode))
    assert run.main([*CELL, *more, f"results={tmp_path / 'results'}"]) == 0
    assert not list(here.iterdir())


def test_a_single_run_takes_the_lease_of_the_dead_over(tmp_path, monkeypatch, capsys):
    config = choices_of(cell_of(CELL))
    lease = Lease.of(tmp_path / "runs" / "protein" / "head", config)
    with lease.hold():
        content = lease.file.read_text()
    lease.file.write_text(re.sub(r"(?m)^host=.*$", "host=elsewhere", content))
    old = time.time() - 3600
    os.utime(lease.file, (old, old))
    real, begun = time.monotonic, time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: begun + 100 * (real() - begun))  # a minute in less than one second
    assert run.main([*CELL, f"results={tmp_path}"]) == 0
    assert len(list(Store(tmp_path / "runs").records())) == 1
    assert "elsewhere holds this cell; waiting up to 60 s" in capsys.readouterr().out
    assert not lease.file.exists()


def test_the_same_save_again_is_already_recorded_and_anything_else_is_refused(tmp_path, capsys):
    words = [*CELL, f"results={tmp_path / 'results'}", f"save={tmp_path / 'adapter'}"]
    assert run.main(words) == 0
    (record,) = Store(tmp_path / "results" / "runs").records()
    written = [file.stat().st_size for file in (tmp_path / "adapter").glob("*.safetensors")]
    assert record.value("cost", "checkpoint_bytes") == sum(written)
    capsys.readouterr()
    assert run.main(words) == 0
    assert "already recorded" in capsys.readouterr().out
    for other in (["seed=1"], ["force=true"]):
        assert run.main([*words, *other]) == 2
        assert "the folder is not empty" in capsys.readouterr().err
    (tmp_path / "adapter" / "cell.json").write_text("{}")
    assert run.main(words) == 2


DAMAGED = ["[]", "{", "null", '["a"]', '[1, {"files": {}}]', '["KEY", null]', "[" * 100_000, "\x00", '["KEY", {}]']
DAMAGED += [f'["KEY", {{"task": {odd}, "method": "m", "run_id": "r", "training": "t"}}]' for odd in ("{}", "[1]", "7")]


def test_damaged_lines_of_composed_cells_are_made_again(tmp_path):
    cache, entry = OverrideCache(tmp_path), Entry("protein", "head", "r", "t")
    cache.add(["KEY"], entry)
    whole = json.loads(cache.path.read_text())
    odd = [["KEY", whole[1] | {name: value}] for name in whole[1] for value in ({}, [1], 7)]
    for line in (*DAMAGED, *(json.dumps(line) for line in odd if line[1]["files"] != {} or line[1] != whole[1])):
        cache.path.write_text(line + "\n")
        assert OverrideCache(tmp_path).get(["KEY"]) is None, line
    cache.path.write_bytes(b"\xff\xfe\n" + json.dumps(whole).encode() + b"\n")
    assert OverrideCache(tmp_path).get(["KEY"]) == entry


def test_no_folder_for_an_adapter_needs_no_folder_that_can_be_written_to():
    options = {"device": "cpu", "force": False, "retry": None, "shared": True, "attempts": 1}
    assert RunOptions(results="results", save=None, **options).check_save(None) is None


def test_a_number_out_of_range_within_a_sweep_is_refused_before_the_first_cell(tmp_path, capsys):
    for words in (["method.lr=0.1,1e9"], ["seed=0,-1"], ["budget.steps=2,1e99"], ["task.max_residues=choice(8,0)"]):
        assert run.main(["-m", *CELL, *words, f"results={tmp_path}"]) == 2, words
        assert words[0].partition("=")[0] in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))
