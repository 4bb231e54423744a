"""Grids: what a sweep holds, which of it is recorded, and how long it takes."""

import dataclasses
import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from factories import stored_records
from omegaconf import OmegaConf

from benchmark import run, status
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.halving import rung_of
from benchmark.config.registry import CONFIGS, GROUPS
from benchmark.config.registry import names as names_in
from benchmark.config.trials import cost_of
from benchmark.config.usage import usage
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.sweeps.estimate import estimate
from benchmark.sweeps.grid import Records, compose_and_cache, expand, lookup, of_grid, pack_cells, unpack_cells
from benchmark.sweeps.override_cache import OverrideCache, signature

ROOT = Path(__file__).parents[1]


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


def test_before_it_spends_anything_a_sweep_says_how_many_cells_and_how_long(toy_sweep, tmp_path, capsys):
    assert run.main([*toy_sweep, "seed=0"]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first == "2 cells: none recorded; 2 to run"
    assert second == "estimated time: unknown, no record has this task and budget yet"
    seconds = sum(cost_of(r)[1] for r in stored_records(tmp_path).values())
    assert run.main(toy_sweep) == 0
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


def test_status_counts_and_prints_what_is_missing(toy_sweep, tmp_path, capsys):
    assert run.main([*toy_sweep[:-2], "method=lora", "device=cpu", f"results={tmp_path}"]) == 0
    capsys.readouterr()
    assert status.main([*toy_sweep, "method=lora,ia3,head"]) == 1
    lines = capsys.readouterr().out.split("\n")
    assert lines[0].split() == ["task", *status.STATES, "left"]
    assert lines[1].split()[:6] == ["text_generation", "2", "0", "0", "0", "4"]
    assert status.main([*toy_sweep, "--missing"]) == 1
    missing = capsys.readouterr().out.splitlines()
    assert len(missing) == 2
    assert all("method=ia3" in line and f"results={tmp_path}" in line for line in missing)
    for line in missing:
        assert run.main(line.split()) == 0
    assert status.main(toy_sweep) == 0


def test_a_login_node_finds_what_its_accelerators_recorded(toy_sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.engine.device.DRIVERS", ())
    toy_sweep = [word for word in toy_sweep if word != "device=cpu"]
    sent = expand([*toy_sweep, "hydra/launcher=slurm", f"results={tmp_path}"])
    assert (sent.device(), expand(toy_sweep).device()) == (None, "cpu")
    assert expand([*toy_sweep, "hydra/launcher=slurm", "device=cuda"]).device() == "cuda"  # not looked for here
    cell, _ = compose_and_cache(sent.cells[0], tmp_path)
    names = {noun: cell.names[noun] for noun in ("task", "method", "backbone")}
    identity = {"run_id": run_id(choices_of(cell)), "seed": cell.seed, "config": choices_of(cell)}
    made = Record(**identity, **names, status="done", environment={"device": "cuda"})
    Store(tmp_path / "runs").append(made, None)
    for device, found in ((None, made), ("cuda", made), ("cpu", None)):
        assert next(record for _, record in lookup(sent, OverrideCache(tmp_path), Records(tmp_path, device))) == found
