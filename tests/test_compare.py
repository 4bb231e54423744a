"""Two methods head to head: who wins is what the stored answers say."""

import re
from dataclasses import replace

import pytest
from factories import answered_record, lost_record, run_record, untrained_record

from benchmark import compare
from benchmark.identity import run_id
from benchmark.records import Measurement, Store
from benchmark.report.frame import load
from benchmark.report.statistics.evidence import Evidence


def written(results, *runs):
    for one in runs:
        Store(results / "published/reference").append(*one)
    return f"results={results}"


def test_a_clear_win_and_a_tie_are_told_apart(tmp_path, capsys):
    runs = [
        answered_record(name, seed, right + seed)
        for name, right in (("lora", 80), ("ia3", 79), ("full", 40))
        for seed in (0, 1, 2)
    ]
    where = written(tmp_path, *runs)
    assert compare.main(["lora", "full", where]) == 0
    said = capsys.readouterr().out
    assert "+0.4000" in said
    assert "1 win in 1 comparison of lora with full" in said
    assert compare.main(["full", "lora", where]) == 0
    assert "1 loss in 1 comparison of full with lora" in capsys.readouterr().out
    assert compare.main(["lora", "ia3", where]) == 0
    assert "1 tie in 1 comparison of lora with ia3" in capsys.readouterr().out


def test_means_are_over_the_seeds_that_both_have(tmp_path, capsys):
    where = written(
        tmp_path, answered_record("lora", 0, 80), answered_record("lora", 1, 20), answered_record("ia3", 0, 79)
    )
    assert compare.main(["lora", "ia3", where]) == 0
    said = capsys.readouterr().out
    assert "0.8000" in said
    assert "0.5000" not in said
    assert "With one seed" in said
    assert max(map(len, said.partition("\ntie: ")[2].splitlines())) <= 100


def test_other_budgets_and_other_examples_never_meet(tmp_path, capsys):
    other, rows = answered_record("ia3", 0, 79)
    rows = [{**row, "id": f"other {row['id']}"} for row in rows]
    where = written(tmp_path, answered_record("lora", 0, 80), (other, rows), (run_record("full", seed=5), None))
    assert compare.main(["lora", "ia3", where]) == 1
    assert "no runs that may be compared" in capsys.readouterr().out
    assert compare.main(["lora", "full", where]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lora"], "two different methods are wanted, 1 given"),
        (["lora", "lora"], "two different methods are wanted, 1 given"),
        (["lora", "dorra"], "no record of method 'dorra' in .*; did you mean dora?"),
        (["lora", "dora", "task=nmtt"], "no record of task 'nmtt' in .*; did you mean nmt?"),
        (["lora", "dora", "task="], "no record of task '' in .*"),
        (["lora", "dora", "tasks=nmt"], "tasks=: not known here; did you mean task?"),
    ],
)
def test_a_wrong_call_is_refused_with_what_is_near(words, said, tmp_path, capsys):
    where = written(tmp_path, (run_record(), None), (lost_record("failed", "x", method="dora"), None))
    assert compare.main([*words, where]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_rows_of_one_place_say_what_tells_them_apart(tmp_path, capsys):
    runs = []
    for method, rank, part in (
        ("lora", 4, None),
        ("lora", 8, None),
        ("ia3", 1, None),
        ("lora", 4, 0.1),
        ("ia3", 1, 0.1),
    ):
        one, rows = answered_record(method, 0, 70 + rank)
        config = one.config | {"method": {"rank": rank}} | ({"fraction": part} if part else {})
        runs.append((replace(one, config=config, run_id=run_id(config | {"of": method})), rows))
    assert compare.main(["lora", "ia3", written(tmp_path, *runs)]) == 0
    said = re.sub(r"\s+", " ", re.sub("[│┃]", "", capsys.readouterr().out))
    assert said.count("rank=4") == 2
    assert said.count("rank=8") == said.count("fraction=0.1") == 1
    assert "no budget: 1 win, 1 tie in 2 comparisons of lora with ia3" in said
    assert "no budget, part of the data: 1 tie in 1 comparison" in said


def test_a_default_that_tuning_chose_is_compared_once(tmp_path, capsys):
    runs = []
    for method, right in (("lora", 80), ("ia3", 60)):
        for phase, trial, score in ((None, 0, right), ("tune", 0, right), ("tune", 1, 10), (None, 1, 10)):
            one, rows = answered_record(method, 0, score)
            config = one.config | {"method": {"rank": trial}, "phase": phase, "trial": trial or None}
            chosen = {"selected": {"trial": 0, "trials": 2, "at_edge": []}} if not phase and not trial else {}
            told = {"data": one.data | chosen, "run_id": run_id(config | {"of": method})}
            measured = (*one.measurements, Measurement("valid", "loss", 100 - score))
            made = replace(one, config=config, measurements=measured, **told)
            runs.append((made, None if phase else rows))
    where = written(tmp_path, *runs)
    assert len(list(compare.pairs(load(tmp_path), Evidence(tmp_path), "lora", "ia3", None))) == 3
    assert compare.main(["lora", "ia3", where]) == 0
    said = capsys.readouterr().out
    assert "tuned: 1 win in 1 comparison" in said
    assert "trials: 1 tie in 1 comparison" in said


def test_a_shipped_cell_that_was_run_again_has_its_own_row(tmp_path, capsys):
    for number, folder in enumerate(("published/reference", "runs")):
        for method, right in (("lora", 80), ("ia3", 60)):
            made, answers = answered_record(method, 0, right)
            Store(tmp_path / folder).append(replace(made, created=f"{number}"), answers)
    assert compare.main(["lora", "ia3", f"results={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "2 comparisons" in said
    assert "source=yours" in said


def test_an_own_run_meets_a_shipped_one_that_it_has_none_of_its_own_for(tmp_path, capsys):
    for seed in (0, 1, 2):
        for source, method, right in (
            ("published/reference", "lora", 80),
            ("published/reference", "ia3", 60),
            ("runs", "dora", 90),
        ):
            Store(tmp_path / source).append(*answered_record(method, seed, right))
    assert compare.main(["dora", "lora", f"results={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "+0.1000" in said
    assert "dora source=yours" in " ".join(said.split())
    for seed in (0, 1, 2):
        Store(tmp_path / "runs").append(*answered_record("lora", seed, 70))
    assert compare.main(["dora", "lora", f"results={tmp_path}"]) == 0
    said = capsys.readouterr().out
    assert "+0.2000" in said
    assert "+0.1000" in said


def test_groups_are_drawn_unless_examples_are_asked_for(tmp_path, capsys):
    for method, right in (("lora", 80), ("ia3", 50)):
        one, rows = answered_record(method, 0, right)
        written(tmp_path, (one, [row | {"group": str(number // 10)} for number, row in enumerate(rows)]))
    widths = {}
    for unit in ("", "unit=group", "unit=example"):
        assert compare.main(list(filter(None, ["lora", "ia3", unit, f"results={tmp_path}"]))) == 0
        low, high = re.search(r"([+-]\d\.\d+) to ([+-]\d\.\d+)", capsys.readouterr().out).groups()
        widths[unit] = float(high) - float(low)
    # three of ten groups, or thirty of a hundred examples, make the difference
    assert widths[""] == widths["unit=group"] == pytest.approx(2 * 2.262 * (0.21 / 9) ** 0.5, abs=0.05)
    assert widths["unit=example"] == pytest.approx(2 * 1.984 * (0.21 / 99) ** 0.5, abs=0.02)
    assert compare.main(["lora", "ia3", "unit=speaker", f"results={tmp_path}"]) == 2


def test_without_any_record_it_says_how_to_make_one(tmp_path, capsys):
    assert compare.main(["lora", "ia3", f"results={tmp_path}"]) == 2
    assert "make one with python -m benchmark.run method=lora" in capsys.readouterr().err


def test_the_score_of_an_untrained_side_is_marked(tmp_path, capsys):
    one, rows = answered_record("ia3", 0, 50)
    where = written(
        tmp_path, answered_record("lora", 0, 80), (untrained_record(one), rows), answered_record("full", 0, 60)
    )
    assert compare.main(["lora", "ia3", where]) == 0
    said = capsys.readouterr().out
    assert "0.8000 " in said
    assert "0.5000‡" in said
    assert "‡: at least one seed is untrained" in said
    assert compare.main(["lora", "full", where]) == 0
    assert "untrained" not in capsys.readouterr().out
