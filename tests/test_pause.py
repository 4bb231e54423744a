"""A run that is stopped goes on to the same record."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from factories import AfterChecks, run_cell

from benchmark import run as benchmark_run
from benchmark.config.compose import cell_of
from benchmark.engine import checkpoint as module
from benchmark.engine import train
from benchmark.engine.checkpoint import Pause, Paused
from benchmark.engine.environment import code
from benchmark.errors import InputError
from benchmark.identity import training_id
from benchmark.records import Store
from benchmark.sweeps.execute import perform
from benchmark.sweeps.options import RunOptions

SHORTER = {"diff_pruning": ["method.batches=4"]}  # words that spare a method's own preparations
METHODS = ["lora", "adalora", "full", "lora_plus", "fishmask", "prefix_mlp", "dora", "pvera", "diff_pruning"]


def run(cell, pause=None):
    """Run a cell; the numbers that are no cost, and the answers."""
    result = run_cell(cell, pause=pause)
    costs = {m.name: m.value for m in result.measurements if m.split == "cost"}
    return [m for m in result.measurements if m.split != "cost"], result.examples, costs


CASES = [("lora", moment) for moment in (1, 4, 10, 13)] + [("adalora", 7)]
CASES += [pytest.param(method, 7, marks=pytest.mark.slow) for method in METHODS[2:]]


@pytest.mark.parametrize(("method", "moment"), CASES)  # ten steps, then answers
def test_a_run_that_is_stopped_goes_on_to_the_same_record(toy_cell, tmp_path, method, moment):
    words = ["budget.evaluations=3", "budget.dropout=0.1", "budget.eval_batch_size=4"]  # of which dropout draws
    words += SHORTER.get(method, [])
    whole = run(toy_cell("seq2seq", method, *words))
    folder = tmp_path / ".a.paused"
    with pytest.raises(Paused) as stopped:
        run(toy_cell("seq2seq", method, *words), AfterChecks(folder, moment))
    assert stopped.value.step == min(moment, 10)
    assert sorted(f.name for f in folder.iterdir()) == [module.REST, module.TENSORS]
    torch.rand(7)  # whatever happens in between
    resumed = run(toy_cell("seq2seq", method, *words), Pause(folder))
    assert resumed[:2] == whole[:2]
    assert (resumed[2].get("restarts"), whole[2].get("restarts")) == (1, None)


def test_several_stops_are_counted_and_change_nothing(toy_cell, tmp_path):
    cell, folder = toy_cell("causal_lm", "lora", "budget.evaluations=5"), tmp_path / ".a.paused"
    for moment in (2, 1, 3):
        with pytest.raises(Paused):
            run(cell, AfterChecks(folder, moment))
    resumed, whole = run(cell, Pause(folder)), run(cell)
    assert resumed[:2] == whole[:2]
    assert resumed[2]["restarts"] == 3


STOPS = (2, 6, 10)  # of ten steps
LOOKS = ["budget.evaluations=5", "budget.dropout=0.1", "budget.eval_batch_size=4"]


@pytest.fixture
def steps(monkeypatch):
    """Count the steps that are taken."""
    counted, real = [], train.learn
    monkeypatch.setattr(train, "learn", lambda *given: counted.append(1) or real(*given))
    return counted


@pytest.fixture
def worse_after_four(steps, monkeypatch):
    """Add to the validation loss after step four, so that the best is earlier."""
    real = train.valid_loss
    monkeypatch.setattr(train, "valid_loss", lambda *given: real(*given) + 9 * (len(steps) > 4))


def check_stops(toy_cell, folder, steps, method, rate):
    """Tune a cell with and without stops; return the selected step if equal."""
    looks = [*LOOKS, f"method.lr={rate}", *SHORTER.get(method, [])]
    whole = run(toy_cell("seq2seq", method, *looks))
    assert len(steps) == 10
    steps.clear()
    tuned = run(toy_cell("seq2seq", method, "phase=tune", *looks))
    steps.clear()
    for stop, before in zip(STOPS, (0, *STOPS), strict=False):
        cell = toy_cell("seq2seq", method, "phase=tune", f"until={stop}", *looks)
        found, answers, costs = run(cell, Pause(folder))
        torch.rand(7)  # whatever happens in between
        assert len(steps) == stop  # none is taken twice
        assert costs.get("inherited_steps", 0) == before
        assert "restarts" not in costs
        assert answers == []
        curves = [m for m in found if m.name == "loss" and m.step is not None]
        assert curves == [m for m in whole[0] if m.name == "loss" and m.step is not None and m.step <= stop]
    assert found == tuned[0]
    assert run(toy_cell("seq2seq", method, *looks), Pause(folder))[:2] == whole[:2]
    assert len(steps) == 10  # the final run only answers
    return next(m.value for m in found if m.name == "selected_step")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rate"), [("adalora", 1e-2), ("full", 1e-3), ("diff_pruning", 1e-2), ("prefix_mlp", 1e-2)]
)
def test_tuning_that_stops_on_its_way_ends_with_the_numbers_of_a_run_that_does_not(
    toy_cell, tmp_path, steps, method, rate
):
    check_stops(toy_cell, tmp_path / "state", steps, method, rate)


@pytest.mark.usefixtures("worse_after_four")
def test_tuning_that_stops_after_its_best_step_still_has_the_weights_of_that_step(toy_cell, tmp_path, steps):
    assert check_stops(toy_cell, tmp_path / "state", steps, "lora", 1e-2) == 4


@pytest.mark.usefixtures("worse_after_four")
def test_tuning_that_is_stopped_while_it_answers_leaves_the_weights_of_its_last_step(toy_cell, tmp_path, steps):
    folder, half = tmp_path / "state", toy_cell("seq2seq", "lora", "phase=tune", "until=6", *LOOKS)
    with pytest.raises(Paused):
        run(half, AfterChecks(folder, 8))
    run(half, Pause(folder))
    resumed = run(toy_cell("seq2seq", "lora", *LOOKS), Pause(folder))
    assert next(m.value for m in resumed[0] if m.name == "selected_step") == 4  # not the last, on which it goes on
    steps.clear()
    assert resumed[:2] == run(toy_cell("seq2seq", "lora", *LOOKS))[:2]


def test_a_state_of_later_steps_or_of_a_run_that_is_to_be_run_again_is_not_taken_up(toy_cell, tmp_path):
    def cell(*words):
        return toy_cell("causal_lm", "lora", "phase=tune", *LOOKS, *words)

    def inherited(cell, **options):
        return run(cell, Pause(tmp_path / "state", **options))[2].get("inherited_steps", 0)

    assert [inherited(cell("until=6")), inherited(cell("until=2")), inherited(cell("until=6"))] == [0, 0, 2]
    assert [inherited(cell("until=6")), inherited(cell("until=6"), anew=True)] == [6, 0]
    assert inherited(cell("until=8"), anew=True) == 6  # from the rung below, which is not run again


def stored(results):
    return list(Store(results / "runs").records())


def test_a_state_is_kept_for_whoever_goes_on_and_goes_with_the_final_run(toy_cell, tmp_path):
    options = RunOptions(
        results=str(tmp_path), device="cpu", retry=None, save=None, force=False, shared=True, attempts=1
    )  # fmt: skip
    words = ["budget.evaluations=5"]
    for more, states in ((["phase=tune", "until=4"], 1), (["phase=tune"], 1), ([], 0)):
        perform(toy_cell("causal_lm", "lora", *words, *more), options)
        assert len(list(tmp_path.rglob(".*.paused"))) == states
    found = {(r.config["phase"], r.config["until"]): r.value("cost", "inherited_steps") for r in stored(tmp_path)}
    assert found == {("tune", 4): None, ("tune", None): 4, (None, None): 10}
    assert len({training_id(r.config) for r in stored(tmp_path)}) == 1
    assert not [f for f in tmp_path.rglob(".*") if f.is_dir()]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["phase=tune", "until=3"], "until: 3 given, but validations are after steps 2, 4, 6, 8, 10"),
        (["until=4"], "until: 4 given, but only tuning stops before its last step: phase=tune"),
    ],
)
def test_a_stop_where_nobody_looks_is_refused(toy_cell, words, reason):
    with pytest.raises(InputError, match=reason):
        toy_cell("causal_lm", "lora", *LOOKS, *words)


@pytest.mark.parametrize(
    ("change", "goes_on"),
    [
        ((module, "code", lambda: {"commit": "another", "dirty": True}), True),
        ((train, "NUMERICS", train.NUMERICS + 1), False),
        ((module, "process_count", lambda: 2), False),
    ],
)
def test_another_commit_goes_on_and_other_numbers_or_processes_begin_anew(
    toy_cell, tmp_path, monkeypatch, change, goes_on
):
    cell, folder = toy_cell("causal_lm", "lora"), tmp_path / ".a.paused"
    with pytest.raises(Paused):
        run(cell, AfterChecks(folder, 3))
    monkeypatch.setattr(*change)
    pause = Pause(folder)
    assert ("restarts" in run(cell, pause)[2]) == goes_on
    assert pause.begun == (code() if goes_on else module.code())


MADE_BEFORE = Path(__file__).parent / "made_before" / "paused"
OVERRIDES = ["task=protein", "method=bitfit", "budget=smoke", "budget.evaluations=4", "budget.max_test=16"]


def goes_on(tmp_path):
    """Continue the state of old code; return its training curve and overrides."""
    shutil.copytree(MADE_BEFORE, tmp_path / "runs")
    (file,) = tmp_path.rglob(module.REST)
    before = json.loads(file.read_text())
    words = [*OVERRIDES, "budget.steps=200", "device=cpu"]
    assert benchmark_run.main([*words, f"results={tmp_path}"]) == 0
    (record,) = stored(tmp_path)
    assert record.value("cost", "restarts") == 1
    assert record.environment["begun"]["commit"] in before["code"]
    curve = {m.step: m.value for m in record.measurements if m.split == "train" and m.step}
    then = {step: value for split, _, value, step in before["points"] if split == "train"}
    assert max(then) == before["step"] < max(curve) == 200
    assert {step: value for step, value in curve.items() if step in then} == {s: then[s] for s in curve if s in then}
    assert not list(tmp_path.rglob("*.paused"))
    return curve, words


@pytest.mark.slow
def test_a_run_that_was_paused_when_the_commit_decided_goes_on(tmp_path):
    goes_on(tmp_path)


@pytest.mark.slow
def test_a_run_that_was_paused_by_old_code_ends_where_one_without_a_stop_does(tmp_path):
    curve, words = goes_on(tmp_path)  # to the digits that another processor gives
    assert benchmark_run.main([*words, f"results={tmp_path / 'whole'}"]) == 0
    (whole,) = stored(tmp_path / "whole")
    assert "begun" not in whole.environment
    assert curve == pytest.approx({m.step: m.value for m in whole.measurements if m.split == "train"}, rel=1e-3)


def test_where_nothing_is_trained_there_is_no_state_to_keep(tmp_path):
    cell = cell_of(["task=protein", "method=lora"])
    pause = Pause(tmp_path / "x")
    pause.asked = signal.SIGTERM, None
    with pytest.raises(Paused) as stopped:
        pause.check()
    assert stopped.value.step is None
    assert not (tmp_path / "x").exists()
    assert cell.method.progress(None) == {}
