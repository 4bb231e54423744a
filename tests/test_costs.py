"""Runs that measure costs: in every table's costs, in no table's scores."""

import csv
from dataclasses import replace

import pytest
from factories import lost_record, publish_records, run_record, table_rows

from benchmark.identity import run_id
from benchmark.records import Measurement, Store
from benchmark.report import comparisons
from benchmark.report.costs import MEMORY, STEP, Costs
from benchmark.report.frame import load
from benchmark.report.tables.markup import latex
from benchmark.report.tables.scores import table

pytestmark = pytest.mark.usefixtures("undrawn")

BUSY = {"device": "cpu", "device_name": "chip", "shared": True, "cells_before": 2}
ALONE = {"device": "cpu", "device_name": "chip", "threads": 2}


def measuring(method="lora", seed=0, step=0.05, **changes):
    """Make a run that measures costs; its 99 BLEU must not be shown."""
    one = run_record(method, seed, bleu=99.0, environment=ALONE, **changes)
    config = one.config | {"budget": {"name": "cost", "batch_size": 16}, "trial": 2}
    measured = [m for m in one.measurements if m.name != STEP]
    measured += [Measurement("cost", STEP, step), Measurement("cost", "predict_seconds_per_example", 0.004)]
    return replace(one, run_id=run_id(config | {"of": [method, seed]}), config=config, measurements=tuple(measured))


def cells(results, name):
    with open(results / "tables" / f"{name}.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["method"]]


@pytest.mark.slow
def test_a_table_shows_the_costs_of_runs_made_for_it(tmp_path):
    busy = [run_record(seed=seed, environment=BUSY) for seed in (0, 1)]
    before = table_rows(publish_records(tmp_path, *busy))["lora"][0]
    assert before[-3:-1] == ["≤623", "–"]  # the median of 123 and 1123 ms; the process had run others before
    Store(tmp_path / "published/reference").append(measuring(step=0.04), None)
    Store(tmp_path / "published/reference").append(measuring(seed=1, step=0.08), None)
    after = table_rows(tmp_path)["lora"][0]
    assert after[-3:-1] == ["60.0", "200"]
    assert after[:-3] == before[:-3]
    text = (tmp_path / "tables" / "nmt.md").read_text()
    assert " Step and memory: from separate runs that measure costs (budget=cost" in text
    assert "≤" not in text


def test_a_legend_says_of_which_columns_runs_were_made_for_it(tmp_path):
    other = run_record("ia3", trained=60_000, environment=BUSY)  # known nowhere else: its step is as good as lora's
    publish_records(tmp_path, run_record(environment=BUSY), other, measuring())
    found = {name: row[-3:-1] for name, [row] in table_rows(tmp_path).items()}
    assert found == {"lora": ["≤123", "200"], "ia3": ["≤123", "–"]}
    assert " Memory: from separate runs that measure costs (" in (tmp_path / "tables" / "nmt.md").read_text()


def test_of_another_size_machine_or_precision_nothing_is_taken(tmp_path):
    for number, other in enumerate(
        (
            measuring(trained=60_000),
            replace(measuring(), environment=ALONE | {"device": "cuda"}),
            replace(measuring(), task="speech"),
            replace(measuring(), backbone="large_mt"),
        )
    ):
        folder = publish_records(tmp_path / str(number), run_record(environment=BUSY), other)
        runs = load(folder)
        members = comparisons.tables(runs)["nmt", ""]
        assert [cost.apart for cost in Costs(runs).of([g for g in members if g.done], STEP)] == [False]
        assert Costs(runs).of(members, MEMORY) == [None] * len(members)


def test_runs_that_measure_costs_have_tables_of_their_own_without_scores(tmp_path):
    made = [measuring(), measuring(seed=1, step=0.07), measuring("full", step=0.12, trained=5_812_345)]
    made.append(replace(lost_record("skipped", "no biases", method="bitfit"), config=measuring().config))
    made += [replace(one, task="speech", run_id=one.run_id[::-1]) for one in made]
    publish_records(tmp_path, *made)
    table_rows(tmp_path, "nmt_cost")
    found = {row["method"]: row for row in cells(tmp_path, "nmt_cost")}
    assert (found["lora"]["step (ms)"], found["full"]["step (ms)"]) == ("60.0", "120")
    assert (found["lora"]["step, full = 1"], found["full"]["step, full = 1"]) == ("0.500", "1.00")
    assert (found["lora"]["answer (ms)"], found["lora"]["trained"]) == ("4.00", "50,000")
    assert found["bitfit"]["seeds"].startswith("skipped")
    (over,) = (row for row in cells(tmp_path, "methods_cost") if row["method"] == "lora")
    assert (over["nmt step, full = 1"], over["speech memory (MB)"]) == ("0.50", "200")
    text = (tmp_path / "tables" / "nmt_cost.md").read_text()
    assert " Measured with 16 examples a step, chip, 2 threads. " in text
    assert " differ, median over settings (at most): step (ms) by 40 % (40 %).\n" in text  # 50 and 70
    assert [line for line in text.splitlines() if line.startswith("- (")] == ["- (a) skipped: no biases"]
    whole = (tmp_path / "tables" / "methods_cost.md").read_text()
    assert all(word in text and word not in whole for word in ("answer:", "merged"))
    names = {path.name for path in (tmp_path / "tables").iterdir()}
    assert not any(name.startswith(("ranking", "certainty")) for name in names)
    assert not any("99.00" in path.read_text() for path in (tmp_path / "tables").iterdir())
    assert not list((tmp_path / "figures").rglob("*cost*"))


def test_an_upper_bound_is_one_in_latex(tmp_path):
    runs = load(publish_records(tmp_path, run_record(environment=BUSY)))
    (members,) = comparisons.tables(runs).values()
    assert r"$\leq$123" in latex(table("t", members))
