"""Every public command with an odd results folder and an output that cannot take what it writes."""

import io
import os
import sys
from dataclasses import replace

import pytest
from factories import answered_record

from benchmark import command, compare, publish, status
from benchmark.advise import __main__ as advise
from benchmark.audit import __main__ as audit
from benchmark.records import Store
from benchmark.report import __main__ as report
from benchmark.report.figures.drawing import press

ODD = "a,b=c [d] 'e' ü (f) {g} $h"
CALLS = {
    report: ([], 0),
    compare: (["lora", "ia3"], 0),
    advise: (["task=nmt"], 0),
    status: (["-m", "task=nmt", "method=lora,nöne"], 2),
    publish: (["set", "force=true"], 0),
    audit: (["task=nmt", "data=ünknown"], 2),
}


class Full(io.RawIOBase):
    """A disk or a pipe that takes nothing."""

    def writable(self):
        return True

    def write(self, _):
        raise OSError(28, "No space left on device")


OUTPUTS = {
    "ascii": lambda: io.TextIOWrapper(io.BytesIO(), "ascii"),
    "cp1252": lambda: io.TextIOWrapper(io.BytesIO(), "cp1252"),
    "closed": lambda: None,
    "full": lambda: io.TextIOWrapper(io.BufferedWriter(Full()), "utf-8"),
}


@pytest.fixture(scope="module")
def odd_results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / ODD
    for method, right in (("lora", 90), ("ia3", 40)):
        for seed in (0, 1):
            record, rows = answered_record(method, seed, right + seed)
            Store(folder / "runs").append(replace(record, backbone="mbart_cldr"), rows)
    return folder


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("module", CALLS, ids=lambda module: module.__name__)
def test_every_command_ends_well_whatever_takes_its_output(module, output, odd_results, monkeypatch):
    words, expected = CALLS[module]
    words = words if module is audit else [*words, f"results={odd_results}"]
    monkeypatch.setattr(os, "dup2", lambda *_: None)  # the streams of the tests stay as they are
    monkeypatch.setattr(press, "publish", lambda *_: [])  # no figures, which take long
    errors = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", OUTPUTS[output]())
    monkeypatch.setattr(sys, "stderr", errors)
    ended = command.end(module.main, words)
    monkeypatch.undo()
    errors.flush()
    said = errors.buffer.getvalue().decode("ascii")
    assert ended == expected, said
    assert "failed:" not in said
    assert said.count("\n") == (expected == 2), said


@pytest.mark.parametrize("module", CALLS, ids=lambda module: module.__name__)
def test_an_unforeseen_error_of_any_command_is_one_line_unless_it_is_debugged(module, monkeypatch, capsys):
    def fail(_):
        raise RuntimeError("first\nsecond")

    monkeypatch.delenv(command.DEBUG, raising=False)
    monkeypatch.setattr(module, "main", fail)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert command.end(module.main, []) == 1
    assert capsys.readouterr().err == f"failed: RuntimeError: first ({command.DEBUG}=1 shows where)\n"
    monkeypatch.setenv(command.DEBUG, "1")
    with pytest.raises(RuntimeError):
        command.end(module.main, [])
