"""A user's metric that breaks costs its own score, and nothing else."""

import pytest
from factories import run_cell

from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.sweeps import screen

METRIC = """
import datasets
import evaluate


class Odd(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        BODY
"""
BREAKS = {"exits": "raise SystemExit(3)", "raises": "raise KeyError('x')", "huge": "return {'odd': 10**400}"}


def metric(folder, body, name="odd"):
    (folder / name).mkdir()
    (folder / name / f"{name}.py").write_text(METRIC.replace("BODY", body))
    return f"task.metrics=[{folder / name}]"


@pytest.mark.parametrize("how", BREAKS)
def test_a_metric_that_breaks_is_a_missing_score_and_its_reason_is_recorded(toy_cell, tmp_path, how):
    words = ["budget.steps=2", "task.max_target_tokens=16"]
    plain = run_cell(toy_cell("causal_lm", "lora", *words))
    result = run_cell(toy_cell("causal_lm", "lora", *words, metric(tmp_path, BREAKS[how])))
    scores = [[m for m in r.measurements if m.split != "cost"] for r in (plain, result)]
    assert scores[0] == scores[1]
    kind = {"exits": "SystemExit: 3", "raises": "KeyError: 'x'", "huge": "OverflowError: "}[how]
    assert result.data["missing"]["odd"].startswith(kind)
    names = {"run_id": "0" * 12, "task": "t", "method": "m", "backbone": "b", "seed": 0, "config": {}}
    assert f"no number of odd: {kind}" in screen.notes(Record(**names, status="done", data=result.data))


def test_a_metric_that_cannot_be_imported_is_refused(toy_cell, tmp_path):
    word = metric(tmp_path, "pass")
    (tmp_path / "odd" / "odd.py").write_text("raise SystemExit(3)")
    with pytest.raises(InputError, match=r"task\.metrics: .*cannot be loaded: SystemExit"):
        run_cell(toy_cell("causal_lm", "lora", word))
