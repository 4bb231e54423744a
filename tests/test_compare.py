"""Two methods head to head: who wins is what the stored answers say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_report import answered, lost, record

from benchmark import compare
from benchmark.records import Store


def written(results: Path, *runs: tuple) -> str:
    for one in runs:
        Store(results / "reference").append(*one)
    return f"results={results}"


def test_a_clear_win_and_a_tie_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        answered(name, seed, right + seed)
        for name, right in (("lora", 80), ("ia3", 79), ("full", 40))
        for seed in (0, 1, 2)
    ]
    where = written(tmp_path, *runs)
    assert compare.main(["lora", "full", where]) == 0
    said = capsys.readouterr().out
    assert "+0.4000" in said
    assert "1 win of lora against full; p corrected for 1 comparisons" in said
    assert compare.main(["full", "lora", where]) == 0
    assert "1 loss of full against lora" in capsys.readouterr().out
    assert compare.main(["lora", "ia3", where]) == 0
    assert "1 tie of lora against ia3" in capsys.readouterr().out


def test_means_are_over_the_seeds_that_both_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = written(tmp_path, answered("lora", 0, 80), answered("lora", 1, 20), answered("ia3", 0, 79))
    assert compare.main(["lora", "ia3", where]) == 0
    said = capsys.readouterr().out
    assert "0.8000" in said
    assert "0.5000" not in said
    assert "with one seed" in said


def test_other_budgets_and_other_examples_never_meet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other, rows = answered("ia3", 0, 79)
    rows = [{**row, "id": f"other {row['id']}"} for row in rows]
    where = written(tmp_path, answered("lora", 0, 80), (other, rows), (record("full", seed=5), None))
    assert compare.main(["lora", "ia3", where]) == 1
    assert "never recorded under the same settings" in capsys.readouterr().out
    assert compare.main(["lora", "full", where]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lora"], "two different methods are wanted, 1 given"),
        (["lora", "lora"], "two different methods are wanted, 1 given"),
        (["lora", "dorra"], "no record of method 'dorra' in .*; did you mean dora?"),
        (["lora", "dora", "task=nmtt"], "no record of task 'nmtt' in .*; did you mean nmt?"),
        (["lora", "dora", "tasks=nmt"], "tasks=: not known here; did you mean task?"),
    ],
)
def test_a_wrong_call_is_refused_with_what_is_near(words, said, tmp_path, capsys) -> None:
    where = written(tmp_path, (record(), None), (lost("failed", "x", method="dora"), None))
    assert compare.main([*words, where]) == 2
    assert re.search(said, capsys.readouterr().err)
