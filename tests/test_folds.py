"""Folds of a cross-validation: what is in the test of which, and what names a cell."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import soundfile
from factories import generation_task, image_task, make_record, png, write_metadata, write_pairs

from benchmark.config.compose import cell_of, choices_of, task_of
from benchmark.config.trials import select
from benchmark.engine.data import Result, read
from benchmark.errors import InputError, NoSelectionError
from benchmark.identity import run_id
from benchmark.records import Measurement
from benchmark.sweeps import screen
from benchmark.sweeps.grid import expand
from benchmark.types import Example
from benchmark.types.folds import Fold, fold_of, in_fold
from tasks.common import Reading
from tasks.data import Files
from tasks.folds import deal_folds, deal_units

NMT = ["method=lora", "task=nmt"]


def deal(splits, folds):
    return [deal_folds(splits, Fold(number, folds), Reading()) for number in range(folds)]


def examples(*groups, split="train"):
    """Make examples of (group, class, number)."""
    return [
        Example(f"{split}/{group}{kind}{i}", f"{split} {group} {kind} {i}", (kind,), group)
        for group, kind, number in groups
        for i in range(number)
    ]


def count_tests(dealt):
    return Counter(e.id for fold in dealt for e in fold["test"])


def test_every_example_is_in_the_test_of_one_fold_and_groups_are_whole():
    groups = ("a", "x", 9), ("b", "y", 7), ("c", "x", 5), ("d", "y", 3), ("e", "x", 2), ("f", "y", 1), ("g", "x", 1)
    splits = {"train": examples(*groups[:3]), "valid": examples(*groups[3:5]), "test": examples(*groups[5:])}
    dealt = deal(splits, 3)
    assert set(count_tests(dealt).values()) == {1}
    assert len(count_tests(dealt)) == 28
    for number, fold in enumerate(dealt):
        named = [{e.group for e in fold[name]} for name in ("train", "valid", "test")]
        assert sum(map(len, named)) == 7 == len(set.union(*named))
        assert fold["valid"] == dealt[(number + 1) % 3]["test"]


def test_folds_of_groups_are_of_like_size():
    units = {name: examples((name, "x", size)) for name, size in zip("abcdefg", (9, 7, 5, 3, 2, 1, 1), strict=True)}
    parts = deal_units(units, 3)
    sizes = Counter()
    for name, part in parts.items():
        sizes[part] += len(units[name])
    # 9 | 7 + 2 | 5 + 3 + 1, and the last one to any of three equal folds
    assert sorted(sizes.values()) == [9, 9, 10]


def test_classes_are_shared_out_and_stay_in_every_training_part():
    kinds = ["often"] * 41 + ["seldom"] * 13 + ["rare"] * 2
    train = [Example(f"train/{i}", f"text {i}", (kind,)) for i, kind in enumerate(kinds)]
    dealt = deal({"train": train}, 5)
    counts = [Counter(e.targets[0] for e in fold["test"]) for fold in dealt]
    assert sorted(c["often"] for c in counts) == [8, 8, 8, 8, 9]
    assert sorted(c["seldom"] for c in counts) == [2, 2, 3, 3, 3]
    assert sorted(c["rare"] for c in counts) == [0, 0, 0, 1, 1]
    assert {len(c) for c in ({e.targets[0] for e in fold["train"]} for fold in dealt)} == {3}
    assert max(c.total() for c in counts) - min(c.total() for c in counts) <= 2


def test_a_shifted_test_loses_the_groups_that_train_and_valid_have():
    train, shifted = (
        examples(*((g, "x", 2) for g in "abcdef")),
        examples(("a", "x", 3), ("z", "x", 1), split="test/far"),
    )
    dealt = deal({"train": train, "test/far": shifted}, 3)
    with_a = [any(e.group == "a" for e in fold["test"]) for fold in dealt]
    assert sorted(with_a) == [False, False, True]
    assert [len(fold["test/far"]) for fold in dealt] == [4 if there else 1 for there in with_a]
    gone = deal({"train": train, "test/far": shifted[:3]}, 3)
    assert [len(fold.get("test/far", ())) for fold in gone] == [3 if there else 0 for there in with_a]


def test_equal_ids_of_two_splits_stay_two_examples():
    same = [Example(f"data.csv, row {i}", "ACDE"[i], (i,)) for i in range(4)]
    other = [e._replace(source=e.source * 2) for e in same]
    ids = count_tests(deal({"train": same, "test": other}, 4))
    assert len(ids) == 8
    assert "test/data.csv, row 3" in ids
    with pytest.raises(InputError, match=r"valid has two examples of the id 'data.csv, row 0'"):
        deal({"train": examples(*((g, "x", 1) for g in "abc")), "valid": [same[0], other[0]]}, 3)


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(InputError, match="5 given, but the data have 4 groups: give more, or folds=4"):
        deal({"train": examples(*((group, "x", 3) for group in "abcd"))}, 5)
    with pytest.raises(InputError, match="3 given, but the data have 2 different examples: give more"):
        deal({"train": [Example(str(i), "one" if i else "two", ("x",)) for i in range(9)]}, 3)


def test_groups_that_are_the_classes_cannot_be_dealt():
    with pytest.raises(InputError, match="each class is one group"):
        deal({"train": examples(*((who, who, 4) for who in "abcd"))}, 3)


def text_files(tmp_path):
    train = [(f"s{i}", f"t{i}") for i in range(11)] + [("s0", "other")]
    test = [("s3", "again"), *((f"u{i}", "t") for i in range(4))]
    files = {"train": str(write_pairs(tmp_path / "train.json", train)), "valid": None}
    files["test"] = str(write_pairs(tmp_path / "test.json", test))
    columns = {"source": "source", "target": "target", "group": None}
    return Files(description="", **files, shifts={}, shares={}, columns=columns, merge=True)


def test_texts_are_merged_after_they_are_dealt(tmp_path):
    read_texts = []
    for number in range(3):
        task = in_fold(generation_task(data=text_files(tmp_path)), Fold(number, 3))
        read_texts.append(task.splits())
        assert task.reading.notes.keys() == {"fold"}
        assert "train (11), valid (1), test (5) were pooled" in task.reading.notes["fold"]
    targets = {e.source: set(e.targets) for splits in read_texts for e in splits["test"]}
    assert targets["s0"] == {"t0", "other"}
    assert targets["s3"] == {"t3", "again"}
    assert len(targets) == 15
    for splits in read_texts:
        assert all(len(e.targets) == 1 for e in splits["train"])
        assert not {e.source for e in splits["train"]} & {e.source for name in ("valid", "test") for e in splits[name]}


def images(tmp_path):
    for split, number in (("train", 6), ("test", 3)):
        for kind in ("cat", "dog"):
            for i in range(number):
                png(tmp_path / split / kind / f"{i}.png", 10 * i)
    return image_task("data=image_folder", f"data.folder={tmp_path}")


def sounds(tmp_path):
    rows = []
    for i in range(18):
        soundfile.write(tmp_path / f"{i}.wav", np.sin(np.arange(800) / (i + 2)), 8000)
        rows.append(f"{i}.wav,{'yes' if i % 3 else 'no'},{'abcdef'[i // 3]},")
    write_metadata(tmp_path, rows)
    columns = ["data.columns.target=label", "data.columns.speaker=speaker"]
    return cell_of(["task=speech", "method=head", "data=audio_folder", f"data.folder={tmp_path}", *columns]).task


def proteins(tmp_path):
    rows = [f"{'ACDEFGHIKLMNPQRSTV'[i]}A,{i / 7},fam{i % 6}" for i in range(18)]
    (tmp_path / "all.csv").write_text("\n".join(["sequence,target,family", *rows]))
    words = ["method=head", "data.columns.group=family", f"data.files.all={tmp_path}/all.csv"]
    return task_of(["task=protein_regression", *words])[1]


@pytest.mark.parametrize("make", [images, sounds, proteins])
def test_every_kind_of_own_files_can_be_dealt(tmp_path, make):
    task = make(tmp_path)
    dealt = [in_fold(task, Fold(number, 3)).splits() for number in range(3)]
    assert set(count_tests(dealt).values()) == {1}
    assert len(count_tests(dealt)) == 18
    groups = [{e.group for e in fold["test"]} - {None} for fold in dealt]
    assert sum(map(len, groups)) == len(set.union(*groups))


def test_a_fold_names_its_cell_and_no_fold_changes_no_name():
    plain = cell_of(NMT)
    assert run_id(choices_of(plain)) == "e5da747d3455"  # as the README shows it
    cells = [plain, *(dataclasses.replace(plain, fold=fold, folds=folds) for fold, folds in ((0, 5), (1, 5), (0, 6)))]
    assert len({run_id(choices_of(cell)) for cell in cells}) == 4
    assert choices_of(cell_of([*NMT, "fold=1"])) == choices_of(cells[2])


def test_a_trial_is_chosen_by_the_runs_of_its_own_fold():
    plain = dataclasses.replace(cell_of(NMT), phase="tune")

    def tuned(trial, fold, loss):
        choices = choices_of(dataclasses.replace(plain, trial=trial, fold=fold, folds=None if fold is None else 4))
        return make_record(choices, Measurement("valid", "loss", loss, 10), environment={})

    losses = {(0, 0): 3.0, (1, 0): 2.0, (0, 1): 4.0, (1, 1): 5.0, (0, None): 1.5, (1, None): 1.0}
    records = [tuned(trial, fold, loss) for (trial, fold), loss in losses.items()]

    def chosen(**fold):
        found = select(records, choices_of(dataclasses.replace(plain, phase="final", **fold)), ())
        return found.trial, found.loss, len(found.runs)

    assert chosen(fold=0, folds=4) == (1, 2.0, 2)
    assert chosen(fold=1, folds=4) == (0, 4.0, 2)
    assert chosen() == (1, 1.0, 2)
    with pytest.raises(NoSelectionError, match="no tuning record"):
        chosen(fold=1, folds=5)


def test_a_record_knows_fold_and_pool(toy_cell):
    results = [Result() for _ in range(3)]
    cell = toy_cell("causal_lm", "lora")
    parts = [read(dataclasses.replace(cell, fold=fold, folds=4), result) for fold, result in enumerate(results)]
    assert len({result.data["fingerprint"] for result in results}) == 3
    assert len({result.data["pool"] for result in results}) == 1
    assert all(len(part["test/longer"]) == 16 for part in parts)


def test_a_task_that_reads_its_data_in_another_way_cannot_ignore_a_fold(toy_cell):
    cell = dataclasses.replace(toy_cell("causal_lm", "lora"), fold=0, folds=4)
    object.__setattr__(cell.task, "splits", cell.task.data.splits)
    cell.task.reading.pool.clear()  # of other tests
    with pytest.raises(InputError, match="fold: task text_generation does not deal its examples into folds"):
        read(cell, Result())


def test_the_screen_names_seed_and_fold():
    assert screen.seed({"seed": 3}) == "seed 3"
    assert screen.seed({"seed": 3, "fold": 0, "folds": 4}) == "seed 3, fold 0 of 4"


def test_a_fold_is_one_axis_of_a_sweep():
    cells = expand(["-m", *NMT, "fold=0,1,2", "seed=0,1"]).cells
    assert [[o for o in cell if o.startswith(("fold", "seed"))] for cell in cells][:4] == [
        ["seed=0", "fold=0"],
        ["seed=0", "fold=1"],
        ["seed=0", "fold=2"],
        ["seed=1", "fold=0"],
    ]
    assert len(expand(["+sweep=nmt15", "method=lora", "fold=range(5)", "folds=5"]).cells) == 5 * len(
        expand(["+sweep=nmt15", "method=lora"]).cells
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fold=5"], r"fold: 5 given, 0 to 4 wanted"),
        (["fold=-1"], r"fold: -1 given, at least 0"),
        (["fold=1.5"], r"fold: 1.5 given, int or null wanted"),
        (["fold=two"], r"fold: 'two' given, int or null wanted"),
        (["fold=0", "folds=2"], r"folds: 2 given, at least 3 \("),
        (["fold=0", "folds=1001"], r"folds: 1001 given, .* at most 1000 wanted"),
        (["fold=0", "folds=null"], r"folds: None given, at least 3 \("),
        (["folds=10"], r"folds: 10 given, but no fold"),
    ],
)
def test_a_fold_that_is_none_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        cell_of([*NMT, *words])


def test_a_task_that_deals_nothing_is_refused():
    with pytest.raises(InputError, match="the examples of object cannot be dealt into folds"):
        in_fold(object(), fold_of(0, 3))
    assert in_fold(None, fold_of(None, 3)) is None
