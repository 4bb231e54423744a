"""A sweep through a real Slurm: killed, cancelled, requeued, complete.

`pytest -m slurm` runs it. Packages: slurm-wlm munge slurmdbd mariadb-server.
"""

import csv
import importlib.util
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmark.records import Store

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "slurm_one_node.sh"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged", "slurmdbd", "mariadbd")
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
LACKING = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
LACKING += [] if importlib.util.find_spec("submitit") else ["submitit"]
METHODS, SEEDS = ("lora", "ia3", "houlsby", "full"), (0, 1, 2)
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(LACKING), reason=f"no Slurm to try it on: {', '.join(LACKING)} not here"),
]


class Worker(NamedTuple):
    """A process of a job that is in the middle of a cell."""

    pid: int
    job: str  # as scancel and scontrol name it
    cell: str  # the run's id


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(what, look, seconds=90):
    """Look until there is something to see."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"no {what} after {seconds} s"
        time.sleep(0.1)
    return seen


@pytest.fixture(scope="module")
def slurm():
    """Bring up a Slurm of two CPUs, in a folder and at ports of its own."""
    own = {
        "SLURM_ONE_NODE": f"/tmp/slurm_one_node.{os.getpid()}",
        "SLURM_ONE_NODE_PORT": str(20000 + os.getpid() % 2000 * 4),
        "SLURM_ONE_NODE_CPUS": "2",
        "SLURM_CONF": f"/tmp/slurm_one_node.{os.getpid()}/slurm.conf",
        "OMP_NUM_THREADS": "1",  # here as there: another number of threads sums in another order
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in own.items():
            patch.setenv(name, value)
        try:
            subprocess.run([SCRIPT, "up", "accounting"], check=True)
            yield
        finally:
            subprocess.run([SCRIPT, "down"], check=True)


@pytest.fixture(scope="module")
def words(tiny_seq2seq):
    """A dozen cells of the smoke sweep, each long enough to be stopped in the middle."""
    shape = ["backbone=seq2seq", f"backbone.checkpoint={tiny_seq2seq}", "budget.steps=600", "budget.dropout=0.1"]
    return ["+sweep=smoke", f"method={','.join(METHODS)}", f"seed={','.join(map(str, SEEDS))}", *shape, "device=cpu"]


@pytest.fixture(scope="module")
def undisturbed(words, slurm, tmp_path_factory):
    """The results of the same sweep in one local process."""
    results = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([sys.executable, "-m", "benchmark.run", *words, f"results={results}"], cwd=ROOT, check=True)
    return results


@pytest.fixture
def submit(words, slurm, tmp_path):
    """Start the command that submits the sweep and waits for its jobs."""
    started = []

    def start(*more):
        logs = tmp_path / f"hydra{len(started)}"
        command = [sys.executable, "-m", "benchmark.run", *words, *more, f"results={tmp_path / 'results'}"]
        command += ["hydra/launcher=slurm", f"hydra.sweep.dir={logs}"]
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
    tool("scancel", "--user", str(os.getuid()))


def said_by(process, seconds=240):
    """Wait for a command to end, and show what it said where the test fails."""
    said, _ = process.communicate(timeout=seconds)
    print(said)
    return said


def stored(results):
    return {record.run_id: record for record in Store(results / "runs").records()}


def at_work(results):
    """List the processes at work on a cell, with seconds since the start."""
    for lease in results.glob("runs/*/*/.*.lease"):
        try:
            said = dict(line.split("=", 1) for line in lease.read_text().splitlines() if "=" in line)
            age, pid = time.time() - lease.with_suffix(".starts").stat().st_mtime, int(said["pid"])
            variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
        except (OSError, ValueError, KeyError):  # it ended meanwhile
            continue
        job = dict(variable.partition("=")[::2] for variable in variables)
        yield Worker(pid, f"{job['SLURM_ARRAY_JOB_ID']}_{job['SLURM_ARRAY_TASK_ID']}", lease.name.split(".")[1]), age


def in_the_middle(results, but=None):
    """Choose a training process at its second cell or a later one."""
    for worker, age in at_work(results):
        logs = results.parent.glob(f"hydra*/slurm/{worker.job}/*.out")
        if worker.job != but and 1.0 < age < 2.5 and any("done " in log.read_text() for log in logs):
            return worker
    return None


def rows(results):
    """Read runs.csv without the columns that hold a time or a size in memory."""
    subprocess.run([sys.executable, "-m", "benchmark.report", f"results={results}"], cwd=ROOT, check=True)
    with open(results / "runs.csv", newline="") as file:
        found = list(csv.DictReader(file))
    kept = {"cost.params", "cost.trainable_params", "cost.head_params", "cost.checkpoint_bytes"}
    return [{k: v for k, v in row.items() if not k.startswith("cost.") or k in kept} for row in found]


def leftovers(results):
    """List files beside the record of a cell at work, and duplicate records."""
    hidden = [p.name for p in results.glob("runs/*/*/.*")]
    return hidden + [p.name for p in results.glob("runs/*/*/*.json") if p.name.count(".") > 1]


def finished(results):
    """Count how often each cell was run to its end, by what the jobs printed."""
    logs = [log.read_text() for log in results.parent.glob("hydra*/slurm/*/*.out")]
    return Counter(re.findall(r"^done (\w+) on nmt, seq2seq, seed (\d+)", "\n".join(logs), re.MULTILINE))


def numbers(record):
    return [m for m in record.measurements if m.split != "cost"]


def status(words, results):
    """Give the exit status of benchmark.status, and print its output."""
    return subprocess.run([sys.executable, "-m", "benchmark.status", *words, f"results={results}"], cwd=ROOT).returncode


def test_a_sweep_that_is_killed_cancelled_and_drained_is_complete_in_the_end(words, submit, undisturbed, tmp_path):
    results, node = tmp_path / "results", tool("hostname", "-s").strip()
    first = submit("cells_per_job=3")
    killed = wait_for("worker in the middle of a cell", lambda: in_the_middle(results))
    os.kill(killed.pid, signal.SIGKILL)
    cancelled = wait_for("other worker", lambda: in_the_middle(results, but=killed.job))
    tool("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    tool("scancel", cancelled.job)
    said = said_by(first)
    assert first.returncode == 1
    assert "the launcher failed" in said
    before = stored(results)
    print(f"killed {killed}, cancelled {cancelled}, {len(before)} recorded")
    assert 2 <= len(before) < 12
    assert not {killed.cell, cancelled.cell} & before.keys()
    assert list(results.glob(f"runs/*/*/.{killed.cell}.starts"))
    assert list(results.glob(f"runs/*/*/.{cancelled.cell}.paused"))

    second = submit("cells_per_job=2")  # while jobs of the first wait for the node
    wait_for("second array in the queue", lambda: len(set(tool("squeue", "-h", "-o", "%F").split())) == 2)
    tool("scontrol", "update", f"nodename={node}", "state=resume")
    said_by(second)
    assert second.returncode == 0
    wait_for("empty queue", lambda: not tool("squeue", "-h"))
    after = stored(results)
    assert len(after) == len(METHODS) * len(SEEDS)
    assert leftovers(results) == []
    assert finished(results) == Counter(itertools.product(METHODS, map(str, SEEDS)))  # each once
    assert Counter(r.value("cost", "restarts") for r in after.values()) == {None: 11, 1.0: 1}
    assert after[cancelled.cell].value("cost", "restarts") == 1
    assert {name: after[name] for name in before} == before  # what was recorded was not touched
    assert rows(results) == rows(undisturbed)
    assert status(words, results) == 0


def test_jobs_that_are_told_to_stop_go_on_where_they_were(words, submit, undisturbed, tmp_path):
    results, expected = tmp_path / "results", stored(undisturbed)
    command = submit("cells_per_job=2", "seed=0", "attempts=1")  # who is told to stop did not die
    warned = wait_for("worker in the middle of a cell", lambda: in_the_middle(results))
    tool("scancel", "--signal=USR2", warned.job)  # what Slurm sends before a job's time is up: submitit puts it back
    requeued = wait_for("other worker", lambda: in_the_middle(results, but=warned.job))
    tool("scontrol", "requeue", requeued.job)  # as a job of more weight does: SIGTERM
    for cell in (warned.cell, requeued.cell):
        wait_for("saved state", lambda cell=cell: list(results.glob(f"runs/*/*/.{cell}.paused/state.json")), 10)
    said_by(command)
    assert command.returncode == 0
    found = stored(results)
    assert len(found) == len(METHODS)
    assert {name: record.value("cost", "restarts") for name, record in found.items()} == {
        name: 1 if name in (warned.cell, requeued.cell) else None for name in found
    }
    assert all(numbers(found[name]) == numbers(expected[name]) for name in found)
    assert leftovers(results) == []
    assert finished(results) == Counter((method, "0") for method in METHODS)
    assert status([*words, "seed=0"], results) == 0
