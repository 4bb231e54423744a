"""A report of many records: valid, in time proportional to their number."""

import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import pytest

from benchmark.records import Store
from benchmark.report import frame
from benchmark.report.comparisons import tables
from benchmark.report.tables import scores
from scripts import many_records

ROOT = Path(__file__).resolve().parents[1]


def test_synthetic_records_are_valid_and_of_every_kind(tmp_path):
    many_records.make(300, tmp_path / "published/reference", 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runs = frame.load(tmp_path)
    assert len(runs) == 300
    assert {record.status for _, record in runs} == {"done", "failed"}
    assert Counter(record.config["phase"] for _, record in runs) == {"tune": 120, None: 180}
    store = Store(tmp_path / "published/reference")
    kept = list(tmp_path.rglob("*.examples.jsonl.gz"))
    assert 60 < len(kept) < 120
    record = next(
        r
        for _, r in runs
        if (tmp_path / "published/reference" / r.task / r.method / f"{r.run_id}.examples.jsonl.gz") in kept
    )
    assert len(store.examples(record)) == many_records.TEST


def spent(number, folder):
    """Make so many records; return processor seconds of tables and frames."""
    many_records.make(number, folder / "published/reference", 0.0)
    tries = []
    for _ in range(3):
        started = time.process_time()
        runs = frame.load(folder)
        table = frame.tidy(runs)
        frame.write(table, folder / "runs.csv")
        frame.measurements(runs, table)
        for (task, budget), members in tables(runs).items():
            scores.table(f"{task}_{budget}", members)
        tries.append(time.process_time() - started)
    return min(tries)


@pytest.mark.slow
def test_the_script_times_every_part_twice(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "many_records.py"), "60", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    timed = [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("cold", "warm"))]
    assert sorted(timed) == sorted([run, part] for run in ("cold", "warm") for part in (*many_records.PARTS, "all"))


@pytest.mark.slow
def test_tables_and_frames_of_a_thousand_records_take_seconds_and_grow_evenly(tmp_path):
    few, many = spent(500, tmp_path / "few"), spent(2000, tmp_path / "many")
    assert many / 2 < 10
    assert many < 2.5 * 4 * few  # a quadratic step would make it sixteen times
