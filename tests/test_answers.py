"""Scores against hand counts, labels there and back, and what is no label."""

import itertools
import math

import numpy as np
import pytest
import torch
from factories import UNWEIGHTED
from transformers.utils import ModelOutput

from benchmark.errors import InputError
from benchmark.types import Example, Head, Kind
from tasks.answers.classification import Classification
from tasks.answers.labels import in_order
from tasks.answers.regression import Regression
from tasks.answers.tagging import Tagging
from tasks.answers.transcription import Transcription, collapse
from tasks.scores import calibration_error


def examples(*targets):
    return [Example(str(i), "", (target,)) for i, target in enumerate(targets)]


def said(label, **probabilities):
    return {"prediction": label, "probabilities": probabilities}


def test_classification_against_hand_counts():
    # truth a a a b; said a b a b: recall 2/3 and 1, precision 1 and 1/2
    predictions = [said("a", a=0.9, b=0.1), said("b", a=0.4, b=0.6), said("a", a=0.8, b=0.2), said("b", a=0.3, b=0.7)]
    scores = Classification(**UNWEIGHTED).score(predictions, [("a",), ("a",), ("a",), ("b",)])
    assert scores["accuracy"] == 3 / 4
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["macro_f1"] == pytest.approx((0.8 + 2 / 3) / 2)
    assert scores["mcc"] == pytest.approx((2 * 1 - 0 * 1) / math.sqrt(2 * 3 * 1 * 2))
    assert scores["auroc"] == 1.0  # the only b has the highest probability of b
    assert scores["aupr"] == 1.0


def test_a_ranking_score_needs_both_sides_and_an_empty_answer_is_wrong():
    predictions = [said("a", a=0.9, b=0.1), {"prediction": "", "probabilities": {}}]
    scores = Classification(**UNWEIGHTED).score(predictions, [("a",), ("a",)])
    assert scores["accuracy"] == 0.5
    assert "auroc" not in scores


def test_three_classes_are_ranked_one_against_the_rest():
    rows = [(0.6, 0.3, 0.1), (0.2, 0.5, 0.3), (0.3, 0.5, 0.2), (0.1, 0.2, 0.7)]
    truth = ["x", "y", "x", "z"]
    predictions = [said(max(zip(r, "xyz", strict=True))[1], **dict(zip("xyz", r, strict=True))) for r in rows]

    def pairs_won(column, label):
        own = [r[column] for r, t in zip(rows, truth, strict=True) if t == label]
        others = [r[column] for r, t in zip(rows, truth, strict=True) if t != label]
        return np.mean([(a > b) + 0.5 * (a == b) for a in own for b in others])

    expected = np.mean([pairs_won(i, label) for i, label in enumerate("xyz")])
    assert Classification(**UNWEIGHTED).score(predictions, [(t,) for t in truth])["auroc"] == pytest.approx(expected)


def test_calibration_error_by_hand():
    # one bin of two at 0.95 with one right, one of two at 0.55 with both right
    confidence, correct = np.array([0.95, 0.95, 0.55, 0.55]), np.array([True, False, True, True])
    assert calibration_error(confidence, correct) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


def test_numbers_come_back_in_their_own_unit():
    head = Regression().head(Kind.REGRESS, examples(10.0, 20.0, 30.0))
    assert (head.centre, head.scale) == (20.0, pytest.approx(math.sqrt(200 / 3)))
    label = Regression().label(examples(30.0)[0], head, 5)
    output = ModelOutput(logits=torch.tensor([[label]]))
    assert Regression().answers(output, [{}], head)[0]["prediction"] == pytest.approx(30.0)


def test_rank_correlation_by_hand_and_a_constant_answer_has_none():
    targets = [(1.0,), (2.0,), (3.0,), (4.0,)]
    answers = [{"prediction": v} for v in (10.0, 30.0, 20.0, 40.0)]
    scores = Regression().score(answers, targets)
    assert scores["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert scores["rmse"] == pytest.approx(math.sqrt((81 + 28**2 + 17**2 + 36**2) / 4))
    constant = Regression().score([{"prediction": 2.5}] * 4, targets)
    assert (constant["spearman"], constant["r2"]) == (0.0, 0.0)


def test_targets_that_do_not_differ_are_nothing_to_learn():
    with pytest.raises(InputError, match=r"all 2 training targets are 3: nothing to learn"):
        Regression().head(Kind.REGRESS, examples(3.0, 3.0))


def test_positions_that_do_not_count_are_neither_learnt_nor_scored():
    tags = Tagging()
    head = tags.head(Kind.TAG, examples(("H", None, "E"), ("C",)))
    assert head.labels == ("C", "E", "H")
    assert tags.label(examples(("H", None, "E"))[0], head, 3) == [2, -100, 1]
    assert tags.label(examples(("H", None, "E"))[0], head, 2) == [2, -100]
    assert tags.label(examples(("H", "X"))[0], head, 2) == [2, -100]  # a share of train lacks X
    answers = [{"prediction": ["H", "C"]}, {"prediction": ["C"]}]  # the last position of the first was cut off
    assert tags.score(answers, [(("H", None, "E"),), (("C",),)])["accuracy"] == pytest.approx(2 / 3)
    assert tags.unknown(examples(("H", "X"))[0], head) == "label 'X' is not among the training labels"


def test_frames_collapse_to_text():
    head = Head(Kind.CTC, labels=("a", "b", " "))
    assert collapse([0, 1, 1, 0, 1, 2, 2, 3, 3, 1], head) == "aab a"
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 1, 0, 2, 3, 1]]), 4).float()
    output = ModelOutput(logits=logits, mask=torch.tensor([[1, 1, 1, 1, 0, 0]]))
    assert Transcription().answers(output, [{}], head) == [{"prediction": "ab"}]


def test_errors_are_counted_over_all_characters_and_words():
    scores = Transcription().score([{"prediction": "the cat"}, {"prediction": ""}], [("the bat",), ("a",)])
    assert scores["cer"] == pytest.approx((1 + 1) / 8)
    assert scores["wer"] == pytest.approx((1 + 1) / 3)
    assert scores["character_accuracy"] == pytest.approx(1 - 2 / 8)


def test_numbers_are_sorted_as_numbers_and_a_label_of_the_test_alone_is_told():
    assert in_order({"10", "9", "b", "a"}) == ("9", "10", "a", "b")
    head = Classification(**UNWEIGHTED).head(Kind.CLASSIFY, examples("b", "a", "b"))
    assert head.labels == ("a", "b")
    assert Classification(**UNWEIGHTED).unknown(examples("c")[0], head) == "label 'c' is not among the training labels"


def test_log_loss_by_hand_and_no_answer_holds_all_classes_for_equally_likely():
    predictions = [
        said("a", a=0.7, b=0.2, c=0.1),
        said("b", a=0.1, b=0.9, c=0.0),
        {"prediction": "", "probabilities": {}},
        said("a", a=1.0, b=0.0, c=0.0),
    ]
    scores = Classification(**UNWEIGHTED).score(predictions, [("a",), ("a",), ("b",), ("c",)])
    # a class that was ruled out costs as much as half the last digit that is stored
    expected = -(math.log(0.7) + math.log(0.1) + math.log(1 / 3) + math.log(5e-7)) / 4
    assert scores[Classification.proper] == pytest.approx(expected)
    assert "log_loss" not in Classification(**UNWEIGHTED).score(predictions, [("a",), ("a",), ("b",), ("d",)])


def test_squared_error_by_hand():
    scores = Regression().score([{"prediction": v} for v in (10.0, 30.0)], [(1.0,), (2.0,)])
    assert scores[Regression.proper] == pytest.approx((81 + 28**2) / 2)


def test_residues_are_held_as_unlikely_as_the_softmax_says_where_they_count():
    tags, head = Tagging(), Head(Kind.TAG, labels=("C", "E", "H"))
    logits = torch.tensor(
        [[[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [0.5, 0.0, 0.0]], [[0.0, 0.0, 4.0], [0, 0, 0], [0, 0, 0]]]
    )
    features = [{"length": 3, "label": [2, -100, 0]}, {"length": 1, "label": [1]}]
    answers = tags.answers(ModelOutput(logits=logits), features, head)
    odds = [math.exp(2) + 1 + math.e, math.exp(0.5) + 2, 2 + math.exp(4)]
    losses = [math.log(odds[0]) - 1, math.log(odds[1]) - 0.5, math.log(odds[2]) - 0]
    assert [a["nll"] for a in answers] == pytest.approx([losses[0] + losses[1], losses[2]])
    scores = tags.score([*answers, tags.nothing()], [(("H", None, "C"),), (("E",),), (("E",),)])
    assert scores[Tagging.proper] == pytest.approx(sum(losses) / 3)
    assert "nll" not in tags.answers(ModelOutput(logits=logits), [{"length": 3}, {"length": 1}], head)[0]


def test_a_text_is_as_likely_as_all_its_alignments_together():
    head = Head(Kind.CTC, labels=("a", "b", "o"))
    likely = torch.softmax(torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)), -1)
    output = ModelOutput(logits=likely.log(), mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]))
    features = [{"label": [1, 2, 2]}, {"label": [3, 3, 1]}]  # the second needs four frames and has three
    answers = Transcription().answers(output, features, head)
    paths = itertools.product(range(4), repeat=5)
    right = sum(
        math.prod(float(likely[0, frame, c]) for frame, c in enumerate(path))
        for path in paths
        if collapse(path, head) == "abb"
    )
    assert answers[0]["nll"] == pytest.approx(-math.log(right), rel=1e-5)
    assert [a["characters"] for a in answers] == [3, 0]
    scores = Transcription().score([*answers, Transcription().nothing()], [("abb",), ("ooa",), ("a",)])
    assert scores[Transcription.proper] == pytest.approx(-math.log(right) / 3, rel=1e-5)
