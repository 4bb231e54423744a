"""The report: comparable runs are averaged, missing ones shown."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmark.identity import run_id
from benchmark.records import Measurement, Record, Store
from benchmark.report import __main__ as report
from benchmark.report import comparisons
from benchmark.report.figures.drawing import press
from benchmark.report.frame import load, measurements, tidy
from benchmark.report.material import material

ROOT = Path(__file__).resolve().parents[1]
KINDS = {".csv", ".parquet", ".md", ".tex", ".pdf"}


def record(method: str = "lora", seed: int = 0, bleu: float = 30.0, trained: int = 50_000, **changes: object) -> Record:
    config = {
        "task": {"locale": "si"},
        "method": {"description": f"seed {seed}", "rank": changes.pop("rank", 8)},
        "backbone": {"weights": changes.pop("weights", "pretrained")},
        "seed": seed,
    }
    values = {
        "run_id": run_id(config | {"name": method}),
        "task": "nmt",
        "method": method,
        "backbone": "tiny_mt",
        "seed": seed,
        "status": "done",
        "config": config,
        "data": {"fingerprint": "f1", "metric": "bleu"},
        "environment": {"device": "cpu", "device_name": "chip", "commit": "c0ffee"},
        "measurements": (
            Measurement("valid", "loss", 5.0, 10),
            Measurement("test", "bleu", bleu),
            Measurement("test", "perplexity", 4.0),
            Measurement("test/names", "bleu", bleu / 2),
            Measurement("cost", "seconds_per_step", 0.1234567891 + seed),
            Measurement("cost", "peak_memory_bytes", 2e8),
            Measurement("cost", "params", 5_812_345),
            Measurement("cost", "trainable_params", trained),
            Measurement("cost", "checkpoint_bytes", 200_001),
        ),
    }
    return Record(**values | changes)


def lost(status: str, reason: str, **changes: object) -> Record:
    return record(status=status, reason=reason, data={}, measurements=(), **changes)


def shipped(results: Path, *records: Record) -> Path:
    for one in records:
        Store(results / "published/reference").append(one, None)
    return results


def rows(results: Path, task: str = "nmt") -> dict[str, list[list[str]]]:
    """Read the Markdown table as its readers do: method -> cells of its rows."""
    assert report.main([f"results={results}"]) == 0
    lines = (results / "tables" / f"{task}.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")][2:]
    return {name: [row for row in cells if row[2] == name] for name in (row[2] for row in cells)}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmark.report", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_means_and_spreads_are_those_computed_by_hand(tmp_path: Path) -> None:
    # 10, 13, 16: mean 13, squared distances 9 + 0 + 9, over n - 1 = 2 gives 9, root 3
    found = rows(shipped(tmp_path, *(record(seed=s, bleu=b) for s, b in enumerate((10.0, 13.0, 16.0)))))
    (row,) = found["lora"]
    # 50,000 of 5,812,345 are 0.860 %; the median step of 0.123, 1.123 and 2.123 s is 1,123 ms
    assert row[:3] == ["tiny_mt", "pretrained", "lora"]
    assert row[3:6] == ["13.00 ± 3.00", "– †", "–"]  # no predictions, no interval
    assert row[6:10] == ["6.5000 ± 1.5000", "4.0000 ± 0.0000", "3", "–"]
    # stored: 200,001 bytes are 50,000 numbers of 4
    assert row[10:] == ["0.860", "0.860", "0.860", "1123", "200", "0.200"]


def test_a_shifted_tests_own_headline_stands_in_its_column(tmp_path: Path) -> None:
    one = record(bleu=12.0)
    one = replace(
        one, data={**one.data, "headlines": {"test/names": "chrf++"}},
        measurements=(*one.measurements, Measurement("test/names", "chrf++", 37.0)),
    )  # fmt: skip
    (row,) = rows(shipped(tmp_path, one))["lora"]
    head = (tmp_path / "tables" / "nmt.md").read_text()
    assert "test/names chrf++" in head
    assert "test/names bleu" not in head
    assert (row[3], row[6]) == ("12.00", "37.00")


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    (row,) = rows(shipped(tmp_path, record(bleu=12.5)))["lora"]
    assert row[3] == "12.50"


@pytest.mark.parametrize(
    "other",
    [
        {"environment": {"device": "cuda", "device_name": "card"}},
        {"rank": 16},
        {"weights": "random"},
        {"backbone": "other_mt"},
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_not_pooled(other: dict[str, object], tmp_path: Path) -> None:
    found = rows(shipped(tmp_path, record(seed=0, bleu=10.0), record(seed=1, bleu=20.0, **other)))
    scores = [row[3] for same in found.values() for row in same]
    assert sorted(scores) == ["10.00", "20.00"]
    named = {tuple(row[:3]) for same in found.values() for row in same}
    assert len(named) == 2


def test_unlike_data_share_no_table_no_axis_and_no_figure(tmp_path: Path) -> None:
    own = {"fingerprint": "f2-own", "metric": "bleu"}
    shipped(tmp_path, record(bleu=10.0), record("ia3", bleu=11.0))
    for seed in (0, 1, 2):  # more runs than are shipped: the shipped data have the name all the same
        Store(tmp_path / "runs").append(record(seed=seed, bleu=20.0, data=own), None)
    assert {name: row[0][3] for name, row in rows(tmp_path).items()} == {"lora": "10.00", "ia3": "11.00"}
    assert {name: row[0][3] for name, row in rows(tmp_path, "nmt_f2-own").items()} == {"lora": "20.00 ± 0.00"}
    made = material(load(tmp_path), tmp_path)
    drawn = [picture.table for picture in press.every(made) if picture.figure == "parameters"]
    assert [sorted(set(table["score"])) for table in drawn] == [[10.0, 11.0], [20.0]]


def test_a_label_names_what_differs(tmp_path: Path) -> None:
    same_rank = record("full", trained=5_812_345)
    assert set(rows(shipped(tmp_path, record(), record(seed=1, rank=16), same_rank))) == {
        "lora (method.rank=8)",
        "lora (method.rank=16)",
        "full",
    }


def test_own_runs_stand_beside_shipped_ones_of_the_same_cell(tmp_path: Path) -> None:
    shipped(tmp_path, record(bleu=10.0))
    Store(tmp_path / "runs").append(record(bleu=20.0), None)
    found = rows(tmp_path)
    assert {name: row[0][3] for name, row in found.items()} == {
        "lora (source=reference)": "10.00",
        "lora (source=yours)": "20.00",
    }


def test_a_failed_a_skipped_and_a_missing_run_look_different(tmp_path: Path) -> None:
    reason = "a|b: 100% of $x_1 & {y}#~^\\ <z>\nnext line"
    found = rows(
        shipped(
            tmp_path,
            record(),
            lost("failed", "loss is nan", seed=1),
            lost("failed", reason, method="dora"),
            lost("skipped", "no biases", method="bitfit"),
            record("full", weights="large"),
            record("lora", weights="random"),
        )
    )
    # done twice, never run on the other weights; of a control nothing is missing
    assert sorted((row[1], row[3]) for row in found["lora"]) == [
        ("large", "–"),
        ("pretrained", "30.00"),
        ("random", "30.00"),
    ]
    assert [row[1] for row in found["full"]] == ["large", "pretrained"]
    assert found["lora"][1][8] == "1 of 2 (a)"
    assert found["dora"][1][3].startswith("failed (")
    assert found["bitfit"][1][3].startswith("skipped (")
    text = (tmp_path / "tables" / "nmt.md").read_text()
    assert "- (a) seed 1 failed: loss is nan\n" in text
    assert r"failed: a\|b: 100% of $x_1 & {y}#\~^\\ \<z\> next line" in text
    tex = (tmp_path / "tables" / "nmt.tex").read_text()
    assert (
        r"a\textbar{}b: 100\% of \$x\_1 \& \{y\}\#\textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}z\textgreater{} next line"
    ) in tex
    widths = {line.replace(r"\&", "").count("&") for line in tex.splitlines() if line.endswith(r" \\")}
    assert len(widths) == 1


def test_a_failure_before_the_data_was_read_joins_its_siblings(tmp_path: Path) -> None:
    shipped(tmp_path, record(), lost("failed", "out of memory", seed=1))
    (members,) = comparisons.tables(load(tmp_path)).values()
    assert [len(group.records) for group in members] == [2]


def test_times_from_different_machines_say_so(tmp_path: Path) -> None:
    other = {"device": "cpu", "device_name": "older chip"}
    (row,) = rows(shipped(tmp_path, record(), record(seed=1, environment=other)))["lora"]
    assert row[13].endswith("(a)")
    assert "(a) costs from different machines: chip, older chip" in (tmp_path / "tables" / "nmt.md").read_text()


def test_the_table_of_runs_has_every_run_and_rounds_to_six_digits(tmp_path: Path) -> None:
    shipped(tmp_path, record(), lost("skipped", "why, so", method="bitfit"))
    Store(tmp_path / "runs").append(record(bleu=1 / 3), None)
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


def test_same_records_same_bytes_in_whatever_order_they_came(tmp_path: Path) -> None:
    made = [record(seed=s, bleu=20 + s) for s in range(3)] + [record("frozen", trained=0), lost("failed", "x", seed=7)]
    contents = []
    for name, order in (("one", made), ("two", made[::-1])):
        assert report.main([f"results={shipped(tmp_path / name, *order)}"]) == 0
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


def test_a_task_without_a_score_has_a_table_and_no_figure(tmp_path: Path) -> None:
    assert rows(shipped(tmp_path, lost("failed", "x")))["lora"][0][3] == "failed (a)"
    assert list((tmp_path / "figures").iterdir()) == []


def test_a_broken_record_is_named_and_the_rest_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped(tmp_path, record())
    (tmp_path / "published/reference" / "nmt" / "lora" / "0123456789ab.json").write_text("{")
    assert len(rows(tmp_path)["lora"]) == 1
    assert "0123456789ab.json is left out" in capsys.readouterr().err


def test_the_command_never_imports_torch(tmp_path: Path) -> None:
    shipped(tmp_path, record())
    code = f"""
import sys
from benchmark.report.__main__ import main
status = main(["results={tmp_path}"])
sys.exit(status or ("torch" in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "figures" / "parameters" / "nmt.png").read_bytes().startswith(b"\x89PNG")


def test_without_records_it_says_where_it_looked(tmp_path: Path) -> None:
    done = run(f"results={tmp_path}")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    for word in (tmp_path / "published", tmp_path / "runs", "python -m benchmark.run"):
        assert str(word) in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argument", ["result=x", "results", "results=", "--fast"])
def test_a_wrong_call_is_one_line_and_status_2(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([argument]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert (
        shown.err == f"refused: {argument}: the report takes results=DIR, metric=NAME, plugins=DIR and nothing else\n"
    )


def test_help_names_what_is_rebuilt(capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("results=DIR", "runs.csv", "tables", "figures"))


def test_the_ranking_in_the_page_of_results_is_the_derived_table():
    table = (ROOT / "results/published/reference/tables/ranking_reference_tuned.md").read_text().splitlines()
    rows = [line for line in table if line.startswith("|")]
    shown = (ROOT / "results/README.md").read_text().partition("### Order over tasks\n\n")[2].partition("\n\n")[2]
    assert len(rows) > 6
    assert shown.partition("\n\n")[0].splitlines() == rows


def answered(method: str, seed: int, right: int, first: int = 0) -> tuple[Record, list[dict[str, object]]]:
    """Make a run with so many of a hundred answers right, from one on."""
    rows = [
        {"split": "test", "id": str(i), "target": ["yes"], "prediction": "yes" if first <= i < first + right else "no"}
        for i in range(100)
    ]
    measured = [Measurement("test", "accuracy", right / 100), Measurement("cost", "trainable_params", 5)]
    data = {"fingerprint": "f1", "metric": "accuracy", "sample": "s1"}
    return record(method, seed, data=data, measurements=tuple(measured)), rows


def test_an_interval_a_tie_and_a_difference_are_those_of_the_stored_answers(tmp_path: Path) -> None:
    for one in (answered("lora", 0, 80), answered("ia3", 0, 78), answered("full", 0, 50, 50)):
        Store(tmp_path / "published/reference").append(*one)
    found = {name: row[3:8] for name, [row] in rows(tmp_path).items()}
    # 80 of 100: 0.8 -/+ 1.984 * sqrt(0.8 * 0.2 / 99), drawn a thousand times
    low, high = map(float, found["lora"][1].split(" to "))
    assert (low, high) == (pytest.approx(0.720, abs=0.01), pytest.approx(0.880, abs=0.01))
    assert [row[0] for row in found.values()] == ["0.5000", "0.7800", "0.8000"]
    assert {name: row[2] for name, row in found.items()} == {"lora": "a", "ia3": "a", "full": "b"}
    assert {name: row[3] for name, row in found.items()} == {"lora": "–", "ia3": "-0.0200", "full": "-0.3000\\*"}
    assert found["ia3"][4] == "+0.2800\\*"


def test_what_was_drawn_is_kept_and_a_record_without_its_answers_joins(tmp_path: Path, monkeypatch) -> None:
    for one in (answered("lora", 0, 80), answered("ia3", 0, 70)):
        Store(tmp_path / "published/reference").append(*one)
    Store(tmp_path / "published/reference").append(answered("bitfit", 0, 60)[0], None)
    first = rows(tmp_path)
    assert first["bitfit"][0][3:6] == ["0.6000", "– †", "–"]
    with monkeypatch.context() as patched:
        patched.setattr("benchmark.report.statistics.bootstrap.prepare", None)
        assert rows(tmp_path) == first  # nothing is drawn again
    kept = {path: path.read_bytes() for path in (tmp_path / "published/reference").rglob("*.jsonl.gz")}
    for path in kept:
        path.write_bytes(b"cut short")
    assert {row[4] for [row] in rows(tmp_path).values()} == {"– †"}
    for path, content in kept.items():
        path.write_bytes(content)
    for path in (tmp_path / ".cache").rglob("*.npz"):
        path.write_bytes(b"broken")
    assert rows(tmp_path) == first


def test_an_own_run_of_a_reference_takes_it_from_nobody(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        for name, right in (("lora", 80), ("ia3", 70)):
            Store(tmp_path / "published/reference").append(*answered(name, seed, right))
    before = rows(tmp_path)["ia3"][0]
    Store(tmp_path / "runs").append(*answered("lora", 0, 60))
    found = rows(tmp_path)
    assert found["ia3 (source=reference)"][0][3:] == before[3:]
    assert found["lora (source=yours)"][0][6] == "-0.2000\\*"  # from the shipped one


def test_what_differs_in_more_than_its_method_is_held_against_nothing(tmp_path: Path) -> None:
    made = [answered(name, 0, right) for name, right in (("lora", 80), ("ia3", 40))]
    longer, answers = answered("dora", 0, 90)
    config = longer.config | {"budget": longer.config.get("budget", {}) | {"steps": 999}}
    made.append((replace(longer, config=config, run_id=run_id(config)), answers))
    for one in made:
        Store(tmp_path / "published/reference").append(*one)
    found = {name.split(" ")[0]: row[5:7] for name, [row] in rows(tmp_path).items()}
    assert found == {"lora": ["a", "–"], "ia3": ["b", "-0.4000\\*"], "dora": ["–", "–"]}


def test_every_measurement_is_a_row_of_the_parquet_file(tmp_path: Path) -> None:
    report.main([f"results={shipped(tmp_path, record(), record(seed=1))}"])
    table = pd.read_parquet(tmp_path / "measurements.parquet")
    assert len(table) == 2 * len(record().measurements)
    curve = table[(table["split"] == "valid") & (table["seed"] == 1)]
    assert curve[["name", "value", "step"]].to_numpy().tolist() == [["loss", 5.0, 10]]
    assert table[table["name"] == "perplexity"]["step"].isna().all()


def test_measurements_are_in_order_of_run_and_as_they_were_recorded() -> None:
    curve = [Measurement("train", "loss", 1 / step, step) for step in (1, 2, 10)]
    measured = (
        Measurement("valid", "bleu", 3),
        *curve,
        Measurement("train", "loss", 0.5),
        Measurement("cost", "b", 7.0),
    )
    runs = [("yours", record("b", 1, measurements=measured)), ("reference", record("a", measurements=measured))]
    runs.append(("reference", lost("skipped", "why", method="c")))
    table = measurements(runs, tidy(runs))
    expected = [
        [one.method, one.seed, source, m.split, m.name, m.value, m.step]
        for source, one in sorted(runs, key=lambda run: run[1].method)
        for m in one.measurements
    ]
    found = table[["method", "seed", "source", "split", "name", "value", "step"]].astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == expected


def test_a_cell_on_two_types_of_device_has_two_scores(tmp_path: Path) -> None:
    card = {"device": "cuda", "device_name": "card"}
    for right, changes in ((10, {}), (50, {"environment": card})):
        one, answers = answered("lora", 0, right)
        Store(tmp_path / "published/reference").append(replace(one, **changes), answers)
    intervals = {row[3]: row[4] for same in rows(tmp_path).values() for row in same}
    assert intervals["0.1000"].startswith("0.0")
    assert intervals["0.5000"].startswith("0.4")


def untrained(one: Record) -> Record:
    return replace(one, measurements=(*one.measurements, Measurement("valid", "selected_step", 0.0)))


def test_a_score_of_which_a_seed_is_untrained_is_marked_and_the_mark_is_told(tmp_path: Path) -> None:
    runs = [record("lora", 0, 30.0), untrained(record("lora", 1, 10.0)), record("full", 0, 31.0)]
    named = replace(runs[2], task="qa"), untrained(replace(runs[0], task="qa", run_id="1"))
    found = {name: row[3] for name, [row] in rows(shipped(tmp_path, *runs, *named)).items()}
    assert found == {"lora": "20.00 ± 14.14‡", "full": "31.00"}
    tables = {path.stem: path.read_text() for path in (tmp_path / "tables").glob("*.md")}
    assert "‡ at least one seed is untrained: no validation" in tables["nmt"]
    across = next(text for name, text in tables.items() if name.startswith("methods"))
    assert [row.split(" | ")[1::2] for row in across.splitlines() if row.startswith("| lora")] == [["20.0‡", "30.0‡"]]
    assert "‡ at least one seed" in across


def test_without_an_untrained_seed_nothing_speaks_of_one(tmp_path: Path) -> None:
    rows(shipped(tmp_path, record("lora"), record("full")))
    assert "untrained" not in (tmp_path / "tables" / "nmt.md").read_text()
