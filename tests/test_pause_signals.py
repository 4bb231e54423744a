"""Signals and the command: who is told to stop stops in time."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.engine import data, runner
from benchmark.engine.checkpoint import Pause, Paused, leave, listening
from benchmark.records import Record
from benchmark.sweeps.execute import perform
from benchmark.sweeps.options import RunOptions

ROOT = Path(__file__).parents[1]


def test_a_signal_only_asks_and_the_handler_it_had_is_called_in_the_end(tmp_path):
    called = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: called.append(number))
    try:
        pause = Pause(tmp_path / "x")
        pause.training, pause._save = SimpleNamespace(step=7), called.append  # something to lose
        with listening(pause):
            os.kill(os.getpid(), signal.SIGUSR2)
            assert called == []
            with pytest.raises(Paused) as stopped:
                pause.check()
        assert called == [pause.training]
        called.clear()
        with pytest.raises(SystemExit) as left:
            leave(stopped.value)
        assert (called, left.value.code) == ([signal.SIGUSR2], 128 + signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert len(called) == 2  # it is in its place again
    finally:
        signal.signal(signal.SIGUSR2, before)


def told_to_stop(monkeypatch, place, cell, results):
    """Run a cell with a signal inside a function; count the handler's calls."""
    owner = data if place == "read" else runner
    called, real = [], getattr(owner, place)

    def signalled(*given):
        os.kill(os.getpid(), signal.SIGUSR2)
        return real(*given)

    monkeypatch.setattr(owner, place, signalled)
    before = signal.signal(signal.SIGUSR2, lambda number, _: called.append(number))
    rest = {"retry": None, "save": None, "force": False, "shared": True, "attempts": 1}
    try:
        with pytest.raises(SystemExit) as left:
            perform(cell, RunOptions(results=str(results), device="cpu", **rest))
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (called, left.value.code) == ([signal.SIGUSR2], 128 + signal.SIGUSR2)
    return sorted(p.name.partition(".")[2] for p in results.glob("runs/*/*/*"))


def test_who_is_told_to_stop_while_it_reads_stops_at_once_and_did_not_die(toy_cell, tmp_path, monkeypatch):
    assert told_to_stop(monkeypatch, "read", toy_cell("causal_lm", "lora"), tmp_path) == []


def test_a_signal_that_comes_too_late_to_stop_a_run_stops_those_after_it(toy_cell, tmp_path, monkeypatch):
    files = told_to_stop(monkeypatch, "save", toy_cell("causal_lm", "lora"), tmp_path)
    assert files == ["examples.jsonl.gz", "json"]


@pytest.mark.slow
def test_the_command_goes_on_after_a_termination(tiny_causal, tmp_path):
    words = [
        "task=text_generation",
        "method=lora",
        "data=toy",
        "backbone=causal_lm",
        f"backbone.checkpoint={tiny_causal}",
    ]
    words += ["budget=smoke", "budget.steps=200", "budget.eval_batch_size=64", "device=cpu"]

    def start(results):
        command = [sys.executable, "-m", "benchmark.run", *words, f"results={results}"]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start(tmp_path / "a")
    folder = tmp_path / "a" / "runs" / "text_generation" / "lora"
    waited = time.monotonic()
    while not list(folder.glob(".*.starts")) and time.monotonic() - waited < 60:
        time.sleep(0.2)
    time.sleep(2)
    first.send_signal(signal.SIGTERM)
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM
    assert "the same command continues it" in said
    assert not list(folder.glob("*.json")) + list(folder.glob(".*.lease")) + list(folder.glob(".*.starts"))
    second, other = start(tmp_path / "a"), start(tmp_path / "b")
    assert second.wait(120) == other.wait(120) == 0
    records = [
        Record.from_json(next((tmp_path / name).rglob("text_generation/lora/*.json")).read_text()) for name in "ab"
    ]
    numbers = [[m for m in r.measurements if m.split != "cost"] for r in records]
    assert json.dumps(numbers[0]) == json.dumps(numbers[1])
    assert list(folder.glob(".*.paused")) == []
