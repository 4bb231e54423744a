"""Costs of a run: seconds, tokens and memory by phase."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from fitting import prepare

from benchmark.engine.batches import batches
from benchmark.engine.meter import Meter
from benchmark.engine.train import fit


class Clock:
    """A meter's clock that a test moves."""

    def __init__(self, monkeypatch, meter):
        self.time = 0.0
        monkeypatch.setattr(meter, "now", lambda: self.time)


def costs(meter):
    return {m.name: m.value for m in meter.measurements()}


def test_seconds_per_step_is_the_median_without_the_first_five():
    meter = Meter("cpu")
    for seconds in (100.0, 90.0, 80.0, 70.0, 60.0, 1.0, 2.0, 9.0):
        meter.step(seconds, tokens=30, examples=4)
    found = costs(meter)
    assert found["seconds_per_step"] == 2.0
    assert found["tokens_per_second"] == pytest.approx(3 * 30 / 12)
    assert found["examples_per_second"] == pytest.approx(3 * 4 / 12)


def test_a_run_of_five_steps_still_has_a_step_time():
    meter = Meter("cpu")
    for seconds in (3.0, 1.0, 2.0, 9.0, 8.0):
        meter.step(seconds, tokens=0, examples=4)
    found = costs(meter)
    assert found["seconds_per_step"] == 3.0
    assert "tokens_per_second" not in found


def test_phases_add_up_even_where_one_breaks(monkeypatch):
    meter = Meter("cpu")
    clock = Clock(monkeypatch, meter)
    for name, seconds in (("train", 3.0), ("evaluate", 1.0), ("train", 4.0), ("predict", 6.0)):
        with meter.phase(name):
            clock.time += seconds
        clock.time += 50.0  # between phases
    meter.predicted = 12

    def broken():
        with meter.phase("predict"):
            clock.time += 2.0
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    found = costs(meter)
    assert (found["train_seconds"], found["evaluate_seconds"], found["predict_seconds"]) == (7.0, 1.0, 8.0)
    assert found["predict_seconds_per_example"] == pytest.approx(8 / 12)


def test_what_was_not_done_has_no_cost():
    assert costs(Meter("cpu")) == {}


def memory_by_phase():
    """Hold 64 MiB through three phases that take 0, 128 and 32 more."""
    meter, mebibyte = Meter("cpu"), 2**20
    with meter.phase("load"):
        held = torch.ones(64 * mebibyte // 4)
    for name, size in (("train", 128), ("evaluate", 32)):
        with meter.phase(name):
            torch.ones(size * mebibyte // 4)
    assert held.sum() == held.numel()
    return costs(meter)


def test_the_memory_of_a_phase_is_its_peak_with_the_backbone_in_it():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system cannot forget a process's high-water mark")
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # no memory of earlier tests to be used again
        found = pool.apply(memory_by_phase)
    by_hand = {"load": 64, "train": 64 + 128, "evaluate": 64 + 32}
    measured = {name: found[f"{name}_peak_memory_bytes"] / 2**20 for name in by_hand}
    assert measured == pytest.approx(by_hand, abs=6)
    assert found["peak_memory_bytes"] == found["train_peak_memory_bytes"]


def test_only_the_work_of_a_step_is_on_its_clock(toy_cell, monkeypatch):
    """Padding is no token; collating and validation cost no step time."""
    cell = toy_cell("seq2seq", "lora", "budget.steps=3", "budget.evaluations=3")
    run, data = prepare(cell, torch.float32)
    model, meter = run.model, run.meter
    clock = Clock(monkeypatch, meter)
    forward = type(model).forward

    def slow(self, *args, **kwargs):
        clock.time += 1.0
        return forward(self, *args, **kwargs)

    collate = type(cell.task).collate

    def slow_too(self, *args):
        clock.time += 20.0
        return collate(self, *args)

    monkeypatch.setattr(type(model), "forward", slow)
    monkeypatch.setattr(type(cell.task), "collate", slow_too)
    for _ in fit(run, data):
        clock.time += 1000.0
    assert [seconds for seconds, _, _ in meter.steps] == [1.0, 1.0, 1.0]
    # three steps; a validation before the first and after each, of one batch of 16
    assert meter.seconds == {"train": 3 * 21.0, "evaluate": 4 * 21.0}
    order = batches([cell.task.length(f) for f in data.train], 8, cell.seed)
    by_hand = [sum(len(data.train[i]["source"]) + len(data.train[i]["target"]) for i in next(order)) for _ in range(3)]
    assert [tokens for _, tokens, _ in meter.steps] == by_hand
    assert [examples for _, _, examples in meter.steps] == [8, 8, 8]
