"""What the comparison calls a row."""

import pytest

from benchmark.records import Record
from benchmark.screen import comparison, label


def record(method="lora", rank=16, weights="pretrained", steps=300, seed=0, budget="standard"):
    config = {
        "task": {"name": "nmt", "version": 1},
        "method": {"name": method, "rank": rank, "description": f"seed {seed}"},
        "backbone": {"name": "mbart_cldr", "weights": weights},
        "budget": {"name": budget, "steps": steps},
        "seed": seed,
    }
    names = {"task": "nmt", "method": method, "backbone": "mbart_cldr"}
    return Record(run_id="0" * 12, seed=seed, status="done", config=config, **names)


@pytest.mark.parametrize(
    ("other", "called"),
    [
        (record(seed=1), "lora"),
        (record("dora", rank=8), "dora"),
        (record(rank=8), "lora, method.rank=8"),
        (record(weights="random"), "lora, random weights"),
        (record("full", steps=5), "full, budget.steps=5"),
        (record("full", steps=5, budget="smoke"), "full, budget smoke"),
        (record(rank=8, weights="random", steps=5), "lora, random weights, budget.steps=5, 1 more"),
    ],
)
def test_a_row_names_what_differs_from_the_run_beside_its_method(other, called):
    assert label(other, record()) == called


def test_runs_of_another_budget_are_another_game():
    mine = record("lora")
    shown = comparison(mine, [(mine, "yours"), (record("full"), "shipped"), (record("ia3", budget="quick"), "shipped")])
    assert [cell.partition(",")[0] for cell in shown.columns[0].cells] == ["lora", "full"]
