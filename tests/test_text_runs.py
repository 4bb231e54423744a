"""Runs on texts: scores come back from the answers; metrics of a user."""

import math

import pytest
import sacrebleu
from factories import answers_of, generation_task, run_cell, write_pairs

from benchmark.errors import InputError
from benchmark.records import Record, Store

KINDS = ["causal_lm", "seq2seq"]


def recorded(result, folder):
    """Write the record of a run and read it back."""
    fields = {"run_id": "0" * 12, "task": "t", "method": "m", "backbone": "b", "seed": 0, "config": {}}
    record = Record(
        **fields, status="done", data=result.data, signatures=result.signatures, measurements=tuple(result.measurements)
    )
    store = Store(folder)
    store.append(record, result.examples)
    (found,) = store.records()
    return found, store.examples(found)


@pytest.mark.parametrize("kind", KINDS)
def test_every_score_comes_back_exactly_from_the_examples_beside_the_record(kind, toy_cell, tmp_path):
    # Enough steps for some words to be right, which the assertion on BLEU needs.
    cell = toy_cell(kind, "full", "method.lr=0.01", "budget.steps=100", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path)
    for split, examples in cell.task.splits().items():
        if not split.startswith("test"):
            continue
        mine = [row for row in rows if row["split"] == split]
        assert [(row["id"], tuple(row["target"])) for row in mine] == [(e.id, e.targets) for e in examples]
        again = cell.task.score(mine, [tuple(row["target"]) for row in mine])
        assert again == {name: record.value(split, name) for name in again}
        assert (
            again["bleu"]
            == sacrebleu.corpus_bleu([row["prediction"] for row in mine], [[row["target"][0] for row in mine]]).score
        )
        assert 0 < again["bleu"] < 100
    assert record.signatures == cell.task.signatures([e.targets for e in cell.task.splits()["test"]])


def test_an_empty_example_is_counted_and_still_scored(toy_cell, tmp_path):
    good = [(str(i), "one two three four") for i in range(10, 18)]
    files = {
        "train": write_pairs(tmp_path / "train.jsonl", [*good, ("", "lost")]),
        "valid": write_pairs(tmp_path / "valid.jsonl", [*good[:3], ("5", "")]),
        "test": write_pairs(tmp_path / "test.jsonl", [*good[:4], ("99", ""), ("77", "six " * 40)]),
    }
    words = ["data=files", *(f"data.{split}={file}" for split, file in files.items())]
    cell = toy_cell("causal_lm", "lora", *words, "budget.steps=2", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path)
    assert record.data["counts"] == {
        "train": {"empty_examples": 1},
        "valid": {"empty_examples": 1, "examples_that_are_also_in_train": 3},
        "test": {
            "empty_examples": 1,
            "truncated_targets": 1,
            "examples_that_are_also_in_train": 4,
            "examples_that_are_also_in_valid": 3,
        },
    }
    assert record.data["sizes"] == {"train": 9, "valid": 4, "test": 6}
    assert len(rows) == 6
    assert (rows[4]["prediction"], rows[4]["nll"], rows[4]["tokens"]) == ("", 0.0, 0)
    bleu = sacrebleu.corpus_bleu([row["prediction"] for row in rows], [[row["target"][0] for row in rows]]).score
    assert record.value("test", "bleu") == bleu
    nats, tokens = sum(row["nll"] for row in rows), sum(row["tokens"] for row in rows)
    assert record.value("test", "perplexity") == pytest.approx(math.exp(nats / tokens))
    cut = len("six " * 40) - 1 - rows[5]["bytes"]  # a cell's own blanks around its text are stripped
    assert cut > 80  # 16 tokens are not 40 words
    size = sum(len(row["target"][0]) for row in rows) - cut
    assert record.value("test", "bits_per_byte") == pytest.approx(nats / math.log(2) / size)


METRIC = """
import datasets
import evaluate


class {name}(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({{"predictions": text, "references": text}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {{"{key}": sum(map(len, predictions)) / sum(map(len, references)), "note": "no number"}}
"""


def metric(folder, name, key):
    (folder / name).mkdir()
    (folder / name / f"{name}.py").write_text(METRIC.format(name=name.title(), key=key))
    return str(folder / name)


def test_a_metric_of_ones_own_is_recorded_beside_the_headline(toy_cell, tmp_path):
    found = ",".join([metric(tmp_path, "longer", "ratio"), metric(tmp_path, "again", "ratio")])
    cell = toy_cell("causal_lm", "lora", "budget.steps=2", f"task.metrics=[{found}]", "task.max_target_tokens=16")
    record, rows = recorded(run_cell(cell), tmp_path / "results")
    for split in ("test", "test/longer"):
        mine = [row for row in rows if row["split"] == split]
        by_hand = sum(len(row["prediction"]) for row in mine) / sum(len(row["target"][0]) for row in mine)
        assert record.value(split, "ratio") == record.value(split, "again_ratio") == pytest.approx(by_hand)
        assert record.value(split, "bleu") is not None
    assert "note" not in {m.name for m in record.measurements}


def test_a_metric_never_takes_the_place_of_a_score_of_the_task(tmp_path):
    task = generation_task(metrics=[metric(tmp_path, "mine", "bleu")])
    scores = task.score(answers_of(["one two three four"]), [("one two three four",)])
    assert scores["bleu"] == pytest.approx(100.0)
    assert scores["mine_bleu"] == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "allowed"), [("accuracy", False), ("accuracy", True), ("accuracy@main", False)])
def test_a_metric_of_the_hub_needs_a_revision_and_leave_to_execute(name, allowed):
    with pytest.raises(InputError, match=r"task.metrics: '.*name@revision and task.allow_metric_code=true"):
        generation_task(metrics=[name], allow_metric_code=allowed)
    assert generation_task(metrics=["accuracy@0123abc"], allow_metric_code=True).metrics == ["accuracy@0123abc"]
