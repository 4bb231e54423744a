"""What the comparison calls a row."""

import pytest

from benchmark.records import Measurement, Record
from benchmark.screen import comparison, label


def record(method="lora", rank=16, weights="pretrained", steps=300, seed=0, budget="standard", **more):
    config = {
        "task": {"name": "nmt", "version": 1},
        "method": {"name": method, "rank": rank, "description": f"seed {seed}"},
        "backbone": {"name": "mbart_cldr", "weights": weights},
        "budget": {"name": budget, "steps": steps},
        "seed": seed,
    }
    names = {"task": "nmt", "method": method, "backbone": "mbart_cldr"}
    return Record(run_id="0" * 12, seed=seed, status="done", config=config, **names, **more)


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


def test_a_time_of_which_one_seed_ran_beside_others_is_an_upper_bound():
    rows = []
    for method, shared in (("lora", [False, True]), ("full", [False, False])):
        for seed, beside in enumerate(shared):
            step = (Measurement("cost", "seconds_per_step", 0.1 + 0.2 * seed),)
            rows.append((record(method, seed=seed, measurements=step, environment={"shared": beside}), "yours"))
    columns = comparison(rows[0][0], rows).columns
    assert list(columns[5].cells) == ["≤200.00", "200.00"]
    assert list(columns[0].cells) == ["lora", "full"]
