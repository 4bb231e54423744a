"""Successive halving as a sweep, by one process and by several."""

import dataclasses
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from factories import stored_records

from benchmark import run, status
from benchmark.engine import train
from benchmark.errors import LeaseHeldError
from benchmark.sweeps.grid import compose_and_cache, expand
from benchmark.sweeps.launch import run_cell
from benchmark.sweeps.lease import Lease
from benchmark.sweeps.options import options_of

ROOT = Path(__file__).parents[1]
EVALUATIONS = "budget.evaluations=5"


@pytest.fixture
def halving(toy_sweep):
    """The same sweep tuned: of ten steps a rung stops after two, six and all."""
    kept = [word for word in toy_sweep[1:] if not word.startswith(("method=", "seed="))]
    return [*kept, EVALUATIONS, "method=lora"]


def tuned(folder):
    """Count tuning records by their last step and seed, and collect the trials of each."""
    found = {}
    for r in stored_records(folder).values():
        if r.config["phase"]:
            found.setdefault((r.config["until"] or 10, r.seed), set()).add(r.config["trial"] or 0)
    return found


def numbers(folder):
    """What was found out, without what a clock or the way to it says."""
    return {
        name: [r.status, r.config, [m for m in r.measurements if m.split != "cost"]]
        for name, r in stored_records(folder).items()
    }


def states(folder):
    expected = {Path(folder, ".hydra"), *Path(folder, "runs").glob(".*")}  # of Hydra, and composed cells
    return sorted(path.name for path in Path(folder).rglob(".*") if path not in expected)


def check_without_states(halving, tmp_path):
    """Run the last rung again from the records of those below alone: it is trained anew, to the same numbers."""
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "runs", moved / "runs", ignore=shutil.ignore_patterns(".*"))
    for path in moved.glob("runs/*/*/*.json"):
        if json.loads(path.read_text())["config"]["until"] is None:
            path.unlink()
    assert run.main(["+sweep=tune", *halving, f"results={moved}"]) == 0
    assert numbers(moved) == numbers(tmp_path)
    ends = [r for r in stored_records(moved).values() if not r.config["until"]]
    assert {r.value("cost", "inherited_steps") for r in ends} == {None}
    shutil.rmtree(moved)


@pytest.mark.slow
def test_halving_runs_each_rung_from_where_the_one_below_stopped(halving, tmp_path, capsys):
    assert run.main(["+sweep=tune", *halving]) == 0
    check_without_states(halving, tmp_path)
    found = tuned(tmp_path)
    assert {key: len(trials) for key, trials in found.items() if key[0] < 10} == {(2, 0): 6, (6, 0): 3}
    assert found[10, 0] == found[10, 1] <= found[6, 0] | {t for t in found[10, 0] if t >= 1000}
    inherited = {
        (r.config["until"] or 10, r.seed): r.value("cost", "inherited_steps") for r in stored_records(tmp_path).values()
    }
    assert {key: value for key, value in inherited.items() if value} == {(6, 0): 2, (10, 0): 6}
    kept = stored_records(tmp_path)
    capsys.readouterr()
    assert run.main(["+sweep=tune", *halving]) == 0
    assert "0 to run" in capsys.readouterr().out
    assert stored_records(tmp_path) == kept
    shutil.rmtree(tmp_path / "runs" / ".cells")  # what words mean is found out anew, rung by rung
    assert status.main(["+sweep=tune", *halving]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:4] for row in rows[:3]] == [
        ["text_generation", "rung", str(rung), str(many)] for rung, many in enumerate((6, 3, 4))
    ]
    assert status.main(["+sweep=tune", *halving, "--trials"]) == 0
    said = capsys.readouterr().out
    assert "dropped after step 2: valid loss" in said
    assert "chosen: valid loss" in said
    assert run.main(["+sweep=final", *halving]) == 0
    final = {r.seed: r for r in stored_records(tmp_path).values() if not r.config["phase"]}
    assert {seed: r.value("cost", "inherited_steps") for seed, r in final.items()} == {0: 10, 1: 10, 2: None}
    assert len({r.config["trial"] or 0 for r in final.values()}) == 1
    assert final[0].data["selected"]["steps"] == 6 * 2 + 3 * 4 + 2 * 4 + 2 * 10 + 20 * (len(found[10, 0]) - 2)
    assert states(tmp_path) == []
    again = [word for word in halving if not word.startswith("results=")]
    alone = [*again, f"trial={final[0].config['trial'] or 0}", "seed=0", f"results={tmp_path / 'alone'}"]
    assert run.main(alone) == 0
    [(name, one)] = numbers(tmp_path / "alone").items()
    assert numbers(tmp_path)[name] == one


@pytest.mark.slow
def test_nobody_waits_for_a_rung_before_all_else_is_done(halving, tmp_path):
    grid = expand(["+sweep=tune", *halving])
    options = options_of(run.compose_with_hydra([*grid.cells[0], *grid.options]))
    held = compose_and_cache(grid.cells[2], tmp_path)[1]
    later = next(cell for cell in grid.cells if "rung=1" in cell)
    with Lease(tmp_path / "runs" / held.task / held.method, held.training).hold():
        with pytest.raises(LeaseHeldError):
            run_cell(later, options)
        assert len(tuned(tmp_path)[2, 0]) == 5  # what is free is done meanwhile
        assert status.states(dataclasses.replace(grid, cells=grid.cells[2:3]))[0].state == "running"
    run_cell(later, options, wait=True)
    assert {key: len(trials) for key, trials in tuned(tmp_path).items()} == {(2, 0): 6, (6, 0): 1}


@pytest.mark.slow
def test_a_trial_that_fails_loses_and_the_others_go_on(halving, tmp_path, monkeypatch):
    real = train.learn

    def diverging(run, optimizer, micro):
        return math.nan if run.cell.trial in (0, 2, 3, 4) else real(run, optimizer, micro)

    monkeypatch.setattr("benchmark.engine.train.learn", diverging)
    assert run.main(["+sweep=tune", *halving]) == 1  # failures are told
    assert tuned(tmp_path)[6, 0] == {1, 5}
    run.main(["+sweep=tune", *halving])
    before = stored_records(tmp_path)
    assert run.main(["+sweep=final", *halving, "seed=0"]) == 0
    (final,) = (r for name, r in stored_records(tmp_path).items() if name not in before)
    assert final.config["trial"] in (1, 5, 1001, 1005)


def test_a_budget_with_too_few_validations_to_halve_is_refused_once(halving, capsys):
    assert run.main(["+sweep=tune", *(word for word in halving if word != EVALUATIONS)]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == told.err.count("refused: budget.evaluations: ") == 1
    assert "cells" not in told.out


def test_a_pair_that_cannot_run_is_skipped_in_every_rung(halving, capsys):
    words = ["+sweep=tune", *halving[:-1], "method=vpt_deep"]
    assert run.main(words) == 2
    assert "no cell of this sweep can run: " in capsys.readouterr().err
    found = status.states(expand(words))
    assert ({cell.state for cell in found}, len({cell.record.reason for cell in found})) == ({"skipped"}, 1)


@pytest.fixture(scope="module")
def calm(toy_shape, tmp_path_factory):
    """The results of two methods tuned by one process, and the command that tunes them."""
    folder = tmp_path_factory.mktemp("calm")
    command = [sys.executable, "-m", "benchmark.run", "+sweep=tune", *toy_shape, EVALUATIONS, "device=cpu"]
    command += ["method=lora,ia3"]
    assert subprocess.run([*command, f"results={folder}"], cwd=ROOT, check=False).returncode == 0
    return numbers(folder), command


@pytest.mark.slow
def test_several_workers_and_a_kill_leave_the_records_of_one(calm, tmp_path):
    expected, command = calm[0], [*calm[1], f"results={tmp_path / 'wild'}"]
    workers = [subprocess.Popen(command, cwd=ROOT) for _ in range(2)]
    while len(tuned(tmp_path / "wild").get((6, 0), ())) < 1:
        time.sleep(0.1)
    workers[0].kill()
    workers[0].wait()
    assert workers[1].wait(1800) == 0  # on a busy machine
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    assert numbers(tmp_path / "wild") == expected
    final = [word.replace("=tune", "=final") for word in command]
    assert subprocess.run(final, cwd=ROOT, check=False).returncode == 0
    assert states(tmp_path / "wild") == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "cells_per_job=2"],
        ["hydra/launcher=submitit_local", "cells_per_job=8"],  # all jobs at once, those of the later rungs too
    ],
)
def test_a_launchers_workers_halve_as_one_process_does(calm, tmp_path, launcher):
    pytest.importorskip(f"hydra_plugins.hydra_{launcher[0].partition('=')[2].partition('_')[0]}_launcher")
    expected, command = calm[0], [*calm[1], f"results={tmp_path / 'wild'}"]
    more = [*launcher, f"hydra.sweep.dir={tmp_path / 'logs'}"]
    assert subprocess.run([*command, *more], cwd=ROOT, check=False).returncode == 0
    assert numbers(tmp_path / "wild") == expected
