"""Splits that cannot be drawn or are one, whatever names them; answers that all are one."""

import json

import pytest
from factories import image_task, png

from benchmark.config.compose import cell_of
from benchmark.engine.data import Result, read
from benchmark.errors import InputError
from tasks.answers.labels import commonest, in_order


def text_cell(folder, rows, *words, columns=("source", "target", "author")):
    (folder / "train.jsonl").write_text("\n".join(json.dumps(dict(zip(columns, row, strict=True))) for row in rows))
    chosen = ["task=text_generation", "method=frozen", "data=files", f"data.train={folder / 'train.jsonl'}"]
    return cell_of([*chosen, *words])


def test_one_group_or_two_rows_give_no_splits(tmp_path):
    rows = [(f"s{i}", f"t{i}", "one") for i in range(50)]
    with pytest.raises(InputError, match="cannot be drawn from train: 1 examples or groups are too few"):
        text_cell(tmp_path, rows, "data.columns.group=author").task.splits()
    with pytest.raises(InputError, match="cannot be drawn from train: 2 examples or groups are too few"):
        text_cell(tmp_path, rows[:2]).task.splits()


@pytest.mark.parametrize("share", ["nan", "0", "-0.1", "1", "inf", "1e400"])
def test_a_share_that_is_no_part_is_refused(share, tmp_path):
    with pytest.raises(InputError, match=r"data.shares"):
        text_cell(tmp_path, [("a", "b", "c")] * 9, f"+data.shares.test={share}")


def test_valid_that_is_train_is_counted_beside_the_test_that_was_drawn_from_it(tmp_path):
    rows = [(f"s{i}", f"t{i}", "x") for i in range(20)]
    cell, result = text_cell(tmp_path, rows, f"data.valid={tmp_path / 'train.jsonl'}", "budget=smoke"), Result()
    inputs = {name: {e.source for e in part} for name, part in read(cell, result).items()}
    assert not inputs["test"] & inputs["train"]
    assert result.data["counts"] == {
        "valid": {"examples_that_are_also_in_train": len(inputs["valid"] & inputs["train"])},
        "test": {"examples_that_are_also_in_valid": len(inputs["valid"] & inputs["test"])},
    }


def test_a_link_to_the_folder_of_the_test_is_no_valid_split(tmp_path):
    for split in ("train", "test"):
        for kind in "ab":
            png(tmp_path / split / kind / "0.png", ord(kind))
    (tmp_path / "val").symlink_to(tmp_path / "test")
    with pytest.raises(InputError, match="valid and test are the same"):
        image_task("data=image_folder", f"data.folder={tmp_path}").splits()


def test_the_most_frequent_answer_and_the_order_of_classes_are_the_same_for_any_names():
    assert commonest(["b", "a", "b", "a", "c"]) == commonest(["a", "c", "b", "a", "b"]) == "a"
    assert in_order({"10", "9", "²", "٣", "a", "-1"}) == ("٣", "9", "10", "-1", "a", "²")
