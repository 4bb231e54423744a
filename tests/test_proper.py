"""Proper scores beside headlines, tested alike; answers keep their groups."""

import csv
import math
import re
from dataclasses import replace

import pytest
from factories import answered_record, table_rows

from benchmark import compare
from benchmark.config.compose import task_of
from benchmark.engine.runner import rows as stored
from benchmark.records import Measurement, Store
from benchmark.report import __main__ as report
from benchmark.report.comparisons import tables
from benchmark.report.frame import load
from benchmark.report.statistics.estimates import estimate
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import moderate
from benchmark.report.statistics.scales import scale
from benchmark.types import Example

pytestmark = pytest.mark.usefixtures("undrawn")


def believed(method, seed, likely, persons=0):
    """Answer 70 of a hundred rightly, with alternating degrees of belief."""
    run, told = answered_record(method, seed, 70)
    for place, row in enumerate(told):
        belief = likely + 0.02 * (place % 3 - 1) + 0.002 * seed
        row["probabilities"] = {"yes": round(belief, 6), "no": round(1 - belief, 6)}
        if persons:
            row["group"] = f"person {place % persons}"
    loss = -sum(math.log(row["probabilities"]["yes"]) for row in told) / len(told)
    data = run.data | {"proper": "log_loss"}
    return replace(run, data=data, measurements=(*run.measurements, Measurement("test", "log_loss", loss))), told


def lost(likely):
    """Compute the mean loss of a hundred answers: 34, 33 and 33 per belief."""
    parts = [(34, -0.02), (33, 0.0), (33, 0.02)]
    return -sum(n * math.log(likely + step + 0.002 * seed) for n, step in parts for seed in range(3)) / 300


def put(results, persons=0, **likely):
    for method, belief in likely.items():
        for seed in range(3):
            Store(results / "published/reference").append(*believed(method, seed, belief, persons))
    return results


def test_what_the_headline_cannot_tell_apart_a_proper_score_does(tmp_path):
    found = table_rows(put(tmp_path, lora=0.6, ia3=0.8, dora=0.6))
    header = next(csv.reader((tmp_path / "tables" / "nmt.csv").read_text().splitlines()))
    names = ["test log_loss", "log_loss 95 %", "log_loss tied", "log_loss less lora"]
    places = [header.index(name) for name in names]
    assert header.index("test accuracy") < places[0] == header.index("less lora") + 1
    shown = [header.index("tied"), *places]
    lora, ia3, dora = ([found[method][0][place] for place in shown] for method in ("lora", "ia3", "dora"))
    assert (lora[0], ia3[0], dora[0]) == ("a", "a", "a")
    assert (ia3[3], lora[3], dora[3]) == ("a", "b", "b")  # lower is better: the best has the first letter
    assert float(ia3[1].split()[0]) == pytest.approx(lost(0.8), abs=1e-4)
    assert ia3[4] == f"{lost(0.8) - lost(0.6):+.4f}\\*"
    low, high = map(float, lora[2].split(" to "))
    assert low < lost(0.6) < high
    legend = (tmp_path / "tables" / "nmt.md").read_text()
    assert "log_loss: a proper score of the same answers; lower is better" in legend
    assert "Smyth 2004" in legend


def test_drawn_sets_without_a_byte_of_text_leave_a_table_its_interval(tmp_path):
    rows = [{"split": "test", "id": str(i), "target": ["x"], "nll": n * (i + 2.0), "tokens": n, "bytes": n}
            for i, n in enumerate([0, 0, 0, 3, 0, 0, 5])]  # fmt: skip
    loss = sum(row["nll"] for row in rows) / 8 / math.log(2)
    run, _ = answered_record("lora", 0, 70)
    data = run.data | {"metric": "bits_per_byte", "proper": None}
    run = replace(run, data=data, measurements=(Measurement("test", "bits_per_byte", loss),))
    Store(tmp_path / "published/reference").append(run, rows)
    assert "lora" in table_rows(tmp_path)
    (groups,) = tables(load(tmp_path)).values()
    found = estimate(Evidence(tmp_path).sample(next(g for g in groups if g.records)))
    assert found.low < loss < found.high
    assert found.error > 0


def test_runs_without_one_have_no_such_columns(tmp_path):
    for seed in (0, 1):
        Store(tmp_path / "published/reference").append(*answered_record("lora", seed, 70))
    assert report.main([f"results={tmp_path}"]) == 0
    assert "log_loss" not in (tmp_path / "tables" / "nmt.md").read_text()


def test_two_methods_meet_in_both_scores_and_the_lower_loss_wins(tmp_path, capsys):
    put(tmp_path, lora=0.6, ia3=0.8)
    assert compare.main(["ia3", "lora", f"results={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "no budget: 1 tie in 1 comparison of ia3 with lora" in said
    assert "no budget, proper score: 1 win in 1 comparison of ia3 with lora" in said
    assert f"{lost(0.8) - lost(0.6):+.4f}" in said
    assert "Smyth 2004" in re.sub(r"\s+", " ", said)
    assert compare.main(["lora", "ia3", f"results={tmp_path}"]) == 0
    assert "no budget, proper score: 1 loss in 1 comparison of lora with ia3" in capsys.readouterr().out


def test_groups_reach_the_stored_answers_and_are_drawn(tmp_path):
    told = stored("test", [Example("1", "x", ("yes",), "ann"), Example("2", "x", ("no",))], [{"prediction": "yes"}] * 2)
    assert [row.get("group", "none") for row in told] == ["ann", "none"]
    (groups,) = tables(load(put(tmp_path, persons=20, lora=0.6))).values()
    found = Evidence(tmp_path).sample(next(g for g in groups if g.records))
    assert (found.size, found.groups, found.drawn) == (100, 20, 20)
    assert estimate(found).groups == 20


def test_a_table_says_where_groups_are_too_few_for_a_verdict(tmp_path):
    for name, persons in (("five", 5), ("seven", 7)):
        found = table_rows(put(tmp_path / name, persons, lora=0.6, ia3=0.9, full=0.7))
        header = next(csv.reader((tmp_path / name / "tables" / "nmt.csv").read_text().splitlines()))
        (row,) = found["ia3"]
        assert ("‡" in row[header.index("95 %")]) == (persons == 5)
        assert "*" not in row[header.index("log_loss less lora")] or persons == 7
        told = (tmp_path / name / "tables" / "nmt.md").read_text()
        said = f"no verdict on 3 pairs: {persons} groups of test examples are too few for it"
        assert (said in told) == (persons == 5)


EMBEDDED = ["nmt", "protein", "speech", "medical_images", "text_generation", "speech_recognition", "language_id"]


def test_seeds_of_all_methods_under_the_same_conditions_are_taken_together(tmp_path):
    for method, step in (("lora", 1), ("ia3", 5), ("full", 4), ("dora", 6)):
        for seed in range(3):
            Store(tmp_path / "published/reference").append(*answered_record(method, seed, 60 + step * seed))
    (groups,) = tables(load(tmp_path)).values()
    evidence = Evidence(tmp_path)
    found = {one.method: sample for one, sample in evidence.samples(groups).items()}
    assert found["ia3"].spreads == moderate({m: replace(s, spreads=()) for m, s in found.items()})["ia3"].spreads
    assert found["ia3"].spreads[0][0] > 0.0024  # 0.60, 0.65 and 0.70 show 0.0025
    (pair,) = compare.pairs(load(tmp_path), evidence, "ia3", "full", None)
    assert pair.difference == estimate(found["ia3"].paired(found["full"]))


@pytest.mark.parametrize("task", EMBEDDED)
def test_every_embedded_task_names_a_proper_score(task):
    _, made = task_of([f"task={task}", "method=head"])
    assert scale(made.proper).better == -1
    assert scale(made.metric).better == 1
