"""Proteins of a user's tables, of the hub, and of FLIP."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from factories import write_files
from omegaconf import OmegaConf
from protein_checkpoints import save_esm

from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.engine import data
from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.protein import residues

TABLE = """sequence,target,set,validation
MKTA,1.5,train,
mkt v,2.5,train,False
MKTC*,0.5,train,True
MKTD,-1.5,test,
"""


def table_splits(folder, *words, task="protein_regression"):
    chosen = [f"task={task}", "method=head", "backbone=protein_encoder", "backbone.checkpoint=some/where"]
    return cell_of([*chosen, f"data.files.all={folder / 'all.csv'}", *words]).task.splits()


def test_a_flip_table_is_dealt_out_by_set_and_validation(tmp_path):
    splits = table_splits(write_files(tmp_path, all__csv=TABLE))
    assert {name: [(e.source, e.targets) for e in part] for name, part in splits.items()} == {
        "train": [("MKTA", (1.5,)), ("MKTV", (2.5,))],
        "valid": [("MKTC", (0.5,))],
        "test": [("MKTD", (-1.5,))],
    }
    assert splits["test"][0].id == "all.csv, row 4"


def test_one_file_per_split_and_a_shifted_test(tmp_path):
    header = "seq\tclass\n"
    write_files(tmp_path, a__tsv=header + "MK\tx\nML\ty\n", b__tsv=header + "MM\tx\n", c__tsv=header + "MN\ty\n")
    splits = cell_of(
        ["task=protein_classification", "data=protein_splits", "method=head", "backbone=protein_encoder",
         "backbone.checkpoint=some/where", f"data.files.train={tmp_path / 'a.tsv'}",
         f"data.files.valid={tmp_path / 'b.tsv'}", f"data.files.test={tmp_path / 'c.tsv'}",
         f"+data.shifts.far={tmp_path / 'c.tsv'}", "data.columns.sequence=seq", "data.columns.target=class"]
    ).task.splits()  # fmt: skip
    assert list(splits) == ["train", "valid", "test", "test/far"]
    assert [(e.source, e.targets) for e in splits["train"]] == [("MK", ("x",)), ("ML", ("y",))]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("MK1A,1.0,test,", "all.csv, row 5: '1' at position 3 is no residue"),
        ("MK*A,1.0,test,", "all.csv, row 5: '*' at position 3 is no residue"),
        ("MK-A,1.0,test,", "all.csv, row 5: '-' at position 3 is no residue"),
        (",1.0,test,", "all.csv, row 5: the sequence is empty"),
        ("MKTA,high,test,", "all.csv, row 5: the target 'high' is no number"),
        ("MKTA,nan,test,", "all.csv, row 5: the target 'nan' is no finite number"),
    ],
)
def test_a_bad_row_names_file_and_row(tmp_path, row, reason):
    splits = table_splits(write_files(tmp_path, all__csv=TABLE + row + "\n"))
    (bad,) = [e.source for part in splits.values() for e in part if isinstance(e.source, Bad)]
    assert bad.reason.removeprefix("example ") == reason


def test_a_bad_row_stops_the_run_unless_it_may_be_skipped(tmp_path, tmp_path_factory):
    write_files(tmp_path, all__csv=TABLE + "MK1A,1.0,test,\n")
    esm = save_esm(tmp_path_factory.mktemp("esm"))
    words = ["task=protein_regression", "method=head", "backbone=protein_encoder", f"backbone.checkpoint={esm}"]
    words += [f"data.files.all={tmp_path / 'all.csv'}"]
    with pytest.raises(InputError, match=r"all.csv, row 5: '1' at position 3 is no residue.*task.skip_bad=true"):
        data.read(cell_of(words), data.Result())
    result = data.Result()
    assert len(data.read(cell_of([*words, "task.skip_bad=true"]), result)["test"]) == 1
    assert result.data["counts"] == {"test": {"bad_examples": 1}}


def test_a_class_that_training_lacks_is_a_bad_row(tmp_path):
    text = "sequence,target,set,validation\nMK,a,train,\nML,b,train,\nMM,a,train,True\nMN,c,test,\n"
    splits = table_splits(write_files(tmp_path, all__csv=text), task="protein_classification")
    assert splits["test"][0].source.reason == "example all.csv, row 4: label 'c' is not among the training labels"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.columns.target=fitness"], "no column 'fitness'; it has sequence, target, set, validation"),
        (["data.splits_of.train={set: fit}", "data.splits_of.valid={set: check}", "data.splits_of.test={set: try}"],
         "no row belongs to any split"),
        (["+data.splits_of.tests={set: x}"], r"data.splits_of.tests: no such key"),
        (["data.columns.partner=target"], "this task reads one sequence"),
    ],
)  # fmt: skip
def test_a_table_that_does_not_fit_is_refused_with_what_it_has(tmp_path, words, message):
    with pytest.raises(InputError, match=message):
        table_splits(write_files(tmp_path, all__csv=TABLE), *words)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*all.csv"):
        table_splits(tmp_path)


def test_splits_that_a_table_does_not_name_are_drawn_and_equal_sequences_stay_together(tmp_path):
    sequences = ["".join(np.random.default_rng(i).choice(list("ACDEFGH"), 12)) for i in range(30)]
    rows = [f"{s},{'ab'[i % 2]}" for i, s in enumerate(sequences)] + [f"{sequences[0].lower()},a"]
    write_files(tmp_path, all__csv="sequence,target\n" + "\n".join(rows) + "\n")
    splits = table_splits(tmp_path, task="protein_classification")
    assert sum(map(len, splits.values())) == 31
    texts = [{e.source for e in part} for part in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 30
    assert all({e.targets[0] for e in part} == {"a", "b"} for part in splits.values())
    other = table_splits(
        write_files(tmp_path, all__csv="sequence,target\n" + "\n".join(rows[::-1]) + "\n"),
        task="protein_classification",
    )
    assert [{e.source for e in part} for part in other.values()] == texts  # whatever the order
    with pytest.raises(InputError, match="no column 'fold'"):
        table_splits(tmp_path, "+data.splits_of.valid.fold=a")


def test_a_table_whose_rows_name_no_valid_gets_one_from_train_alone(tmp_path):
    rows = [f"MK{'ACDEFGHIKL'[i // 4]}{'MNPQ'[i % 4]},{i}.5,{'test' if i < 8 else 'train'}" for i in range(40)]
    write_files(tmp_path, all__csv="sequence,target,set\n" + "\n".join(rows) + "\n")
    splits = table_splits(tmp_path)
    assert {name: len(part) for name, part in splits.items()} == {"train": 29, "valid": 3, "test": 8}


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_what_is_missing_is_no_sequence_and_no_class(missing, tmp_path):
    """NONE and NAN could be read as residues."""
    rows = [{"sequence": "MK", "target": "a"}, {"sequence": "ML", "target": "b"}, {"sequence": missing, "target": "a"},
            {"sequence": "MV", "target": missing}]  # fmt: skip
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [f"data.files.{name}={tmp_path / name}.jsonl" for name in ("train", "valid", "test")]
    task = cell_of(["task=protein_classification", "data=protein_splits", "method=head", *words]).task
    reasons = [e.source.reason for e in task.splits()["train"] if isinstance(e.source, Bad)]
    assert reasons == ["train.jsonl, row 3: the sequence is empty", "train.jsonl, row 4: no label"]


def test_blanks_and_decimals_make_no_other_class(tmp_path):
    labels = ["soluble", "soluble ", " no", "1", "1.0", "1.00"] * 4
    rows = [f"MK{'ACDEFGHI'[i % 8]}{'MNPQ'[i // 8]},{label}" for i, label in enumerate(labels)]
    write_files(tmp_path, all__csv="sequence,target\n" + "\n".join(rows) + "\n")
    splits = table_splits(tmp_path, task="protein_classification")
    assert {e.targets[0] for part in splits.values() for e in part} == {"soluble", "no", "1"}


HUB = {  # task -> a row as its card shows it, and what becomes of it
    "fluorescence": ({"seq": "MKT", "label": 3.7}, "MKT", (3.7,)),
    "solubility": ({"sequences": "MKT", "labels": 1}, "MKT", ("1",)),
    "secondary_structure": ({"seq": "MKT", "label": [2, 0, 1]}, "MKT", (("2", "0", "1"),)),
    "protein_interaction": ({"SeqA": "MKT", "SeqB": "GS", "labels": 0}, ("MKT", "GS"), ("0",)),
}


@pytest.mark.parametrize("task", HUB)
def test_a_set_of_the_hub_is_read_by_its_columns(task, monkeypatch):
    import datasets

    row, source, targets = HUB[task]
    label = next(name for name in row if name.startswith("label"))
    other = {**row, label: 0.5 if task == "fluorescence" else 1 - row[label] if row[label] in (0, 1) else row[label]}
    asked = []

    def load_dataset(name, config, revision, split):
        asked.append((name, split))
        return [row, other]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    made = cell_of([f"task={task}", "method=head"])
    splits = made.task.splits()
    assert [name for name, _ in asked] == [OmegaConf.load(CONFIGS / "data" / f"{task}.yaml").id] * 3
    assert (splits["test"][0].source, splits["test"][0].targets) == (source, targets)


@pytest.mark.parametrize(
    ("text", "sequence"), [("mk t\na", "MKTA"), ("MKTA*", "MKTA"), ("MXBZUOJ", "MXBZUOJ"), (" M\tK ", "MK")]
)
def test_sequences_are_read_in_either_case_with_blanks_and_a_stop(text, sequence):
    assert residues(text) == sequence


DATA = os.environ.get("BENCHMARK_DATA_DIR")


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="BENCHMARK_DATA_DIR is not set: FLIP is not tried")
def test_flip_is_read_in_its_published_sizes():
    flip = Path(DATA) / "flip"
    sizes = {}
    for name in ("two_vs_rest", "three_vs_rest"):
        splits = cell_of(
            ["task=protein_regression", "method=head", f"data.files.all={flip / 'gb1' / name}.csv"]
        ).task.splits()
        sizes[name] = {split: len(part) for split, part in splits.items()}
    assert sizes["three_vs_rest"] == {"train": 2691, "valid": 299, "test": 5743}
    assert sum(sizes["two_vs_rest"].values()) == 8733
    folder = flip / "secondary_structure"
    files = {"sequence": "sequences", "labels": "sampled", "mask": "mask"}
    words = [f"data.files.{column}={folder / name}.fasta" for column, name in files.items()]
    splits = cell_of(["task=protein_residues", "method=head", *words]).task.splits()
    assert {split: len(part) for split, part in splits.items()} == {"train": 9712, "valid": 1080, "test": 364}
    assert not any(isinstance(e.source, Bad) for part in splits.values() for e in part)
