"""The command that plans, the time by records, and advice by plans."""

import socket
import statistics
from pathlib import Path

import pytest

from benchmark.advise import __main__ as advise
from benchmark.advise import planned
from benchmark.config.compose import cell_of
from benchmark.plan.__main__ import main
from benchmark.plan.estimate import plan
from benchmark.plan.rates import rate
from benchmark.records import shipped

ROOT = Path(__file__).parents[1]


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_the_command_prints_a_row_for_each_method_without_a_network(no_network, capsys):
    call = ["task=fluorescence", "backbone=esm2_8m", "method=lora,pissa", "method.rank=8", "budget.batch_size=1"]
    assert main([*call, "max_memory_gb=1"]) == 0
    out = capsys.readouterr().out
    lora = next(line for line in out.splitlines() if line.startswith("lora "))
    # 6 blocks of width 320 with four maps of attention and a feed-forward of 1280, and a head of one number
    added = 6 * 8 * (4 * (320 + 320) + 2 * (320 + 1280))
    assert lora.split()[1:5] == [f"{added + 321:,}", f"{added:,}", "0", "321"]
    assert lora.split()[-1] == "yes"
    assert "pissa cannot run: pissa reads the values" in out
    assert "Step time: unknown" in out


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["task=nmt", "method=lroa"], "method=lroa: no such method; did you mean"),
        (["task=nmt"], "method=? is missing"),
        (["task=nmt", "method=lora", "max_memory_gb=0"], "max_memory_gb=0: a positive number is wanted"),
        (["task=nmt", "method=lora", "labels=2.5"], "labels=2.5: a positive number is wanted"),
        (["task=nmt", "method=lora", "device=tpu"], "device: 'tpu' given, cpu or cuda wanted"),
        (["task=nmt,protein", "method=lora"], "a plan compares methods; give one of each"),
    ],
)
def test_a_wrong_call_is_refused_in_one_line(call, said, capsys):
    assert main(call) == 2
    err = capsys.readouterr().err
    assert err.startswith("refused: ")
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_recorded_steps_of_the_same_method_and_size_give_the_time():
    cells = [cell_of(["task=protein", f"method={name}", "budget=reference"]) for name in ("lora", "ssf")]
    lora, ssf = plans = [plan(one, "cpu") for one in cells]
    known = rate(cells[0], plans, "cpu", ROOT / "results")
    recorded = [r for r in shipped("protein", "lora") if r.value("cost", "trainable_params") == lora.trained]
    seconds = [r.value("cost", "seconds_per_step") for r in recorded if r.budget_name == "reference"]
    assert (known.records, known.of(lora)) == (len(seconds), pytest.approx(statistics.median(seconds)))
    assert known.of(ssf) == pytest.approx(known.of(lora) * ssf.step.flops / lora.step.flops)
    assert rate(cells[0], plans, "cuda", ROOT / "results") is None


@pytest.mark.slow
def test_without_records_advice_is_by_plans(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(planned, "methods", lambda: ["lora", "head", "houlsby"])
    call = ["task=protein", f"results={tmp_path}", "max_memory_gb=1", "mergeable=true"]
    assert advise.main(call) == 1  # no record, so no advice
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 methods of +sweep=small fit max_memory_gb=1, mergeable=true: lora (" in said  # houlsby never merges
    advise.main([*call, "max_params=2e3"])
    said = " ".join(capsys.readouterr().out.split())
    # esm_lattice is 128 wide, and a head of one number has a bias
    assert (
        "1 of 3 methods of +sweep=small fit max_memory_gb=1, max_params=2000, mergeable=true: head (129 trained" in said
    )
