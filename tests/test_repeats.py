"""Examples that stand in two splits: counted by content, and a split of mostly such is warned of."""

import json
import shutil

import numpy as np
import pytest

from benchmark import run
from benchmark.engine.data import repeats
from benchmark.records import Record, repeat_warnings
from benchmark.types import Example
from tasks.data import Files


def examples(*rows):
    return [Example(str(i), source, targets) for i, (source, *targets) in enumerate(rows)]


def test_an_example_repeats_another_by_its_input_and_all_its_answers():
    train = examples(("a", "1"), ("a", "2"), ("b", "3"), ("c", "4"))
    splits = {
        "train": train,
        "valid": examples(("b", "3"), ("d", "5")),
        "test": examples(("a", "1", "2"), ("a", "1", "9"), ("b", "4"), ("d", "5"), ("c", "4")),
        "test/new": examples(("e", "6")),
    }
    assert repeats(splits) == {
        "valid": {"examples_that_are_also_in_train": 1},
        "test": {"examples_that_are_also_in_train": 2, "examples_that_are_also_in_valid": 1},
    }


def test_pixels_and_pairs_are_compared_by_content():
    dark, light = np.zeros((2, 2), np.uint8), np.full((2, 2), 9, np.uint8)
    for one, other in ((dark, light), (("MK", "GS"), ("GS", "MK"))):
        copy = one.copy() if isinstance(one, np.ndarray) else (*one,)
        splits = {"train": examples((one, "a")), "valid": examples((other, "a")), "test": examples((copy, "a"))}
        assert repeats(splits) == {"test": {"examples_that_are_also_in_train": 1}}


@pytest.mark.parametrize(("number", "warned"), [(1, False), (2, True), (4, True)])
def test_a_split_is_warned_of_where_half_of_it_is_repeated(number, warned):
    counts = {"test": {"examples_that_are_also_in_train": number}, "train": {"empty_examples": 4}}
    values = {"run_id": "0", "task": "t", "method": "m", "backbone": "b", "seed": 0, "status": "done", "config": {}}
    record = Record(**values, data={"counts": counts, "sizes": {"test": 4, "train": 4}})
    many = "all 4" if number == 4 else "2 of 4"
    line = f"warning: {many} examples of test are also in train, so that its scores are of what was learnt by heart"
    assert list(repeat_warnings(record)) == [line] * warned


def test_a_copied_file_is_noticed_on_the_screen_and_in_the_record(tiny_causal, tmp_path, capsys):
    (tmp_path / "train.csv").write_text("source,target\n" + "".join(f"number {i},one {i}\n" for i in range(9)))
    shutil.copy(tmp_path / "train.csv", tmp_path / "copy.csv")
    words = ["method=lora", "task=text_generation", "data=files", f"data.train={tmp_path / 'train.csv'}"]
    words += [f"data.test={tmp_path / 'copy.csv'}", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    words += ["budget=smoke", "budget.steps=1", "device=cpu", "task.max_target_tokens=6", f"results={tmp_path / 'r'}"]
    assert run.main([*words, "task.max_source_tokens=12"]) == 0
    (path,) = (tmp_path / "r").glob("runs/*/*/*.json")
    counts = json.loads(path.read_text())["data"]["counts"]["test"]
    inside = counts["examples_that_are_also_in_train"]
    assert counts["examples_that_are_also_in_valid"] == 9 - inside  # drawn from train
    assert f"warning: {inside} of 9 examples of test are also in train" in capsys.readouterr().out


def test_references_in_a_list_are_learnt_as_those_in_rows(tmp_path):
    lines = [{"source": f"s{i}", "target": [f"{i}", f"{i} more"]} for i in range(40)]
    (tmp_path / "lists.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = [json.dumps({**line, "target": target}) for line in lines for target in line["target"]]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    columns, options = {"source": "source", "target": "target"}, {"description": "", "valid": None, "test": None}
    splits = [
        Files(
            train=str(tmp_path / f"{name}.jsonl"), columns=columns, shifts={}, shares={}, merge=True, **options
        ).splits()
        for name in ("lists", "rows")
    ]
    one, other = ({name: [(e.source, e.targets) for e in part] for name, part in found.items()} for found in splits)
    assert one == other
    assert {name: len(part) for name, part in one.items()} == {"train": 56, "valid": 4, "test": 8}
