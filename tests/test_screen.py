"""What the comparison calls a row."""

import re

import pytest

from benchmark.records import Measurement, Record
from benchmark.records.configurations import configurations
from benchmark.sweeps import screen
from benchmark.sweeps.screen import beside_shipped, comparison, notes


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
    ("other", "names"),
    [
        (record(seed=1), ["lora"]),
        (record("dora", rank=8), ["lora", "dora"]),
        (record(rank=8), ["lora, rank=16", "lora, rank=8"]),
        (record(weights="random"), ["lora"]),
        (record("full", steps=5), ["lora"]),
        (record("full", budget="smoke"), ["lora"]),
        (record("full", environment={"device": "cuda"}), ["lora"]),
        (record("full", data={"fingerprint": "other"}), ["lora"]),
    ],
)
def test_rows_may_be_compared_and_are_named_by_what_differs_in_a_method(other, names):
    table = comparison(record(), configurations([("yours", record()), ("yours", other)]))
    assert list(table.columns[0].cells) == names


@pytest.mark.parametrize(
    ("source", "fingerprint", "said"),
    [
        ("shipped", "f", r"the score of one seed may differ by bleu 3.25, perplexity 0.50: compare means over seeds"),
        ("shipped", "g", r"data differs from that of the shipped results"),
        ("yours", "f", r"the score of one seed may differ by bleu 3.25, perplexity 0.50: compare means over seeds"),
    ],
)
def test_beside_other_runs_stands_how_far_a_processor_moves_a_seed(source, fingerprint, said):
    mine, other = (record(data={"fingerprint": name}) for name in ("f", fingerprint))
    for one in (mine, other):
        one.config["task"] |= {"data": {}, "across_processors": {"bleu": 3.25, "perplexity": 0.5}}
    told = beside_shipped(mine, configurations([("yours", mine), (source, other)]))
    assert re.search(said, told)
    mine.config["task"]["across_processors"] = None  # not measured
    assert beside_shipped(mine, configurations([(source, other)])) == (told if fingerprint == "g" else None)


def test_a_time_of_which_one_seed_ran_beside_others_is_an_upper_bound():
    runs = []
    for method, shared in (("lora", [False, True]), ("full", [False, False])):
        for seed, beside in enumerate(shared):
            step = (Measurement("cost", "seconds_per_step", 0.1 + 0.2 * seed),)
            runs.append(("yours", record(method, seed=seed, measurements=step, environment={"shared": beside})))
    columns = comparison(runs[0][1], configurations(runs)).columns
    assert list(columns[5].cells) == ["≤200.00", "200.00"]
    assert list(columns[0].cells) == ["lora", "full"]


def ended(method, step, trained=500, **more):
    found = (Measurement("valid", "selected_step", step), Measurement("cost", "trainable_params", trained))
    score = Measurement("test", "bleu", 3.0)
    return record(method, measurements=(*found, score), data={"metric": "bleu"}, **more)


def test_a_record_is_untrained_where_its_first_state_was_kept_and_something_was_to_be_trained():
    runs = [ended("lora", 0), ended("lora", 40), ended("frozen", 0, trained=0), record("lora")]
    assert [run.untrained for run in runs] == [True, False, False, False]


def test_the_screen_and_the_line_of_a_sweep_say_that_a_record_is_untrained(capsys, monkeypatch):
    monkeypatch.setattr(screen, "console", screen.Console(width=300))
    for run, marked in ((ended("lora", 0), True), (ended("lora", 40), False)):
        screen.line(run)
        assert ("untrained: no validation" in notes(run)) == marked
        assert ("untrained: no validation" in capsys.readouterr().out) == marked


def test_a_row_of_which_one_seed_is_untrained_is_marked():
    runs = [("yours", ended(*run)) for run in (("lora", 40), ("full", 40))] + [("yours", ended("lora", 0, seed=1))]
    table = comparison(runs[0][1], configurations(runs))
    scores = dict(zip(table.columns[0].cells, table.columns[3].cells, strict=True))
    assert scores == {"lora": "3.00‡", "full": "3.00"}
    assert table.caption.startswith("‡ untrained")
    assert comparison(runs[0][1], configurations(runs[:2])).caption is None


def test_what_was_not_reached_or_not_measured_is_said():
    idle = (Measurement("cost", "params_without_gradient", 1234.0),)
    said = notes(record(measurements=idle, data={"missing": {"merged": "MergeError: logits differ by 6"}}))
    assert "1,234 of the trained parameters never had a gradient" in said
    assert "no number of merged: MergeError: logits differ by 6" in said
    assert notes(record()) == ""
