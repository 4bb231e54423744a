"""The report: its command, its files, and rows of what failed or is missing."""

import csv
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from factories import lost_record, publish_records, run_record, table_rows

from benchmark.records import Measurement, Store
from benchmark.report import __main__ as report
from benchmark.report import comparisons
from benchmark.report.frame import load, measurements, tidy

ROOT = Path(__file__).resolve().parents[1]
KINDS = {".csv", ".parquet", ".md", ".tex", ".pdf"}


def run(*arguments):
    command = [sys.executable, "-m", "benchmark.report", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_failure_before_the_data_was_read_joins_its_siblings(tmp_path):
    publish_records(tmp_path, run_record(), lost_record("failed", "out of memory", seed=1))
    (members,) = comparisons.tables(load(tmp_path)).values()
    assert [len(group.records) for group in members] == [2]


def test_the_table_of_runs_has_every_run_and_rounds_to_six_digits(tmp_path):
    publish_records(tmp_path, run_record(), lost_record("skipped", "why, so", method="bitfit"))
    Store(tmp_path / "runs").append(run_record(bleu=1 / 3), None)
    assert report.main([f"results={tmp_path}"]) == 0
    with open(tmp_path / "runs.csv", newline="") as file:
        found = list(csv.DictReader(file))
    assert [(r["source"], r["method"], r["status"], r["test.bleu"]) for r in found] == [
        ("reference", "bitfit", "skipped", ""),
        ("reference", "lora", "done", "30"),
        ("yours", "lora", "done", "0.333333"),
    ]
    assert found[0]["reason"] == "why, so"
    assert found[1]["cost.params"] == "5812345"  # a count keeps every digit
    assert found[1]["cost.seconds_per_step"] == "0.123457"
    assert "valid.loss" not in found[1]  # a point of a curve is no result
    assert (found[1]["weights"], found[1]["fingerprint"], found[1]["commit"]) == ("pretrained", "f1", "c0ffee")


@pytest.mark.slow
def test_same_records_same_bytes_in_whatever_order_they_came(tmp_path):
    made = [run_record(seed=s, bleu=20 + s) for s in range(3)] + [
        run_record("frozen", trained=0),
        lost_record("failed", "x", seed=7),
    ]
    contents = []
    for name, order in (("one", made), ("two", made[::-1])):
        assert report.main([f"results={publish_records(tmp_path / name, *order)}"]) == 0
        for _ in range(2):
            files = sorted(p for p in (tmp_path / name).rglob("*") if p.suffix in KINDS)
            contents.append({str(p.relative_to(tmp_path / name)): p.read_bytes() for p in files})
            assert report.main([f"results={tmp_path / name}"]) == 0
    made = {
        "runs.csv",
        "measurements.parquet",
        "figures/parameters/nmt.pdf",
        *(f"tables/nmt.{k}" for k in ("md", "tex", "csv")),
    }
    assert contents[0].keys() >= made
    assert all(content == contents[0] for content in contents)


def test_a_task_without_a_score_has_a_table_and_no_figure(tmp_path):
    assert table_rows(publish_records(tmp_path, lost_record("failed", "x")))["lora"][0][3] == "failed (a)"
    assert list((tmp_path / "figures").iterdir()) == []


def test_a_broken_record_is_named_and_the_rest_is_reported(tmp_path, capsys):
    publish_records(tmp_path, run_record())
    (tmp_path / "published/reference" / "nmt" / "lora" / "0123456789ab.json").write_text("{")
    assert len(table_rows(tmp_path)["lora"]) == 1
    assert "0123456789ab.json is left out" in capsys.readouterr().err


def test_the_command_never_imports_torch(tmp_path):
    publish_records(tmp_path, run_record())
    code = f"""
import sys
from benchmark.report.__main__ import main
status = main(["results={tmp_path}"])
sys.exit(status or ("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "figures" / "parameters" / "nmt.png").read_bytes().startswith(b"\x89PNG")


def test_without_records_it_says_where_it_looked(tmp_path):
    done = run(f"results={tmp_path}")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    for word in (tmp_path / "published", tmp_path / "runs", "python -m benchmark.run"):
        assert str(word) in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["result=x", "results", "results=", "--fast"])
def test_a_wrong_call_is_one_line_and_status_2(argument, capsys):
    assert report.main([argument]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (
        shown.err == f"refused: {argument}: the report takes results=DIR, metric=NAME, plugins=DIR and nothing else\n"
    )


def test_help_names_what_is_rebuilt(capsys):
    assert report.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("results=DIR", "runs.csv", "tables", "figures"))


def test_the_ranking_in_the_page_of_results_is_the_derived_table():
    table = (ROOT / "results/published/reference/tables/ranking_reference_tuned.md").read_text().splitlines()
    rows = [line for line in table if line.startswith("|")]
    shown = (ROOT / "results/README.md").read_text().partition("### Order over tasks\n\n")[2].partition("\n\n")[2]
    assert len(rows) > 6
    assert shown.partition("\n\n")[0].splitlines() == rows


def test_every_measurement_is_a_row_of_the_parquet_file(tmp_path):
    report.main([f"results={publish_records(tmp_path, run_record(), run_record(seed=1))}"])
    table = pd.read_parquet(tmp_path / "measurements.parquet")
    assert len(table) == 2 * len(run_record().measurements)
    curve = table[(table["split"] == "valid") & (table["seed"] == 1)]
    assert curve[["name", "value", "step"]].to_numpy().tolist() == [["loss", 5.0, 10]]
    assert table[table["name"] == "perplexity"]["step"].isna().all()


def test_measurements_are_in_order_of_run_and_as_they_were_recorded():
    curve = [Measurement("train", "loss", 1 / step, step) for step in (1, 2, 10)]
    measured = (
        Measurement("valid", "bleu", 3),
        *curve,
        Measurement("train", "loss", 0.5),
        Measurement("cost", "b", 7.0),
    )
    runs = [("yours", run_record("b", 1, measurements=measured)), ("reference", run_record("a", measurements=measured))]
    runs.append(("reference", lost_record("skipped", "why", method="c")))
    table = measurements(runs, tidy(runs))
    expected = [
        [one.method, one.seed, source, m.split, m.name, m.value, m.step]
        for source, one in sorted(runs, key=lambda run: run[1].method)
        for m in one.measurements
    ]
    found = table[["method", "seed", "source", "split", "name", "value", "step"]].astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == expected
