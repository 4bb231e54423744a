"""Every public command ends in a line and a status, whatever its output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.command import end

ROOT = Path(__file__).parents[1]
COMMANDS = sorted(
    file for file in (ROOT / "benchmark").rglob("*.py") if 'if __name__ == "__main__":' in file.read_text()
)


def test_every_command_ends_by_the_same_function():
    assert len(COMMANDS) == 12
    ends = {file.relative_to(ROOT).as_posix(): file.read_text().rstrip().splitlines()[-1].strip() for file in COMMANDS}
    expected = dict.fromkeys(ends, "sys.exit(end(main, sys.argv[1:]))") | {"benchmark/cli.py": "sys.exit(entry())"}
    assert ends == expected


def broken(_):
    raise ZeroDivisionError("first line\nsecond")


def test_an_unforeseen_error_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back what it wraps
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    assert end(broken, []) == 1
    assert capsys.readouterr().err == "failed: ZeroDivisionError: first line (BENCHMARK_DEBUG=1 shows where)\n"
    monkeypatch.setenv("BENCHMARK_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        end(broken, [])


@pytest.mark.parametrize("module", ["run", "report", "advise"])
def test_a_reader_that_leaves_is_no_error(module):
    command = f"{sys.executable} -m benchmark.{module} --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


@pytest.mark.slow
@pytest.mark.parametrize("output", ["ascii", "full", "cp1252", "closed"])
def test_a_run_is_recorded_whatever_becomes_of_its_output(output, tmp_path, toy_shape):
    overrides = ["method=lora", *toy_shape, "budget.steps=2", "device=cpu"]
    command = [sys.executable, "-m", "benchmark.run", *overrides, f"results={tmp_path}"]
    environment = os.environ | ({"PYTHONIOENCODING": output} if output in ("ascii", "cp1252") else {})
    closing = {"closed": ["bash", "-c", 'exec "$@" >&-', "bash", *command]}
    with open("/dev/full" if output == "full" else tmp_path / "printed", "w") as stream:
        done = subprocess.run(
            closing.get(output, command), cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    (record,) = tmp_path.glob("runs/*/*/*.json")
    assert json.loads(record.read_text())["status"] == "done"
    if output in ("ascii", "cp1252"):
        assert b"recorded in" in (tmp_path / "printed").read_bytes()
