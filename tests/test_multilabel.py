"""Any number of labels per example: read, learnt, scored, and refused."""

import gzip
import json
import math

import numpy as np
import pytest
import torch
from factories import UNWEIGHTED, png, write_files
from transformers.utils import ModelOutput

from benchmark.config.compose import cell_of
from benchmark.engine import data, runner
from benchmark.engine.context import Run
from benchmark.errors import InputError
from benchmark.records.answers import pack
from benchmark.report.statistics.bootstrap import counts, prepare
from benchmark.types import Bad, Example, Head, Kind
from tasks.answers.multilabel import Multilabel

PLAIN = Multilabel(**UNWEIGHTED)
NAMES = ("a", "b", "c", "d")
TRUTH = [("a", "b"), (), ("b",), ("a",), ("b", "c")]  # d is in none
LIKELY = [[0.9, 0.4, 0.2, 0.1], [0.3, 0.5, 0.2, 0.6], [0.2, 0.5, 0.1, 0.2], [0.3, 0.1, 0.9, 0.3], [0.6, 0.7, 0.3, 0.0]]


def examples(*targets):
    return [Example(str(i), "", (target,)) for i, target in enumerate(targets)]


def answers(rows=LIKELY):
    logits = torch.tensor(rows, dtype=torch.float64).clamp(1e-9, 1 - 1e-9).logit()
    return PLAIN.answers(ModelOutput(logits=logits), [{}] * len(rows), Head(Kind.MULTILABEL, NAMES))


def won(label):
    """Count by hand how often an example with the label is likelier than one without it; a tie is half."""
    column, pairs = NAMES.index(label), []
    for one, row in zip(TRUTH, LIKELY, strict=True):
        for other, lower in zip(TRUTH, LIKELY, strict=True):
            if label in one and label not in other:
                pairs.append((row[column] > lower[column]) + 0.5 * (row[column] == lower[column]))
    return np.mean(pairs)


def test_scores_against_hand_counts_and_a_label_in_no_example_is_not_ranked():
    scores = PLAIN.score(answers(), [(t,) for t in TRUTH])
    assert scores["auroc"] == pytest.approx((won("a") + won("b") + won("c")) / 3)
    assert won("b") == pytest.approx(4.5 / 6)  # of six pairs one is a tie, and one is lost
    said = [{"a"}, {"b", "d"}, {"b"}, {"c"}, {"a", "b"}]
    assert [set(one["prediction"]) for one in answers()] == said
    hits = sum(len(set(t) & s) for t, s in zip(TRUTH, said, strict=True))
    assert scores["micro_f1"] == pytest.approx(2 * hits / (6 + 7))
    assert scores["macro_f1"] == pytest.approx((2 * 1 / (2 + 2) + 2 * 2 / (3 + 3) + 0) / 3)
    right = [
        p if n in t else 1 - p for t, row in zip(TRUTH, LIKELY, strict=True) for n, p in zip(NAMES, row, strict=True)
    ]
    assert scores[Multilabel.proper] == pytest.approx(-sum(map(math.log, right)) / 20)
    curves = (0.5 * 1 + 0.5 * 2 / 4, (1 + 2 / 3 + 3 / 4) / 3, 1 / 2)  # precision at each step of recall
    assert scores["aupr"] == pytest.approx(sum(curves) / 3)


def test_an_empty_answer_is_wrong_and_as_likely_as_not():
    scores = PLAIN.score([PLAIN.nothing()] * 2 + answers(LIKELY[:1]), [(("a",),), ((),), (("a", "b"),)])
    assert scores["micro_f1"] == pytest.approx(2 * 1 / (3 + 1))
    assert scores[Multilabel.proper] == pytest.approx(
        -(8 * math.log(0.5) + sum(map(math.log, (0.9, 0.4, 0.8, 0.9)))) / 12
    )


def test_the_constant_answer_is_the_share_of_each_label():
    constant = PLAIN.constant(examples(*TRUTH), [(t,) for t in TRUTH])
    assert constant.answer == "b"  # three of five
    assert constant.scores["auroc"] == 0.5
    shares = {"a": 2 / 5, "b": 3 / 5, "c": 1 / 5}
    expected = sum(p * math.log(p) + (1 - p) * math.log(1 - p) for p in shares.values()) / 3
    assert constant.scores["binary_log_loss"] == pytest.approx(-expected)


def test_a_cell_is_a_list_and_one_text_wants_a_separator():
    task = PLAIN
    assert task.settled(["10", "b", 9, 9.0, " b "]) == ("9", "10", "b")
    assert task.settled([]) == ()
    for cell, words in ((None, "an empty list is wanted"), ("a;b", "separator="), (3, "3 is no list")):
        with pytest.raises(ValueError, match=words):
            task.settled(cell)
    assert (
        task.unknown(examples(("a", "x"))[0], Head(Kind.MULTILABEL, NAMES))
        == "label 'x' is not among the training labels"
    )


def test_what_cannot_be_learnt_or_ranked_is_refused():
    head = PLAIN.head(Kind.MULTILABEL, examples((), ()))
    with pytest.raises(InputError, match="none of the 2 training examples has a label"):
        PLAIN.check_varied(head, 2)
    assert PLAIN.lacking([(("a",),), (("a",),)], head) == "no label that some rows have and some lack"
    assert PLAIN.lacking([(("a",),), ((),)], head) is None


def test_intervals_draw_the_scores_that_the_task_computes():
    targets = [(list(t),) for t in TRUTH]
    rows = [{**json.loads(json.dumps(a)), "target": t} for a, t in zip(answers(), targets, strict=True)]
    drawn = counts([str(i) for i in range(5)], 8)
    for name in ("auroc", "micro_f1", "macro_f1", "binary_log_loss"):
        values = prepare(name, rows, {})(drawn)
        for weights, value in zip(drawn, values, strict=True):
            repeated = [i for i, n in enumerate(weights) for _ in range(n)]
            expected = PLAIN.score([rows[i] for i in repeated], [targets[i] for i in repeated]).get(name, 0.0)
            assert value == pytest.approx(expected), name
    assert prepare("aupr", rows, {}) is None


def test_answers_of_hundreds_of_labels_are_stored_in_a_few_bytes_each():
    rng, names = np.random.default_rng(0), tuple(f"label number {i}" for i in range(120))
    output = ModelOutput(logits=torch.from_numpy(rng.normal(-3, 2, (50, 120))))
    stored = PLAIN.answers(output, [{}] * 50, Head(Kind.MULTILABEL, names))
    assert len(pack(stored)) < 6 * 50 * 120
    assert len(gzip.decompress(pack(stored)).splitlines()) == 50
    scores = PLAIN.score(stored, [(tuple(rng.choice(names, 3)),) for _ in range(50)])
    assert scores["auroc"] == pytest.approx(0.5, abs=0.1)


TABLE = "image,label\n" + "".join(
    f"{i}.png,{';'.join(n for n, on in (('bright', i % 2), ('large', i % 3 == 0)) if on)}\n" for i in range(48)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("pictures")
    for i in range(48):
        png(where / f"{i}.png", value=200 if i % 2 else 40, size=(12, 12))
    return write_files(where, all__csv=TABLE)


def image_cell(folder, *more):
    chosen = ["task=image_multilabel", "method=head", f"data.train={folder}/all.csv", 'data.columns.separator=";"']
    small = ["task.size=8", "backbone=cnn_textures", "budget=smoke", "budget.steps=2", "device=cpu"]
    return cell_of([*chosen, *small, *more])


def test_a_table_of_images_with_separated_labels_is_read_and_a_row_without_labels_counts(folder):
    splits = image_cell(folder).task.splits()
    targets = {e.id: e.targets[0] for part in splits.values() for e in part}
    by_row = {int(key.rpartition(" ")[2]): target for key, target in targets.items()}
    assert (by_row[1], by_row[2], by_row[3], by_row[4]) == (("large",), ("bright",), (), ("bright", "large"))
    assert len(by_row) == 48
    unseparated = ["task=image_multilabel", "method=head", "task.size=8", f"data.train={folder}/all.csv"]
    bad = cell_of(unseparated).task.splits()
    reasons = [e.source.reason for part in bad.values() for e in part if isinstance(e.source, Bad)]
    assert any("separator=" in reason for reason in reasons)


def test_images_with_several_labels_run_and_are_recorded(folder):
    cell = image_cell(folder)
    run = Run(cell)
    splits = data.read(cell, run.result, run.reuse)
    runner.measure(run, splits)
    named = {(m.split, m.name): m.value for m in run.result.measurements if m.step is None}
    assert named["test", "majority_auroc"] == 0.5
    assert 0 <= named["test", "auroc"] <= 1
    assert run.result.data["proper"] == "binary_log_loss"
    assert run.result.data["head"]["labels"] == ("bright", "large")


def test_an_archive_with_a_row_of_zeros_and_ones_per_image_has_several_labels(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, number in (("train", 12), ("val", 4), ("test", 4)):
        arrays[f"{split}_images"] = rng.integers(0, 255, (number, 9, 9), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(number)[:, None] >> np.arange(3)) & 1
    np.savez(tmp_path / "chest.npz", **arrays)
    words = ["task=image_multilabel", "method=head", "data=image_npz", f"data.file={tmp_path}/chest.npz", "task.size=8"]
    splits = cell_of([*words, "+data.names.2=hernia"]).task.splits()
    assert [e.targets[0] for e in splits["train"][4:7]] == [("hernia",), ("0", "hernia"), ("1", "hernia")]
