"""Workers that are killed at random moments lose nothing and do nothing twice."""

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from benchmark.errors import LeaseHeldError
from benchmark.records import Store
from benchmark.report import __main__ as report_command
from benchmark.sweeps.lease import Lease

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
TIMES = ("_seconds", "_bytes", "_per_second", "_per_step", "_per_example", "_unmerged", "_merged", "restarts")


def sweep(tiny_causal, results):
    """Sixty cells of a second each."""
    shape = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    grid = ["method=lora,ia3,houlsby,head", f"seed={','.join(map(str, range(15)))}", "budget=smoke", "budget.steps=20"]
    return [
        sys.executable,
        "-m",
        "benchmark.run",
        "-m",
        *shape,
        *grid,
        "device=cpu",
        "attempts=99",
        f"results={results}",
    ]


def numbers(results):
    """The table of runs without what a clock or a memory says."""
    report_command.main([f"results={results}"])
    table = pd.read_csv(results / "runs.csv")
    costs = [c for c in table.columns if c.startswith("cost.") and c.endswith(TIMES) and c != "cost.checkpoint_bytes"]
    return table.drop(columns=costs)


@pytest.mark.chaos
def test_fifty_kills_leave_the_table_of_an_undisturbed_sweep(tiny_causal, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    quiet = {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    undisturbed = subprocess.run(sweep(tiny_causal, tmp_path / "calm"), check=False, **quiet)
    assert undisturbed.returncode == 0
    rng, command = random.Random(0), sweep(tiny_causal, tmp_path / "wild")
    workers = [subprocess.Popen(command, **quiet) for _ in range(2)]
    kills = 0
    while kills < KILLS:
        time.sleep(rng.uniform(0.5, 6))  # from within its imports to its third cell
        victim = rng.randrange(2)
        if workers[victim].poll() is None:
            workers[victim].kill()
            kills += 1
        workers[victim].wait()
        if all(worker.poll() == 0 for worker in workers):  # finished before the last kill: begin a part again
            shutil.rmtree(next((tmp_path / "wild" / "runs").glob("*/*")))
        workers[victim] = subprocess.Popen(command, **quiet)
    for worker in workers:
        worker.wait(300)
    assert subprocess.run(command, check=False, **quiet).returncode == 0
    calm, wild = numbers(tmp_path / "calm"), numbers(tmp_path / "wild")
    assert len(calm) == 60
    pd.testing.assert_frame_equal(calm, wild)
    files = list((tmp_path / "wild" / "runs").rglob("*"))
    assert not [f for f in files if f.suffix in (".lease", ".starts", ".tmp") or f.name.endswith(".1.json")]


def test_one_cell_is_one_workers(tmp_path):
    one, other = Lease(tmp_path, "abc"), Lease(tmp_path, "abc")
    with one.hold():
        with pytest.raises(LeaseHeldError, match=rf"process {os.getpid()} on .* is running this cell"), other.hold():
            pytest.fail("both have it")
        assert other.owner() == one.owner()
    with other.hold():
        pass
    assert other.owner() is None
    assert list(tmp_path.iterdir()) == []


def test_a_dead_workers_cell_is_taken_over_at_once_and_its_death_is_counted(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from benchmark.sweeps.lease import Lease
lease = Lease(Path(sys.argv[1]), "abc")
with lease.hold(), lease.started():
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for deaths in (1, 2):
        died = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=ROOT, check=False)
        assert died.returncode == -9
        lease, before = Lease(tmp_path, "abc"), time.monotonic()
        with lease.hold():
            assert time.monotonic() - before < 5
            assert lease.deaths() == deaths
    with lease.hold(), pytest.raises(KeyboardInterrupt), lease.started():
        raise KeyboardInterrupt  # told to stop: no death
    assert lease.deaths() == 2
    with lease.hold(), lease.started():
        pass
    assert lease.deaths() == 0


def test_a_lease_of_another_machine_expires_a_minute_after_its_last_heartbeat(tmp_path, monkeypatch):
    lease = Lease(tmp_path, "abc")
    foreign(lease)
    with pytest.raises(LeaseHeldError, match="on elsewhere"), lease.hold():
        pytest.fail("its owner may live")
    times = iter(range(0, 150, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(times)))  # the clock of whoever watches the lease
    with lease.hold(wait=True):
        assert 60 <= next(times) <= 100
        assert "elsewhere" not in lease.owner()


def foreign(lease):
    """Leave the lease of a process of another machine."""
    with lease.hold():
        content = lease.file.read_text()
    lease.file.write_text(re.sub(r"(?m)^host=.*$", "host=elsewhere", content))


def test_a_single_run_waits_for_a_heartbeat_and_takes_over_where_there_is_none(tmp_path, monkeypatch, capsys):
    lease, clock = Lease(tmp_path, "abc"), iter(range(0, 1000, 10))
    foreign(lease)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))  # of whoever watches the lease
    with lease.hold(watch=True):
        assert 60 <= next(clock) <= 120
        assert "elsewhere" not in lease.owner()
    assert "waiting up to 60 s" in capsys.readouterr().out


def test_a_single_run_is_refused_as_soon_as_the_other_process_is_seen_to_live(tmp_path):
    lease = Lease(tmp_path, "abc")
    foreign(lease)
    beat = threading.Timer(1.0, os.utime, [lease.file])
    beat.start()
    before = time.monotonic()
    with pytest.raises(LeaseHeldError, match="on elsewhere is running this cell"), lease.hold(watch=True):
        pytest.fail("its owner lives")
    assert time.monotonic() - before < 20
    beat.join()
    lease.file.unlink()
    with lease.hold():  # a live process of this machine needs no watching
        before = time.monotonic()
        with pytest.raises(LeaseHeldError), Lease(tmp_path, "abc").hold(watch=True):
            pytest.fail("both have it")
        assert time.monotonic() - before < 1


@pytest.mark.slow
def test_what_a_worker_killed_right_after_recording_leaves_is_cleared(tiny_causal, tmp_path):
    from benchmark import run

    words = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    words += ["-m", "method=lora", "seed=0,1", "budget=smoke", "device=cpu", f"results={tmp_path}"]
    assert run.main(words) == 0
    one, other = Store(tmp_path / "runs").records()
    folder = tmp_path / "runs" / one.task / one.method
    before = sorted(folder.rglob("*"))
    die = """
import os, signal, sys
from pathlib import Path
from benchmark.sweeps.lease import Lease
from benchmark.records.store import _temporary
folder, run_id = Path(sys.argv[1]), sys.argv[2]
with Lease(folder, run_id).hold(), Lease(folder, run_id).started(), _temporary(folder / f"{run_id}.json", b"half"):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", die, folder, one.run_id], cwd=ROOT, check=False)
    assert len(list(folder.rglob("*"))) == len(before) + 3
    with Lease(folder, other.run_id).hold():  # another worker's, alive: not ours to clear
        assert run.main(words) == 0
        assert sorted(folder.rglob("*")) == sorted([*before, Lease(folder, other.run_id).file])
    assert sorted(folder.rglob("*")) == before


def test_a_cell_over_which_processes_keep_dying_is_recorded_as_failed(tiny_causal, tmp_path):
    from benchmark import run

    words = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    words += ["method=lora", "budget=smoke", "device=cpu", f"results={tmp_path}"]
    assert run.main(words) == 0
    store = Store(tmp_path / "runs")
    [known] = store.records()
    folder = store.folder / known.task / known.method
    for path in folder.glob("*"):
        path.unlink()
    (folder / f".{known.run_id}.starts").write_text("started\n" * 3)
    assert run.main(words) == 1
    [failed] = store.records()
    assert (failed.status, failed.reason.split(":")[0]) == ("failed", "killed")
    assert run.main([*words, "retry=failed"]) == 0
    assert [r.status for r in store.records()] == ["done"]


@pytest.mark.chaos
def test_a_full_disk_is_told_and_costs_no_earlier_record(tiny_causal, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = shutil.which("mount") and os.geteuid() == 0
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not mounted or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        shape = ["task=text_generation", "data=toy", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
        base = [sys.executable, "-m", "benchmark.run", *shape, "method=lora", "budget=smoke", "device=cpu"]
        known = {}
        for seed in itertools.count():
            command = [*base, f"seed={seed}", f"results={place}"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                break
            known = {r.run_id: r for r in Store(place / "runs").records()}
            assert len(known) == seed + 1
        assert known
        assert (done.returncode, "No space left on device" in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
        assert {r.run_id: r for r in Store(place / "runs").records()} == known
    finally:
        subprocess.run(["umount", place], check=False)
