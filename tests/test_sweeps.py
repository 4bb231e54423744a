"""Sweeps: the same command again does only what is left; failures are results."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from factories import stored_records

from benchmark import run
from benchmark.sweeps.execute import Process

ROOT = Path(__file__).parents[1]


def test_the_same_command_again_does_only_what_is_missing(toy_sweep, tmp_path, capsys):
    assert run.main([*toy_sweep[:-2], "method=lora", "device=cpu", f"results={tmp_path}"]) == 0
    first = stored_records(tmp_path)
    assert len(first) == 2
    assert run.main(toy_sweep) == 0
    assert "4 cells: 2 done; 2 to run" in capsys.readouterr().out
    both = stored_records(tmp_path)
    assert {k: both[k] for k in first} == first  # as they were, times and all
    assert len(both) == 4
    assert run.main(toy_sweep) == 0
    assert stored_records(tmp_path) == both
    assert not list(tmp_path.rglob(".*.lease")) + list(tmp_path.rglob(".*.starts"))


@pytest.mark.slow
def test_a_sweeps_records_are_those_of_single_runs(toy_sweep, tmp_path):
    assert run.main(toy_sweep) == 0
    single = [w.replace(str(tmp_path), str(tmp_path / "one")) for w in toy_sweep[1:]]
    single = [w for w in single if not w.startswith(("method=", "seed="))]
    assert run.main([*single, "method=ia3", "seed=1"]) == 0
    [alone] = stored_records(tmp_path / "one").values()
    swept = stored_records(tmp_path)[alone.run_id]
    assert [m for m in swept.measurements if m.split != "cost"] == [m for m in alone.measurements if m.split != "cost"]
    assert swept.config == alone.config


def test_a_failed_cell_is_a_result_until_it_is_retried(toy_sweep, tmp_path, capsys):
    limited = [*toy_sweep, "budget.max_seconds=1e-9"]
    assert run.main(limited) == 1
    failed = stored_records(tmp_path)
    assert [r.status for r in failed.values()] == ["failed"] * 4
    assert all(r.reason.startswith("TimeLimitError: ") for r in failed.values())
    capsys.readouterr()
    assert run.main(limited) == 1  # nothing is run
    assert stored_records(tmp_path) == failed
    assert "4 cells: 4 failed; 0 to run" in capsys.readouterr().out
    assert run.main([*limited, "retry=failed"]) == 1
    assert len(list(tmp_path.rglob("*.1.json"))) == 4  # the old ones
    assert [r.status for r in stored_records(tmp_path).values()] == ["failed"] * 4


def test_data_that_cannot_be_read_fails_its_cell_and_not_the_sweep(toy_sweep, tmp_path, monkeypatch):
    from tasks.toy import Toy

    real = Toy.splits

    def torn(self):
        if len(stored_records(tmp_path)) == 1:
            raise EOFError("the file ends in the middle of a row")
        return real(self)

    monkeypatch.setattr(Toy, "splits", torn)
    monkeypatch.setattr("benchmark.sweeps.execute.process", Process)  # nothing is shared
    assert run.main(toy_sweep) == 1
    assert Counter((r.status, r.reason) for r in stored_records(tmp_path).values()) == {
        ("done", None): 3,
        ("failed", "EOFError: the file ends in the middle of a row"): 1,
    }


def test_a_memory_that_does_not_suffice_is_a_result(toy_sweep, tmp_path, monkeypatch):
    import torch

    def attach(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    monkeypatch.setattr("benchmark.engine.runner.sizes", attach)
    assert run.main(toy_sweep) == 1
    assert {r.reason for r in stored_records(tmp_path).values()} == {
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    }


@pytest.mark.slow
def test_a_selected_trial_is_found_again_and_chosen_anew_after_more_tuning(toy_sweep, tmp_path, capsys):
    tune = [*toy_sweep, "phase=tune", "seed=0"]
    assert run.main([*tune, "trial=0,1"]) == 0
    final = [*toy_sweep, "trial=selected", "seed=5"]
    assert run.main(final) == 0
    first = {r.run_id for r in stored_records(tmp_path).values() if not r.config.get("phase")}
    capsys.readouterr()
    assert run.main(final) == 0
    assert "2 cells: 2 done; 0 to run" in capsys.readouterr().out
    selected = [r.data["selected"] for r in stored_records(tmp_path).values() if not r.config.get("phase")]
    assert all(s["trials"] == 2 and len(s["runs"]) == 2 for s in selected)
    assert run.main([*tune, "trial=2"]) == 0
    capsys.readouterr()
    assert run.main(final) == 0  # the same trial or another, but chosen from three
    assert "2 to run" in capsys.readouterr().out
    assert {r.run_id for r in stored_records(tmp_path).values() if not r.config.get("phase")} >= first


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [["fresh=true", "cells_per_job=3"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]]
)
def test_other_processes_do_the_same(toy_sweep, tmp_path, launcher):
    if "joblib" in launcher[0]:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = [sys.executable, "-m", "benchmark.run", *toy_sweep, *launcher]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    found = stored_records(tmp_path)
    assert [r.status for r in found.values()] == ["done"] * 4
    assert all(r.environment.get("shared", False) == ("joblib" in launcher[0]) for r in found.values())


def test_a_grid_without_a_cell_that_runs_says_so(toy_sweep, capsys):
    said = [*toy_sweep, "method=vpt_deep,tsa"]
    assert run.main(said) == 2
    error = capsys.readouterr().err
    assert "no cell of this sweep can run: " in error
    assert "docs/methods.md" in error


def test_a_place_that_cannot_be_written_to_is_refused_before_the_first_cell(toy_sweep, capsys):
    if not Path("/proc/self").exists():
        pytest.skip("no place here that permits and refuses")
    assert run.main([*toy_sweep[:-1], "results=/proc/here"]) == 2
    told = capsys.readouterr()
    assert "nothing can be written there" in told.err
    assert "cells" not in told.out


def test_a_launcher_that_is_not_there_says_how_to_get_it(toy_sweep, capsys):
    assert run.main([*toy_sweep, "hydra/launcher=nosuch"]) == 2
    assert "hydra/launcher=nosuch: not installed here: pip install" in capsys.readouterr().err


def test_a_sweep_saves_no_adapter_over_another(toy_sweep, capsys, tmp_path):
    assert run.main([*toy_sweep, f"save={tmp_path / 'kept'}"]) == 2
    assert "overwrite each other" in capsys.readouterr().err


def test_without_slurm_there_is_another_way(toy_sweep, capsys, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert run.main([*toy_sweep, "hydra/launcher=submitit_slurm"]) == 2
    assert "sbatch not found" in capsys.readouterr().err


@pytest.mark.slow
def test_a_shared_process_adds_little_to_a_short_cell(toy_sweep, tmp_path):
    seeds = ",".join(map(str, range(12)))
    said = [w for w in toy_sweep if not w.startswith(("seed=", "method="))]
    started = time.perf_counter()
    assert run.main([*said, f"seed={seeds}", "method=lora"]) == 0
    spent = time.perf_counter() - started
    records = stored_records(tmp_path).values()
    assert len(records) == 12
    assert (spent - sum(r.seconds() for r in records)) / 12 < 2  # seconds of the clock, as a user waits
    print(json.dumps({"overhead": (spent - sum(r.seconds() for r in records)) / 12}))
