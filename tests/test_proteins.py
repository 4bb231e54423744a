"""Lattice proteins against literature and sums by hand; readers and tasks."""

import itertools
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from omegaconf import OmegaConf
from tokenizers import Tokenizer, models, processors

from benchmark.backbones import roles
from benchmark.backbones.protein import STANDARD, ProteinEncoder
from benchmark.config.build import build
from benchmark.config.compose import CONFIGS, cell_of
from benchmark.engine import data
from benchmark.errors import InputError
from benchmark.types import Bad, Example, Kind
from tasks.embedded.evolution import evolve, identity, lattice, mutate
from tasks.embedded.lattice import RESIDUES, UNITS, compact_folds, contact_energies, contacts
from tasks.protein import residues

EMBEDDED = CONFIGS.parent / "benchmark" / "backbones" / "embedded"
SEQUENCES = ["MKTAYIAKQR", "GSHMLE", "ACDEFGHIKLMNPQRSTVWY"]

# ---- folds and energies


@pytest.mark.parametrize(
    ("shape", "number"),
    [
        ((3, 3), 5),
        ((4, 4), 69),
        ((5, 5), 1_081),  # directed Hamiltonian paths of the square, 8,648, by its 8 symmetries (OEIS A096969)
        pytest.param((3, 3, 3), 103_346, marks=pytest.mark.slow),  # Shakhnovich and Gutin 1990
    ],
)
def test_there_are_as_many_compact_folds_as_the_literature_says(shape, number):
    assert sum(1 for _ in compact_folds(shape)) == number


def test_folds_visit_every_site_by_steps_of_one_and_none_is_another_ones_image():
    walks = [[divmod(site, 4) for site in fold] for fold in compact_folds((4, 4))]
    for walk in walks:
        assert len(set(walk)) == 16
        assert all(abs(a - c) + abs(b - d) == 1 for (a, b), (c, d) in itertools.pairwise(walk))
    turned = {tuple((b, 3 - a) for a, b in walk) for walk in walks} | {tuple((b, a) for a, b in walk) for walk in walks}
    straight = {tuple(walk) for walk in walks}
    assert len(straight) == 69
    assert not turned & straight


def test_contacts_of_a_snake_are_those_seen_on_paper():
    snake = [0, 1, 2, 5, 4, 3, 6, 7, 8]  # 0 1 2 / 5 4 3 / 6 7 8
    assert contacts(snake, (3, 3)) == [(0, 5), (1, 4), (3, 8), (4, 7)]


def test_contact_energies_are_the_published_ones():
    table, place = contact_energies(), RESIDUES.index
    assert table.shape == (20, 20)
    assert np.array_equal(table, table.T)
    published = {"CC": -5.44, "LL": -7.37, "FI": -6.84, "KK": -0.12, "DR": -2.29, "EK": -1.80, "PP": -1.75}
    assert {pair: float(table[place(pair[0]), place(pair[1])]) / UNITS for pair in published} == published
    assert np.array_equal(table, np.round(table))  # whole numbers: their sums are exact in any order


def naive_stability(sequence, fold, shape):
    energies = [
        sum(int(contact_energies()[sequence[i], sequence[j]]) for i, j in contacts(walk, shape)) / UNITS
        for walk in compact_folds(shape)
    ]
    own = energies.pop(fold)
    return -math.log(math.fsum(math.exp(-e) for e in energies)) - own


def test_stability_is_the_free_energy_of_the_other_folds_minus_the_own_energy():
    grid = lattice((3, 3))
    sequences = np.random.default_rng(0).integers(20, size=(12, 9))
    folds = np.arange(12) % 5
    expected = [naive_stability(s, f, (3, 3)) for s, f in zip(sequences.tolist(), folds, strict=True)]
    assert grid.stability(sequences, folds) == pytest.approx(expected, abs=1e-12)


def test_a_chain_of_one_residue_has_one_energy_and_no_stable_fold():
    grid = lattice((5, 5))
    leucine = np.full((1, 25), RESIDUES.index("L"))
    assert (grid.energies(leucine) == 16 * -737).all()
    assert grid.stability(leucine, np.array([7])) == pytest.approx([-math.log(1080)], abs=1e-12)


# ---- evolution


def test_evolution_finds_the_odds_that_it_promises():
    """Metropolis walks end where reweighting random sequences says."""
    grid, rng = lattice((3, 3)), np.random.default_rng(0)
    folds = np.zeros(400, dtype=int)
    means = {}
    for selection in (0.0, 1.0):
        *_, last = evolve(grid, folds, selection, 600, rng)
        means[selection] = grid.stability(last, folds).mean()
    random = grid.stability(rng.integers(20, size=(400_000, 9)), np.zeros(400_000, dtype=int)).astype(float)
    weights = np.exp(random)  # the same average by reweighting instead of by walking
    assert means[0.0] == pytest.approx(random.mean(), abs=0.3)
    assert means[1.0] == pytest.approx((weights * random).sum() / weights.sum(), abs=0.3)


def test_mutants_differ_where_they_should_and_identity_counts_it():
    rng = np.random.default_rng(0)
    parents = rng.integers(20, size=(500, 25))
    changed = (mutate(parents, [4, 6], rng) != parents).sum(1)
    assert set(changed.tolist()) == {4, 5, 6}
    assert identity(mutate(parents, [5, 5], rng), parents) == pytest.approx(np.full(500, 0.8))


def test_the_tasks_folds_are_easier_to_be_stable_in_than_others():
    data = OmegaConf.load(CONFIGS / "data" / "lattice.yaml")
    grid, rng = lattice((5, 5)), np.random.default_rng(1)
    chosen = np.repeat([*data.folds, *data.shifted_folds], 4)
    other = rng.choice(1081, 24, replace=False)
    *_, evolved = evolve(grid, np.concatenate([chosen, other]), data.selection, 300, rng)
    stability = grid.stability(evolved, np.concatenate([chosen, other]))
    assert stability[: len(chosen)].mean() > stability[len(chosen) :].mean() + 2


@pytest.fixture(scope="module")
def splits():
    return cell_of(["method=head", "task=protein", "backbone=protein_encoder", "backbone.checkpoint=a/b"]).task.splits()


def test_splits_share_no_parent_and_targets_are_exact(splits):
    data = OmegaConf.load(CONFIGS / "data" / "lattice.yaml")
    assert list(splits) == ["train", "valid", "test", "test/mutations", "test/fold"]
    groups = {name: {e.group for e in examples} for name, examples in splits.items()}
    texts = {name: {e.source for e in examples} for name, examples in splits.items()}
    for one, other in itertools.combinations(splits, 2):
        assert not groups[one] & groups[other]
        assert not texts[one] & texts[other]
    grid = lattice((5, 5))
    for name, folds in (("test", data.folds), ("test/mutations", data.folds), ("test/fold", data.shifted_folds)):
        parents = [int(e.group.rpartition("parent")[2]) for e in splits[name]]
        sequences = np.array([[RESIDUES.index(a) for a in e.source] for e in splits[name]])
        exact = grid.stability(sequences, np.resize(folds, max(parents) + 1)[parents])
        assert [e.targets[0] for e in splits[name]] == [round(float(kt), 4) for kt in exact]


@pytest.mark.slow
def test_pretraining_saw_nothing_near_any_split(splits):
    recipe = OmegaConf.load(CONFIGS / "pretrain" / "esm_lattice.yaml")
    assert recipe.away_from == "lattice"
    corpus = build(OmegaConf.to_container(recipe.corpus), "corpus")
    trained, held_out = corpus.sequences(splits)
    assert len(trained) > 10_000
    letters = np.array([list(e.source) for examples in splits.values() for e in examples])
    for sequence in [*trained[::400], *held_out[::40]]:
        text = np.array([RESIDUES[i] for i in sequence])
        assert (letters == text).mean(1).max() <= recipe.corpus.most_identity
    assert identity(held_out, trained).max() < 0.8


def test_a_sequence_near_the_task_is_left_out_of_pretraining(splits):
    recipe = OmegaConf.load(CONFIGS / "pretrain" / "esm_lattice.yaml")
    small = {**OmegaConf.to_container(recipe.corpus), "chains": 64, "steps": 50, "taken": 2, "held_out": 16}
    corpus = build(small, "corpus")
    plain, _ = corpus.sequences({"test": splits["test"][:1]})
    near = "".join(RESIDUES[i] for i in plain[5])
    without, _ = corpus.sequences({"test": [Example("", near, (0.0,))]})
    assert near in {"".join(RESIDUES[i] for i in row) for row in plain}
    assert near not in {"".join(RESIDUES[i] for i in row) for row in without}


# ---- files


def written(folder, **files):
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


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
    splits = table_splits(written(tmp_path, all__csv=TABLE))
    assert {name: [(e.source, e.targets) for e in part] for name, part in splits.items()} == {
        "train": [("MKTA", (1.5,)), ("MKTV", (2.5,))],
        "valid": [("MKTC", (0.5,))],
        "test": [("MKTD", (-1.5,))],
    }
    assert splits["test"][0].id == "all.csv, row 4"


def test_one_file_per_split_and_a_shifted_test(tmp_path):
    header = "seq\tclass\n"
    written(tmp_path, a__tsv=header + "MK\tx\nML\ty\n", b__tsv=header + "MM\tx\n", c__tsv=header + "MN\ty\n")
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
        ("MKTA,high,test,", "all.csv, row 5: could not convert string to float: 'high'"),
        ("MKTA,nan,test,", "all.csv, row 5: the target 'nan' is no finite number"),
    ],
)
def test_a_bad_row_names_file_and_row(tmp_path, row, reason):
    splits = table_splits(written(tmp_path, all__csv=TABLE + row + "\n"))
    (bad,) = [e.source for part in splits.values() for e in part if isinstance(e.source, Bad)]
    assert bad.reason.removeprefix("example ") == reason


def test_a_bad_row_stops_the_run_unless_it_may_be_skipped(tmp_path, esm):
    written(tmp_path, all__csv=TABLE + "MK1A,1.0,test,\n")
    words = ["task=protein_regression", "method=head", "backbone=protein_encoder", f"backbone.checkpoint={esm}"]
    words += [f"data.files.all={tmp_path / 'all.csv'}"]
    with pytest.raises(InputError, match=r"all.csv, row 5: '1' at position 3 is no residue.*task.skip_bad=true"):
        data.read(cell_of(words), data.Result())
    result = data.Result()
    assert len(data.read(cell_of([*words, "task.skip_bad=true"]), result)["test"]) == 1
    assert result.data["counts"] == {"test": {"bad_examples": 1}}


def test_a_class_that_training_lacks_is_a_bad_row(tmp_path):
    text = "sequence,target,set,validation\nMK,a,train,\nML,b,train,\nMM,a,train,True\nMN,c,test,\n"
    splits = table_splits(written(tmp_path, all__csv=text), task="protein_classification")
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
        table_splits(written(tmp_path, all__csv=TABLE), *words)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no file .*all.csv"):
        table_splits(tmp_path)


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
    splits = fasta_splits(written(tmp_path, **FASTA))
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
    assert fasta_splits(written(tmp_path, **short))["train"][0].source.reason == "s.fasta, row 1: 5 residues, 4 labels"
    short = {**FASTA, "m__fasta": FASTA["m__fasta"].replace("01111", "0111")}
    reason = fasta_splits(written(tmp_path, **short))["train"][0].source.reason
    assert reason == "s.fasta, row 1: 5 labels, 4 places in the mask"


def test_a_sequence_without_labels_is_left_out_and_counted_and_labels_without_a_sequence_are_a_bad_row(tmp_path):
    lost = {**FASTA, "l__fasta": FASTA["l__fasta"].replace(">p3", ">p4"), "m__fasta": FASTA["m__fasta"] + ">p4\n111\n"}
    task = fasta_task(written(tmp_path, **lost))
    splits = task.splits()
    bad = [e.source.reason for part in splits.values() for e in part if isinstance(e.source, Bad)]
    assert sorted(bad) == [
        f"{file}, record {number} (p4): no sequence of that name in s.fasta"
        for file, number in (("l.fasta", 3), ("m.fasta", 4))
    ]
    assert task.reading.notes["sequences_without_labels_left_out"] == 1
    with pytest.raises(InputError, match=r"s.fasta', line 1: a FASTA file begins with a header line"):
        fasta_splits(written(tmp_path, **{**FASTA, "s__fasta": "MKT\n>p1\nM\n"}))


def test_a_repeated_record_counts_once_and_two_of_a_name_are_bad_rows(tmp_path):
    task = fasta_task(written(tmp_path, **{**FASTA, "s__fasta": FASTA["s__fasta"] + ">p2\nGSH\n"}))
    assert {name: len(part) for name, part in task.splits().items()} == {"train": 1, "valid": 1, "test": 1}
    assert task.reading.notes == {"repeated_records_in_s.fasta": 1}
    task = fasta_task(written(tmp_path, **{**FASTA, "s__fasta": FASTA["s__fasta"] + ">p2\nGSW\n"}))
    (reason,) = [e.source.reason for e in task.splits()["train"] if isinstance(e.source, Bad)]
    assert reason.startswith("s.fasta, record 2 (p2): record 4 has this name and another content")


def test_the_mask_is_optional_and_one_that_lacks_a_record_is_a_bad_row(tmp_path):
    written(tmp_path, **FASTA)
    splits = fasta_task(tmp_path, "data.files.mask=null").splits()
    assert splits["train"][0].targets == (tuple("HHECC"),)
    short = {**FASTA, "m__fasta": FASTA["m__fasta"].replace(">p3\n110\n", "")}
    bad = [e.source for e in fasta_splits(written(tmp_path, **short))["train"] if isinstance(e.source, Bad)]
    assert bad == [Bad("s.fasta, row 3: m.fasta has no record 'p3'")]


def test_splits_that_a_table_does_not_name_are_drawn_and_equal_sequences_stay_together(tmp_path):
    sequences = ["".join(np.random.default_rng(i).choice(list("ACDEFGH"), 12)) for i in range(30)]
    rows = [f"{s},{'ab'[i % 2]}" for i, s in enumerate(sequences)] + [f"{sequences[0].lower()},a"]
    written(tmp_path, all__csv="sequence,target\n" + "\n".join(rows) + "\n")
    splits = table_splits(tmp_path, task="protein_classification")
    assert sum(map(len, splits.values())) == 31
    texts = [{e.source for e in part} for part in splits.values()]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 30
    assert all({e.targets[0] for e in part} == {"a", "b"} for part in splits.values())
    other = table_splits(
        written(tmp_path, all__csv="sequence,target\n" + "\n".join(rows[::-1]) + "\n"), task="protein_classification"
    )
    assert [{e.source for e in part} for part in other.values()] == texts  # whatever the order
    with pytest.raises(InputError, match="no column 'fold'"):
        table_splits(tmp_path, "+data.splits_of.valid.fold=a")


def test_a_table_whose_rows_name_no_valid_gets_one_from_train_alone(tmp_path):
    rows = [f"MK{'ACDEFGHIKL'[i // 4]}{'MNPQ'[i % 4]},{i}.5,{'test' if i < 8 else 'train'}" for i in range(40)]
    written(tmp_path, all__csv="sequence,target,set\n" + "\n".join(rows) + "\n")
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
    written(tmp_path, all__csv="sequence,target\n" + "\n".join(rows) + "\n")
    splits = table_splits(tmp_path, task="protein_classification")
    assert {e.targets[0] for part in splits.values() for e in part} == {"soluble", "no", "1"}


def test_a_header_may_hold_the_target(tmp_path):
    records = {"a TARGET=1.5 SET=train": "MKT", "b TARGET=2.5 SET=train": "MKV", "d TARGET=0 SET=test": "MM"}
    records["c TARGET=1 SET=train VALIDATION=True"] = "MKL"
    text = "".join(f">{header}\n{sequence}\n" for header, sequence in records.items())
    written(tmp_path, s__fasta=text)
    words = ["task=protein_regression", "data=protein_fasta", "method=head", "backbone=protein_encoder"]
    with pytest.raises(InputError, match="no column 'VALIDATION'"):
        cell_of([*words, "backbone.checkpoint=a/b", f"data.files.sequence={tmp_path / 's.fasta'}"]).task.splits()
    written(
        tmp_path,
        s__fasta=text.replace("SET=train\n", "SET=train VALIDATION=False\n").replace(
            "SET=test", "SET=test VALIDATION=False"
        ),
    )
    splits = cell_of([*words, "backbone.checkpoint=a/b", f"data.files.sequence={tmp_path / 's.fasta'}"]).task.splits()
    assert [e.targets for e in splits["train"]] == [(1.5,), (2.5,)]
    assert [(e.source, e.targets) for e in splits["valid"]] == [("MKL", (1.0,))]


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


# ---- encoders

ESM = ["<cls>", "<pad>", "<eos>", "<unk>", *"LAGVSERTIDPKQNFYMHWCXBUZO.-", "<null_1>", "<mask>"]


def shaken(model, folder):
    """Save a network of which nothing is one or zero by luck."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    model.half().save_pretrained(folder)
    return folder


def esm_folder(folder, **changes):
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.EsmConfig(
        **shape, vocab_size=33, pad_token_id=1, mask_token_id=32, token_dropout=True,
        **{"max_position_embeddings": 1026, "position_embedding_type": "rotary", "emb_layer_norm_before": False}
        | changes,
    )  # fmt: skip
    (folder / "vocab.txt").write_text("\n".join(ESM))
    transformers.EsmTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return shaken(transformers.EsmForMaskedLM(config), folder)  # the hub's hold its language model's head as well


def t5_network(folder, vocabulary):
    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=vocabulary, decoder_start_token_id=0
    )
    return shaken(transformers.T5ForConditionalGeneration(config), folder)


@pytest.fixture(scope="module")
def esm(tmp_path_factory):
    return esm_folder(tmp_path_factory.mktemp("esm"))


@pytest.fixture(scope="module")
def prot_t5(tmp_path_factory):
    """ProtT5's tokenizer knows a residue as a word: ▁A."""
    folder = tmp_path_factory.mktemp("prot_t5")
    pieces = [*((token, 0.0) for token in ("<pad>", "</s>", "<unk>")), *((f"▁{a}", -2.0) for a in f"{STANDARD}XUZOB")]
    transformers.T5Tokenizer(vocab=pieces, extra_ids=0).save_pretrained(folder)
    return t5_network(folder, 32)


@pytest.fixture(scope="module")
def ankh(tmp_path_factory):
    """Ankh's knows letters, and is told a sequence as a list of them."""
    folder = tmp_path_factory.mktemp("ankh")
    inner = Tokenizer(
        models.WordLevel({t: i for i, t in enumerate(["<pad>", "</s>", "<unk>", *STANDARD, "X"])}, "<unk>")
    )
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    return t5_network(folder, 32)


CHECKPOINTS = {  # configuration -> tiny checkpoint of its class, and what else differs
    "esm_lattice": ("esm", []),
    "esm2_8m": ("esm", []),
    "esm2_35m": ("esm", []),
    "esm2_150m": ("esm", []),
    "esm2_650m": ("esm", []),
    "prot_t5": ("prot_t5", []),
    "protein_encoder": ("ankh", ["backbone.spelling=split"]),
}
CLASSES = ["esm2_8m", "prot_t5", "protein_encoder"]  # one per tokenizer
TASKS = {
    "protein_regression": [1.5, -0.5, 0.25],
    "protein_classification": ["a", "b", "a"],
    "protein_residues": ["H" * 10, "HEC" * 2, "HHECE" * 4],
    "protein_pairs": ["0", "1", "1"],
    "protein_pair_regression": [1.5, -0.5, 0.25],
}


@pytest.fixture
def make(request, tmp_path):
    """Build a cell on a tiny checkpoint: make("esm2_8m", "lora", task)."""

    def build_cell(backbone, method, task, *words):
        fixture, more = CHECKPOINTS[backbone]
        folder = request.getfixturevalue(fixture)
        rows = ["sequence,other,target"]
        rows += [f"{s},{s[::-1]}K,{t}" for s, t in zip(SEQUENCES, TASKS[task], strict=True)]
        for name in ("train", "valid", "test"):
            (tmp_path / f"{name}.csv").write_text("\n".join(rows) + "\n")
        pair = ["data.columns.partner=other"] if "pair" in task else []
        files = [f"data.files.{name}={tmp_path / name}.csv" for name in ("train", "valid", "test")]
        return cell_of(
            [f"task={task}", "data=protein_splits", f"method={method}", f"backbone={backbone}", *more, *files, *pair,
             f"backbone.checkpoint={folder}", "backbone.lr_scale=1", "budget=smoke", *words]
        )  # fmt: skip

    return build_cell


def loaded(cell):
    examples = cell.task.splits()["train"]
    model, processor = cell.backbone.load(cell.budget, cell.task.head(cell.kind, examples))
    features = [cell.task.encode(e, processor, {}) for e in examples]
    return model.eval(), processor, features


def test_every_protein_configuration_is_tried_here():
    target = "_target_: benchmark.backbones.protein.ProteinEncoder"
    assert set(CHECKPOINTS) == {f.stem for f in (CONFIGS / "backbone").glob("*.yaml") if target in f.read_text()}


@pytest.mark.parametrize("backbone", CHECKPOINTS)
def test_an_adapter_trains_on_every_configuration(make, backbone):
    cell = make(backbone, "lora", "protein_regression")
    model, processor, features = loaded(cell)
    torch.manual_seed(0)
    model = cell.method.attach(model, cell).train()
    batch = cell.task.collate(features, processor)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("backbone", CLASSES)
@pytest.mark.parametrize("task", TASKS)
def test_every_kind_of_task_trains_and_answers_on_every_class(make, backbone, task):
    cell = make(backbone, "lora", task)
    model, processor, features = loaded(cell)
    batch = cell.task.collate(features, processor)
    loss = model(**batch).loss
    loss.backward()
    assert torch.isfinite(loss)
    with torch.no_grad():
        answers = cell.task.predict(model, features, processor)
    scores = cell.task.score(answers, [e.targets for e in cell.task.splits()["test"]])
    assert cell.task.metric in scores
    if task == "protein_residues":
        assert [len(a["prediction"]) for a in answers] == [len(s) for s in SEQUENCES]


@pytest.mark.parametrize("backbone", CLASSES)
def test_every_role_is_real(make, backbone):
    """An adapter in each role changes the output and receives a gradient."""
    family = make(backbone, "lora", "protein_regression").backbone.family
    words = sorted(roles._roles(family))
    tried = []
    for role in words:
        cell = make(backbone, "lora", "protein_regression")
        model, processor, features = loaded(cell)
        batch = cell.task.collate(features, processor)
        try:
            chosen = roles.resolve(dict(model.named_modules()), family, [role])
        except ValueError:  # a T5 without gates, an encoder without a language model's head
            continue
        tried.append(role)
        for name in (chosen[0], chosen[-1]):
            parameters = list(model.get_submodule(name).parameters())
            model.zero_grad()
            model(**batch).loss.backward()
            # a bias of keys shifts every score of a query alike: softmax does not see it
            assert any(p.grad is not None and p.grad.abs().max() > 0 for p in parameters), name
            before = model(**batch).logits.detach()
            with torch.no_grad():
                backup = [p.clone() for p in parameters]
                for p in parameters:
                    p.add_(torch.randn_like(p))
                assert (model(**batch).logits - before).abs().max() > 1e-6, name
                for p, old in zip(parameters, backup, strict=True):
                    p.copy_(old)
    assert {"query", "key", "value", "output", "up", "down", "norm", "embedding"} <= set(tried)


SPELT = {"esm2_8m": "".join, "prot_t5": " ".join, "protein_encoder": list}


@pytest.mark.parametrize("backbone", CLASSES)
def test_every_residue_is_one_token_as_the_checkpoints_own_tokenizer_makes_it(make, backbone):
    cell = make(backbone, "head", "protein_residues")
    _, processor, features = loaded(cell)
    tokenizer = transformers.AutoTokenizer.from_pretrained(cell.backbone.checkpoint)
    split = {"is_split_into_words": True} if backbone == "protein_encoder" else {}
    batch = processor.batch([row for f in features for row in f["rows"]])
    for sequence, ids, mask in zip(SEQUENCES, batch["input_ids"], batch["attention_mask"], strict=True):
        own = tokenizer(SPELT[backbone](sequence), **split)["input_ids"]
        assert ids[: len(own)].tolist() == own
        assert mask.tolist() == [1] * len(own) + [0] * (len(mask) - len(own))
        assert (ids[len(own) :] == tokenizer.pad_token_id).all()


@pytest.mark.parametrize("backbone", CLASSES)
def test_states_are_those_of_residues_and_padding_does_not_move_them(make, backbone):
    cell = make(backbone, "head", "protein_residues")
    model, processor, features = loaded(cell)
    batch = cell.task.inputs(features, processor)
    with torch.no_grad():
        states, mask = model.states(**batch)
        whole = model.encoder(**batch).last_hidden_state
        assert mask.sum(1).tolist() == [len(s) for s in SEQUENCES]
        start = 1 if backbone == "esm2_8m" else 0  # ESM begins with a token of its own, T5 does not
        assert torch.equal(states[0, :10], whole[0, start : start + 10])
        alone, _ = model.states(**cell.task.inputs(features[1:2], processor))
    assert torch.allclose(states[1, :6], alone[0], atol=1e-5)


def test_the_average_leaves_special_tokens_out(make):
    cell = make("esm2_8m", "head", "protein_regression")
    model, processor, features = loaded(cell)
    encoder = transformers.EsmModel.from_pretrained(
        cell.backbone.checkpoint, add_pooling_layer=False, dtype=torch.float32
    )
    tokenizer = transformers.EsmTokenizer.from_pretrained(cell.backbone.checkpoint)
    with torch.no_grad():
        found = model(**cell.task.inputs(features, processor)).logits.squeeze(-1)
        for sequence, value in zip(SEQUENCES, found, strict=True):
            states = encoder.eval()(**tokenizer(sequence, return_tensors="pt")).last_hidden_state[0, 1:-1]
            assert torch.allclose(model.new_head.project(states.mean(0)), value, atol=1e-5)


def test_a_label_teaches_its_own_residue_alone(make):
    cell = make("esm2_8m", "head", "protein_residues")
    model, processor, features = loaded(cell)
    batch = cell.task.collate(features, processor)
    labels = cell.task.splits()["train"][1].targets[0]
    kept = [processor.head.labels[c] for c in batch["labels"][1].tolist() if c >= 0]
    assert kept == list(labels)
    logits = model(**batch).logits
    own = torch.nn.functional.cross_entropy(logits[1, :6], batch["labels"][1, :6])
    alone = model(**cell.task.collate(features[1:2], processor)).loss
    assert torch.allclose(own, alone, atol=1e-5)


def test_masked_residues_neither_teach_nor_count(make):
    cell = make("esm2_8m", "head", "protein_residues")
    task, (_, processor, _) = cell.task, loaded(cell)
    masked = Example("", SEQUENCES[1], (("H", None, "E", "C", None, "H"),))
    features = [task.encode(masked, processor, {})]
    batch = task.collate(features, processor)
    assert batch["labels"].tolist() == [[2, -100, 1, 0, -100, 2]]
    assert task.items(batch) == 4
    assert task.score([{"prediction": list("HHEEEE")}], [masked.targets])["accuracy"] == 0.5


@pytest.mark.parametrize("backbone", CLASSES)
def test_the_order_of_two_proteins_does_not_matter(make, backbone):
    cell = make(backbone, "head", "protein_pairs")
    task, (model, processor, _) = cell.task, loaded(cell)
    pairs = [(SEQUENCES[0], SEQUENCES[1]), (SEQUENCES[1], SEQUENCES[2]), (SEQUENCES[2], SEQUENCES[2])]
    one, other = ([task.encode(Example("", pair[::way], (None,)), processor, {}) for pair in pairs] for way in (1, -1))
    with torch.no_grad():
        logits, swapped = (model(**task.inputs(features, processor)).logits for features in (one, other))
        alone = model(**task.inputs(one[:1], processor)).logits
    assert torch.allclose(logits, swapped, atol=1e-5)
    assert torch.allclose(logits[:1], alone, atol=1e-5)
    assert not torch.allclose(logits[0], logits[1], atol=1e-5)


def test_what_a_tokenizer_lacks_is_read_as_unknown(make):
    _, processor, _ = loaded(make("esm2_8m", "head", "protein_regression"))
    assert processor.ids("AJXU") == [ESM.index(a) for a in "AXXU"]  # ESM-2 has no J
    _, processor, _ = loaded(make("prot_t5", "head", "protein_regression"))
    assert len(set(processor.ids("XUZOBJ"))) == 1  # as ProtT5 was pretrained
    assert len(set(processor.ids(STANDARD))) == 20
    with pytest.raises(InputError, match=r"'1' in 'M1'... is no residue of this backbone"):
        processor.ids("M1")


@pytest.mark.parametrize(("backbone", "spelling"), [("prot_t5", "letters"), ("protein_encoder", "letters")])
def test_a_spelling_that_the_tokenizer_does_not_know_is_refused(make, backbone, spelling):
    with pytest.raises(
        InputError, match=r"no token for each residue spelt 'letters'.*try backbone.spelling=spaced or split"
    ):
        loaded(make(backbone, "head", "protein_regression", f"backbone.spelling={spelling}"))
    with pytest.raises(InputError, match="letters or spaced or split wanted"):
        make(backbone, "head", "protein_regression", "backbone.spelling=runes")


def test_long_sequences_are_cut_and_counted_where_the_task_or_the_positions_end(make, tmp_path):
    cell = make("esm2_8m", "head", "protein_residues", "task.max_residues=7")
    model, processor, _ = loaded(cell)
    counts = {}
    features = [cell.task.encode(e, processor, counts) for e in cell.task.splits()["train"]]
    assert counts == {
        "truncated_sequences": 2,
        "residues": 36,
        "residues_cut": 16,
        "labels_of_cut_residues_scored_as_wrong": 16,
    }
    cell.task.sum_up(counts)
    assert counts["percent_of_residues_cut"] == 44.44
    assert [f["length"] for f in features] == [7, 6, 7]
    assert torch.isfinite(model(**cell.task.collate(features, processor)).loss)
    old = esm_folder(
        tmp_path, position_embedding_type="absolute", max_position_embeddings=12, emb_layer_norm_before=True
    )
    cell = make("esm2_8m", "head", "protein_regression", f"backbone.checkpoint={old}")
    model, processor, features = loaded(cell)
    assert processor.longest == 8  # 12 rows, of which two are never used and two are special tokens'
    assert max(f["length"] for f in features) == 8
    assert torch.isfinite(model(**cell.task.collate(features, processor)).loss)


def test_a_network_of_text_is_refused_and_so_is_a_protein_task_on_one(tiny_causal, make):
    cell = make("protein_encoder", "lora", "protein_regression", f"backbone.checkpoint={tiny_causal}")
    with pytest.raises(InputError, match="is a llama network, esm or t5 wanted"):
        cell.conflict()
    words = ["task=protein", "method=lora", "backbone=causal_lm", f"backbone.checkpoint={tiny_causal}"]
    assert cell_of(words).conflict() == "task protein reads protein, backbone causal_lm reads text"


# ---- the shipped checkpoint


def test_the_shipped_checkpoint_is_small_16_bit_and_has_a_card():
    from safetensors import safe_open

    folder = EMBEDDED / "esm_lattice"
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {str(weights.get_slice(key).get_dtype()) for key in weights.keys()} == {"F16"}  # noqa: SIM118
    card = (folder / "README.md").read_text()
    assert "python scripts/pretrain.py esm_lattice" in card
    assert "Final loss" in card


def test_the_shipped_checkpoint_knows_every_residue_and_remembers():
    cell = cell_of(["task=protein", "method=head"])
    model, processor = cell.backbone.load(
        cell.budget, cell.task.head(Kind.REGRESS, [Example("", "", (x,)) for x in (0.0, 1.0)])
    )
    assert len(set(processor.ids(STANDARD + "XBZUO"))) == 25
    assert processor.ids("J") == processor.ids("X")
    assert processor.longest is None  # rotary: real proteins are longer than 25
    model.eval()
    bare = cell.backbone.pretraining_loss(model)
    assert bare < 2.4  # nats per masked residue; twenty residues at random have ln 20 = 3.0
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.add_(torch.randn_like(p), alpha=0.05)
    assert cell.backbone.pretraining_loss(model) > bare + 0.05


DATA = os.environ.get("BENCHMARK_DATA_DIR")


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


def test_the_protein_encoder_reads_no_hub_where_a_folder_is_meant():
    with pytest.raises(InputError, match="no folder 'embedded/nothing'"):
        ProteinEncoder(
            description="", lr_scale=1.0, head_lr=None, checkpoint="embedded/nothing", revision=None,
            weights="pretrained", spelling="letters", as_unknown="",
        )  # fmt: skip
