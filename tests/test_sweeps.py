"""Sweeps: what a grid holds, what is left to run, and that the same command again does only that."""

import dataclasses
import itertools
import json
import math
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from benchmark import run, status
from benchmark.config.compose import CONFIGS, GROUPS, cell_of, choices_of
from benchmark.config.halving import rung_of
from benchmark.config.registry import names as names_in
from benchmark.config.trials import cost_of
from benchmark.config.usage import usage
from benchmark.engine import train
from benchmark.errors import InputError, LeaseHeldError
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.sweeps.estimate import estimate
from benchmark.sweeps.execute import Process
from benchmark.sweeps.grid import Records, compose_and_cache, expand, lookup, of_grid, pack_cells, unpack_cells
from benchmark.sweeps.launch import run_cell
from benchmark.sweeps.lease import Lease
from benchmark.sweeps.options import options_of
from benchmark.sweeps.override_cache import OverrideCache, signature

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shape(tiny_causal):
    shape = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    return [*shape, "budget=smoke"]


@pytest.fixture
def words(shape, tmp_path):
    """A sweep of four toy cells."""
    return ["-m", *shape, "method=lora,ia3", "seed=0,1", "device=cpu", f"results={tmp_path}"]


def stored(folder):
    return {r.run_id: r for r in Store(Path(folder) / "runs").records()}


@pytest.mark.parametrize("name", names_in("sweep"))
def test_what_a_sweep_goes_over_exists(name):
    sweep = OmegaConf.load(CONFIGS / "sweep" / f"{name}.yaml")
    assert sweep.description in usage()
    for word in of_grid(name, "over"):
        key, _, values = word.partition("=")
        chosen = values.split(",")
        assert len(chosen) == len(set(chosen))
        if key in GROUPS and values != "glob(*)":
            assert set(chosen) <= set(names_in(key))
    whole = [] if "task" in sweep.over else ["task=nmt"]  # what another grid says
    first = expand([f"+sweep={name}", *whole, *(["trial=0"] if name == "final" else [])]).cells[0]
    assert cell_of(first).names["task"]


def test_the_architectures_of_low_resource_translation_are_fifteen():
    assert len(expand(["sweep=nmt15"]).cells) == 15


def test_all_methods_are_tuned_alike():
    cells = expand(["+sweep=tune", "task=nmt"]).cells
    assert len(cells) == (6 + 3 + 2 * 2 + 2) * len(names_in("method"))
    assert all("phase=tune" in cell for cell in cells)
    assert [rung_of(cell) for cell in cells] == sorted(rung_of(cell) for cell in cells)  # a rung after the other
    by_hand = expand(["+sweep=tune", "task=nmt", "method=lora", "trial=0,1,7", "seed=0"]).cells
    assert by_hand == tuple(("seed=0", "task=nmt", "phase=tune", "method=lora", f"trial={t}") for t in (0, 1, 7))
    with pytest.raises(InputError, match="the rungs of tuning set these"):
        expand(["+sweep=tune", "task=nmt", "seed=3"])


def test_a_sweep_is_a_product_with_seeds_outermost_and_tasks_next():
    grid = expand(
        [
            "-m",
            "method=lora,full",
            "task=nmt,protein",
            "method.lr=1e-3",
            "seed=0,1",
            "results=x",
            "hydra/launcher=basic",
        ]
    )
    assert grid.options == ("results=x", "hydra/launcher=basic")
    pairs = [tuple(word for word in cell if word != "method.lr=1e-3") for cell in grid.cells]
    order = itertools.product(("seed=0", "seed=1"), ("task=nmt", "task=protein"), ("method=lora", "method=full"))
    assert pairs == list(order)


def test_the_users_words_win_over_a_named_sweep():
    cells = expand(["+sweep=final", "task=nmt", "method=lora,ia3", "seed=7"]).cells
    assert cells == tuple(("seed=7", "task=nmt", "trial=selected", f"method={m}") for m in ("lora", "ia3"))
    settings = expand(["+sweep=cost", "task=nmt", "fresh=false"]).options
    assert set(settings) == {"fresh=false", "cells_per_job=1"}


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["sweep=nmt51"], "no such sweep; did you mean nmt15"),
        (["-m", "method=lora"], "task=. is missing"),
        (["-m", "task=nmt", "method=lora", "seed=interval(0,1)"], "an interval has infinitely many values"),
        (["-m", "task=nmt", "method=lora,huolsby"], "method=huolsby: no such method; did you mean houlsby"),
        (["-m", "task=nmt", "method=glob(x*)"], "method: the pattern matches nothing"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(said, reason, capsys):
    with pytest.raises(InputError, match=reason):
        expand(said)
    assert run.main(said) == 2
    assert capsys.readouterr().err.startswith("refused: ")


def test_cells_survive_the_way_to_a_job():
    cells = [["task=nmt", r"""task.template="{source}\n'a' = [1,2] $x % é" """, "method=lora"]]
    assert unpack_cells(pack_cells(cells)) == cells
    assert pack_cells(cells).replace("%", "").replace("_", "").replace(".", "").replace("-", "").isalnum()


def test_the_same_command_again_does_only_what_is_missing(words, tmp_path, capsys):
    assert run.main([*words[:-2], "method=lora", "device=cpu", f"results={tmp_path}"]) == 0
    first = stored(tmp_path)
    assert len(first) == 2
    assert run.main(words) == 0
    assert "4 cells: 2 done; 2 to run" in capsys.readouterr().out
    both = stored(tmp_path)
    assert {k: both[k] for k in first} == first  # as they were, times and all
    assert len(both) == 4
    assert run.main(words) == 0
    assert stored(tmp_path) == both
    assert not list(tmp_path.rglob(".*.lease")) + list(tmp_path.rglob(".*.starts"))


@pytest.mark.slow
def test_a_sweeps_records_are_those_of_single_runs(words, tmp_path):
    assert run.main(words) == 0
    single = [w.replace(str(tmp_path), str(tmp_path / "one")) for w in words[1:]]
    single = [w for w in single if not w.startswith(("method=", "seed="))]
    assert run.main([*single, "method=ia3", "seed=1"]) == 0
    [alone] = stored(tmp_path / "one").values()
    swept = stored(tmp_path)[alone.run_id]
    assert [m for m in swept.measurements if m.split != "cost"] == [m for m in alone.measurements if m.split != "cost"]
    assert swept.config == alone.config


def test_a_failed_cell_is_a_result_until_it_is_retried(words, tmp_path, capsys):
    limited = [*words, "budget.max_seconds=1e-9"]
    assert run.main(limited) == 1
    failed = stored(tmp_path)
    assert [r.status for r in failed.values()] == ["failed"] * 4
    assert all(r.reason.startswith("TimeLimitError: ") for r in failed.values())
    capsys.readouterr()
    assert run.main(limited) == 1  # nothing is run
    assert stored(tmp_path) == failed
    assert "4 cells: 4 failed; 0 to run" in capsys.readouterr().out
    assert run.main([*limited, "retry=failed"]) == 1
    assert len(list(tmp_path.rglob("*.1.json"))) == 4  # the old ones
    assert [r.status for r in stored(tmp_path).values()] == ["failed"] * 4


def test_data_that_cannot_be_read_fails_its_cell_and_not_the_sweep(words, tmp_path, monkeypatch):
    from tasks.toy import Toy

    real = Toy.splits

    def torn(self):
        if len(stored(tmp_path)) == 1:
            raise EOFError("the file ends in the middle of a row")
        return real(self)

    monkeypatch.setattr(Toy, "splits", torn)
    monkeypatch.setattr("benchmark.sweeps.execute.process", Process)  # nothing is shared
    assert run.main(words) == 1
    assert Counter((r.status, r.reason) for r in stored(tmp_path).values()) == {
        ("done", None): 3,
        ("failed", "EOFError: the file ends in the middle of a row"): 1,
    }


def test_before_it_spends_anything_a_sweep_says_how_many_cells_and_how_long(words, tmp_path, capsys):
    assert run.main([*words, "seed=0"]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "2 cells: none recorded; 2 to run"
    assert second == "estimated time: unknown, no record has this task and budget yet"
    seconds = sum(cost_of(r)[1] for r in stored(tmp_path).values())
    assert run.main(words) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "4 cells: 2 done; 2 to run"
    assert second == f"estimated time: {seconds:.0f} s in one process, by 2 records of the same task and budget"


def of_seconds(method, seconds, **more):
    measured = (Measurement("cost", "train_seconds", seconds), Measurement("train", "loss", 1.0, 300))
    names = {"task": "nmt", "method": method, "backbone": "mbart_cldr", "seed": 0, "run_id": f"{method}{seconds}"}
    config = {"budget": {"name": "standard", "steps": 300}, "phase": None} | more
    return Record(status="done", config=config, measurements=measured, environment={"device": "cpu"}, **names)


def test_the_estimate_is_the_mean_of_like_records_of_the_method_or_else_of_the_task():
    known = [of_seconds("lora", 100), of_seconds("lora", 140), of_seconds("ia3", 60)]
    known += [of_seconds("lora", 9000, phase="tune"), of_seconds("lora", 9000, budget={"name": "smoke", "steps": 9})]
    records = SimpleNamespace(of_task=lambda task: [r for r in known if r.task == task])
    lora, ia3, dora, other = (
        ("task=nmt", "method=lora"), ("task=nmt", "method=ia3"), ("task=nmt", "method=dora"), ("task=t", "method=lora"),
    )  # fmt: skip
    assert estimate([lora, ia3, dora], records) == (
        "estimated time: 5 min in one process, by 3 records of the same task and budget"  # 120 + 60 + 100
    )
    assert estimate([lora, other], records).endswith(
        "budget, without 1 of 2 cells: no record has their task and budget"
    )
    for word in ("budget.steps=20", "backbone=mt5_small", "budget=quick"):
        assert "unknown" in estimate([(*lora, word)], records)


def test_a_memory_that_does_not_suffice_is_a_result(words, tmp_path, monkeypatch):
    import torch

    def attach(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nmore")

    monkeypatch.setattr("benchmark.engine.runner.sizes", attach)
    assert run.main(words) == 1
    assert {r.reason for r in stored(tmp_path).values()} == {
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB."
    }


def test_a_changed_file_is_another_cell(tmp_path, tiny_causal, monkeypatch):
    data = tmp_path / "data.csv"
    data.write_text("source,target\n" + "".join(f"{i},{i}\n" for i in range(9)))
    columns = ["data.columns.source=source", "data.columns.target=target"]
    base = [
        "task=text_generation",
        "method=lora",
        "data=files",
        *(f"data.{s}={data}" for s in ("train", "valid", "test")),
    ]
    said = (*base, *columns, "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}")
    _, entry = compose_and_cache(said, tmp_path)
    assert OverrideCache(tmp_path).get(said) == OverrideCache(tmp_path).get(said[::-1]) == entry
    assert entry.run_id == run_id(choices_of(cell_of(said)))
    data.write_text("source,target\n1,2\n")
    signature.cache_clear()
    assert OverrideCache(tmp_path).get(said) is None
    assert compose_and_cache(said, tmp_path)[1].run_id != entry.run_id


def test_a_line_cut_short_is_no_line(tmp_path):
    said = ("task=nmt", "method=lora")
    compose_and_cache(said, tmp_path)
    cache = OverrideCache(tmp_path)
    with open(cache.path, "a") as file:
        file.write('["task=nmt\\nmethod=full", {"task": "nmt", "run')
    assert cache.get(said) is not None
    assert cache.get(("task=nmt", "method=full")) is None


@pytest.mark.slow
def test_a_thousand_finished_cells_are_checked_in_seconds_without_torch(tmp_path):
    seeds = range(500)
    said = [("seed=0", "task=nmt", f"method={method}") for method in ("lora", "ia3")]
    cache, store = OverrideCache(tmp_path), Store(tmp_path / "runs")
    for words in said:
        cell, entry = compose_and_cache(words, tmp_path)
        base = {"task": "nmt", "method": entry.method, "backbone": "mbart_cldr", "status": "done"}
        choices = choices_of(cell)
        for seed in seeds:
            config = choices | {"seed": seed}
            record = Record(**base, run_id=run_id(config), seed=seed, config=config, environment={"device": "cpu"})
            store.append(record, None)
            cache.add((f"seed={seed}", *words[1:]), dataclasses.replace(entry, run_id=record.run_id))
    code = """
import sys, time
start = time.perf_counter()
from benchmark.run import main
status = main(["-m", "task=nmt", "method=lora,ia3", "seed=range(0,500)", f"results={sys.argv[1]}", "device=cpu"])
print(status, "torch" in sys.modules, time.perf_counter() - start)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "1000 cells: 1000 done; 0 to run" in answer.stdout
    code, torch_seen, seconds = answer.stdout.splitlines()[-1].split()
    assert (code, torch_seen) == ("0", "False")
    assert float(seconds) < 10
    print({"seconds for a thousand cells": seconds})


def test_status_counts_and_prints_what_is_missing(words, tmp_path, capsys):
    assert run.main([*words[:-2], "method=lora", "device=cpu", f"results={tmp_path}"]) == 0
    capsys.readouterr()
    assert status.main([*words, "method=lora,ia3,head"]) == 1
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].split() == ["task", *status.STATES, "left"]
    assert lines[1].split()[:6] == ["text_generation", "2", "0", "0", "0", "4"]
    assert status.main([*words, "--missing"]) == 1
    missing = capsys.readouterr().out.splitlines()
    assert len(missing) == 2
    assert all("method=ia3" in line and f"results={tmp_path}" in line for line in missing)
    for line in missing:
        assert run.main(line.split()) == 0
    assert status.main(words) == 0


EVALUATIONS = "budget.evaluations=5"


@pytest.fixture
def halving(words):
    """The same sweep tuned: of ten steps a rung stops after two, six and all."""
    kept = [word for word in words[1:] if not word.startswith(("method=", "seed="))]
    return [*kept, EVALUATIONS, "method=lora"]


def tuned(folder):
    """Count tuning records by their last step and seed, and collect the trials of each."""
    found = {}
    for r in stored(folder).values():
        if r.config["phase"]:
            found.setdefault((r.config["until"] or 10, r.seed), set()).add(r.config["trial"] or 0)
    return found


def numbers(folder):
    """What was found out, without what a clock or the way to it says."""
    return {
        name: [r.status, r.config, [m for m in r.measurements if m.split != "cost"]]
        for name, r in stored(folder).items()
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
    ends = [r for r in stored(moved).values() if not r.config["until"]]
    assert {r.value("cost", "inherited_steps") for r in ends} == {None}
    shutil.rmtree(moved)


def test_halving_runs_each_rung_from_where_the_one_below_stopped(halving, tmp_path, capsys):
    assert run.main(["+sweep=tune", *halving]) == 0
    check_without_states(halving, tmp_path)
    found = tuned(tmp_path)
    assert {key: len(trials) for key, trials in found.items() if key[0] < 10} == {(2, 0): 6, (6, 0): 3}
    assert found[10, 0] == found[10, 1] <= found[6, 0] | {t for t in found[10, 0] if t >= 1000}
    inherited = {
        (r.config["until"] or 10, r.seed): r.value("cost", "inherited_steps") for r in stored(tmp_path).values()
    }
    assert {key: value for key, value in inherited.items() if value} == {(6, 0): 2, (10, 0): 6}
    kept = stored(tmp_path)
    capsys.readouterr()
    assert run.main(["+sweep=tune", *halving]) == 0
    assert "0 to run" in capsys.readouterr().out
    assert stored(tmp_path) == kept
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
    final = {r.seed: r for r in stored(tmp_path).values() if not r.config["phase"]}
    assert {seed: r.value("cost", "inherited_steps") for seed, r in final.items()} == {0: 10, 1: 10, 2: None}
    assert len({r.config["trial"] or 0 for r in final.values()}) == 1
    assert final[0].data["selected"]["steps"] == 6 * 2 + 3 * 4 + 2 * 4 + 2 * 10 + 20 * (len(found[10, 0]) - 2)
    assert states(tmp_path) == []
    again = [word for word in halving if not word.startswith("results=")]
    alone = [*again, f"trial={final[0].config['trial'] or 0}", "seed=0", f"results={tmp_path / 'alone'}"]
    assert run.main(alone) == 0
    [(name, one)] = numbers(tmp_path / "alone").items()
    assert numbers(tmp_path)[name] == one


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
    before = stored(tmp_path)
    assert run.main(["+sweep=final", *halving, "seed=0"]) == 0
    (final,) = (r for name, r in stored(tmp_path).items() if name not in before)
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
def calm(shape, tmp_path_factory):
    """The results of two methods tuned by one process, and the command that tunes them."""
    folder = tmp_path_factory.mktemp("calm")
    command = [sys.executable, "-m", "benchmark.run", "+sweep=tune", *shape, EVALUATIONS, "device=cpu"]
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


@pytest.mark.slow
def test_a_selected_trial_is_found_again_and_chosen_anew_after_more_tuning(words, tmp_path, capsys):
    tune = [*words, "phase=tune", "seed=0"]
    assert run.main([*tune, "trial=0,1"]) == 0
    final = [*words, "trial=selected", "seed=5"]
    assert run.main(final) == 0
    first = {r.run_id for r in stored(tmp_path).values() if not r.config.get("phase")}
    capsys.readouterr()
    assert run.main(final) == 0
    assert "2 cells: 2 done; 0 to run" in capsys.readouterr().out
    selected = [r.data["selected"] for r in stored(tmp_path).values() if not r.config.get("phase")]
    assert all(s["trials"] == 2 and len(s["runs"]) == 2 for s in selected)
    assert run.main([*tune, "trial=2"]) == 0
    capsys.readouterr()
    assert run.main(final) == 0  # the same trial or another, but chosen from three
    assert "2 to run" in capsys.readouterr().out
    assert {r.run_id for r in stored(tmp_path).values() if not r.config.get("phase")} >= first


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [["fresh=true", "cells_per_job=3"], ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]]
)
def test_other_processes_do_the_same(words, tmp_path, launcher):
    if "joblib" in launcher[0]:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    command = [sys.executable, "-m", "benchmark.run", *words, *launcher]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0
    found = stored(tmp_path)
    assert [r.status for r in found.values()] == ["done"] * 4
    assert all(r.environment.get("shared", False) == ("joblib" in launcher[0]) for r in found.values())


def test_a_grid_without_a_cell_that_runs_says_so(words, capsys):
    said = [*words, "method=vpt_deep,tsa"]
    assert run.main(said) == 2
    error = capsys.readouterr().err
    assert "no cell of this sweep can run: " in error
    assert "docs/methods.md" in error


def test_a_place_that_cannot_be_written_to_is_refused_before_the_first_cell(words, capsys):
    if not Path("/proc/self").exists():
        pytest.skip("no place here that permits and refuses")
    assert run.main([*words[:-1], "results=/proc/here"]) == 2
    told = capsys.readouterr()
    assert "nothing can be written there" in told.err
    assert "cells" not in told.out


def test_a_launcher_that_is_not_there_says_how_to_get_it(words, capsys):
    assert run.main([*words, "hydra/launcher=nosuch"]) == 2
    assert "hydra/launcher=nosuch: not installed here: pip install" in capsys.readouterr().err


def test_a_sweep_saves_no_adapter_over_another(words, capsys, tmp_path):
    assert run.main([*words, f"save={tmp_path / 'kept'}"]) == 2
    assert "overwrite each other" in capsys.readouterr().err


def test_without_slurm_there_is_another_way(words, capsys, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert run.main([*words, "hydra/launcher=submitit_slurm"]) == 2
    assert "sbatch not found" in capsys.readouterr().err


@pytest.mark.slow
def test_a_shared_process_adds_little_to_a_short_cell(words, tmp_path):
    seeds = ",".join(map(str, range(12)))
    said = [w for w in words if not w.startswith(("seed=", "method="))]
    started = time.perf_counter()
    assert run.main([*said, f"seed={seeds}", "method=lora"]) == 0
    spent = time.perf_counter() - started
    records = stored(tmp_path).values()
    assert len(records) == 12
    assert (spent - sum(r.seconds() for r in records)) / 12 < 2  # seconds of the clock, as a user waits
    print(json.dumps({"overhead": (spent - sum(r.seconds() for r in records)) / 12}))


def test_a_login_node_finds_what_its_accelerators_recorded(words, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.engine.device.DRIVERS", ())
    words = [word for word in words if word != "device=cpu"]
    sent = expand([*words, "hydra/launcher=slurm", f"results={tmp_path}"])
    assert (sent.device(), expand(words).device()) == (None, "cpu")
    assert expand([*words, "hydra/launcher=slurm", "device=cuda"]).device() == "cuda"  # not looked for here
    cell, _ = compose_and_cache(sent.cells[0], tmp_path)
    names = {noun: cell.names[noun] for noun in ("task", "method", "backbone")}
    identity = {"run_id": run_id(choices_of(cell)), "seed": cell.seed, "config": choices_of(cell)}
    made = Record(**identity, **names, status="done", environment={"device": "cuda"})
    Store(tmp_path / "runs").append(made, None)
    for device, found in ((None, made), ("cuda", made), ("cpu", None)):
        assert next(record for _, record in lookup(sent, OverrideCache(tmp_path), Records(tmp_path, device))) == found
