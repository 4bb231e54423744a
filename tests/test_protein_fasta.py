"""Proteins of FASTA files, with labels and masks of their residues."""

import pytest
from factories import write_files

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Bad

COLUMNS = ("sequence", "labels", "mask")
FASTA = {
    "s__fasta": ">p1 from somewhere\nMKT\nAC\n>p2\nGSH\n>p3\nMML\n",
    "l__fasta": (
        ">p1 SET=train VALIDATION=False\nHHECC\n>p2 SET=train VALIDATION=True\nHEE\n"
        ">p3 SET=test VALIDATION=False\nCCH\n"
    ),
    "m__fasta": ">p1\n01111\n>p2\n111\n>p3\n110\n",
}


def fasta_splits(folder, *words):
    return fasta_task(folder, *words).splits()


def fasta_task(folder, *words):
    files = [f"data.files.{column}={folder / name}.fasta" for column, name in zip(COLUMNS, "slm", strict=True)]
    chosen = ["task=protein_residues", "method=head", "backbone=protein_encoder", "backbone.checkpoint=some/where"]
    return cell_of([*chosen, *files, *words]).task


def test_labels_and_mask_of_residues_stand_beside_the_sequences(tmp_path):
    splits = fasta_splits(write_files(tmp_path, **FASTA))
    assert {name: [(e.source, e.targets[0]) for e in part] for name, part in splits.items()} == {
        "train": [("MKTAC", (None, "H", "E", "C", "C"))],
        "valid": [("GSH", ("H", "E", "E"))],
        "test": [("MML", ("C", "C", None))],
    }


def test_labels_that_do_not_match_their_sequence_are_a_bad_row(tmp_path):
    short = {
        **FASTA,
        "l__fasta": FASTA["l__fasta"].replace("HHECC", "HHEC"),
        "m__fasta": FASTA["m__fasta"].replace("01111", "0111"),
    }
    assert (
        fasta_splits(write_files(tmp_path, **short))["train"][0].source.reason == "s.fasta, row 1: 5 residues, 4 labels"
    )
    short = {**FASTA, "m__fasta": FASTA["m__fasta"].replace("01111", "0111")}
    reason = fasta_splits(write_files(tmp_path, **short))["train"][0].source.reason
    assert reason == "s.fasta, row 1: 5 labels, 4 places in the mask"


def test_a_sequence_without_labels_is_left_out_and_counted_and_labels_without_a_sequence_are_a_bad_row(tmp_path):
    lost = {**FASTA, "l__fasta": FASTA["l__fasta"].replace(">p3", ">p4"), "m__fasta": FASTA["m__fasta"] + ">p4\n111\n"}
    task = fasta_task(write_files(tmp_path, **lost))
    splits = task.splits()
    bad = [e.source.reason for part in splits.values() for e in part if isinstance(e.source, Bad)]
    assert sorted(bad) == [
        f"{file}, record {number} (p4): no sequence of that name in s.fasta"
        for file, number in (("l.fasta", 3), ("m.fasta", 4))
    ]
    assert task.reading.notes["sequences_without_labels_left_out"] == 1
    with pytest.raises(InputError, match=r"s.fasta', line 1: a FASTA file begins with a header line"):
        fasta_splits(write_files(tmp_path, **{**FASTA, "s__fasta": "MKT\n>p1\nM\n"}))


def test_a_repeated_record_counts_once_and_two_of_a_name_are_bad_rows(tmp_path):
    task = fasta_task(write_files(tmp_path, **{**FASTA, "s__fasta": FASTA["s__fasta"] + ">p2\nGSH\n"}))
    assert {name: len(part) for name, part in task.splits().items()} == {"train": 1, "valid": 1, "test": 1}
    assert task.reading.notes == {"repeated_records_in_s.fasta": 1}
    task = fasta_task(write_files(tmp_path, **{**FASTA, "s__fasta": FASTA["s__fasta"] + ">p2\nGSW\n"}))
    (reason,) = [e.source.reason for e in task.splits()["train"] if isinstance(e.source, Bad)]
    assert reason.startswith("s.fasta, record 2 (p2): record 4 has this name and another content")


def test_the_mask_is_optional_and_one_that_lacks_a_record_is_a_bad_row(tmp_path):
    write_files(tmp_path, **FASTA)
    splits = fasta_task(tmp_path, "data.files.mask=null").splits()
    assert splits["train"][0].targets == (tuple("HHECC"),)
    short = {**FASTA, "m__fasta": FASTA["m__fasta"].replace(">p3\n110\n", "")}
    bad = [e.source for e in fasta_splits(write_files(tmp_path, **short))["train"] if isinstance(e.source, Bad)]
    assert bad == [Bad("s.fasta, row 3: m.fasta has no record 'p3'")]


def test_a_header_may_hold_the_target(tmp_path):
    records = {"a TARGET=1.5 SET=train": "MKT", "b TARGET=2.5 SET=train": "MKV", "d TARGET=0 SET=test": "MM"}
    records["c TARGET=1 SET=train VALIDATION=True"] = "MKL"
    text = "".join(f">{header}\n{sequence}\n" for header, sequence in records.items())
    write_files(tmp_path, s__fasta=text)
    words = ["task=protein_regression", "data=protein_fasta", "method=head", "backbone=protein_encoder"]
    with pytest.raises(InputError, match="no column 'VALIDATION'"):
        cell_of([*words, "backbone.checkpoint=a/b", f"data.files.sequence={tmp_path / 's.fasta'}"]).task.splits()
    write_files(
        tmp_path,
        s__fasta=text.replace("SET=train\n", "SET=train VALIDATION=False\n").replace(
            "SET=test", "SET=test VALIDATION=False"
        ),
    )
    splits = cell_of([*words, "backbone.checkpoint=a/b", f"data.files.sequence={tmp_path / 's.fasta'}"]).task.splits()
    assert [e.targets for e in splits["train"]] == [(1.5,), (2.5,)]
    assert [(e.source, e.targets) for e in splits["valid"]] == [("MKL", (1.0,))]
