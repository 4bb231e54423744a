"""Class weights and focal loss: a choice of the task, carried by the head, in the name only where set."""

import math

import numpy as np
import pytest
import torch
from factories import UNWEIGHTED
from sklearn.utils.class_weight import compute_class_weight

from benchmark.backbones.losses import LOSSES
from benchmark.config.compose import cell_of, choices_of
from benchmark.errors import InputError
from benchmark.identity import run_id
from benchmark.types import Example, Head, Kind
from tasks.answers.classification import Classification
from tasks.answers.multilabel import Multilabel

ABC = ("a", "b", "c")
LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.5, 0.3], [-0.7, 0.2, 0.9]])


def examples(*targets):
    return [Example(str(i), "", (target,)) for i, target in enumerate(targets)]


def loss(kind, labels, **head):
    return LOSSES[kind](LOGITS, torch.tensor(labels), None, Head(kind, ABC, **head)).item()


def test_balanced_weights_are_those_of_scikit_learn():
    truth = ["b", "a", "b", "b", "c", "b", "a"]
    head = Classification(class_weights="balanced", focal=None).head(Kind.CLASSIFY, examples(*truth))
    assert head.weights == pytest.approx(compute_class_weight("balanced", classes=np.array(ABC), y=truth))
    assert Classification(**UNWEIGHTED).head(Kind.CLASSIFY, examples(*truth)).weights == ()
    lists = [("a", "b"), ("b",), (), ("b", "c"), ("b",)]
    head = Multilabel(class_weights="balanced", focal=None).head(Kind.MULTILABEL, examples(*lists))
    pairs = [compute_class_weight("balanced", classes=np.array([0, 1]), y=[n in one for one in lists]) for n in ABC]
    assert head.weights == pytest.approx([*(absent for absent, _ in pairs), *(present for _, present in pairs)])


def test_weighted_and_focal_losses_of_classes_are_those_of_the_formulas():
    weights, labels, gamma = (0.5, 3.0, 2.0), [1, 0, 1], 1.7
    true = [row.softmax(-1)[c].item() for row, c in zip(LOGITS, labels, strict=True)]
    by_hand = sum(-weights[c] * math.log(p) for p, c in zip(true, labels, strict=True)) / 3
    assert loss(Kind.CLASSIFY, labels, weights=weights) == pytest.approx(by_hand, rel=1e-5)
    focal = sum(-((1 - p) ** gamma) * math.log(p) for p in true) / 3
    assert loss(Kind.CLASSIFY, labels, focal=gamma) == pytest.approx(focal, rel=1e-5)
    both = sum(-weights[c] * (1 - p) ** gamma * math.log(p) for p, c in zip(true, labels, strict=True)) / 3
    assert loss(Kind.CLASSIFY, labels, weights=weights, focal=gamma) == pytest.approx(both, rel=1e-5)
    assert loss(Kind.CLASSIFY, [1, -100, -100], weights=weights) == pytest.approx(-3 * math.log(true[0]), rel=1e-5)


def test_losses_of_several_labels_are_those_of_the_formulas():
    labels, gamma = [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 0.0]], 2.5
    weights = (0.5, 0.6, 0.7, 3.0, 4.0, 5.0)  # absent a, b, c, present a, b, c
    plain = weighted = focal = 0.0
    for row, truth in zip(LOGITS.tolist(), labels, strict=True):
        for i, (logit, there) in enumerate(zip(row, truth, strict=True)):
            p = 1 / (1 + math.exp(-logit if there else logit))  # of what is true
            plain -= math.log(p) / 9
            weighted -= weights[i + 3 * int(there)] * math.log(p) / 9
            focal -= (1 - p) ** gamma * math.log(p) / 9
    assert loss(Kind.MULTILABEL, labels) == pytest.approx(plain, rel=1e-5)
    assert loss(Kind.MULTILABEL, labels, weights=weights) == pytest.approx(weighted, rel=1e-5)
    assert loss(Kind.MULTILABEL, labels, focal=gamma) == pytest.approx(focal, rel=1e-5)


@pytest.mark.parametrize("head", [{"weights": (0.5, 3.0, 2.0)}, {"focal": 2.0}])
def test_a_batch_in_parts_has_the_loss_of_the_whole(head):
    labels = [1, 0, 1]
    described = Head(Kind.CLASSIFY, ABC, **head)
    cuts = [slice(0, 1), slice(1, 3)]
    parts = [LOSSES[Kind.CLASSIFY](LOGITS[cut], torch.tensor(labels[cut]), None, described) for cut in cuts]
    assert loss(Kind.CLASSIFY, labels, **head) == pytest.approx((parts[0].item() + 2 * parts[1].item()) / 3, rel=1e-5)


def test_a_focal_gradient_is_finite_where_the_answer_is_certain():
    logits = torch.tensor([[60.0, -60.0, -60.0]], requires_grad=True)
    LOSSES[Kind.CLASSIFY](logits, torch.tensor([0]), None, Head(Kind.CLASSIFY, ABC, focal=0.5)).backward()
    assert logits.grad.isfinite().all()


def test_both_are_part_of_the_name_only_where_they_are_set():
    words = ["task=medical_images", "method=head"]
    plain = choices_of(cell_of(words))
    without = {**plain, "task": {k: v for k, v in plain["task"].items() if k not in ("class_weights", "focal")}}
    chosen = ("task.class_weights=balanced", "task.focal=2")
    names = {run_id(choices_of(cell_of([*words, one]))) for one in chosen}
    assert run_id(without) == run_id(plain) not in names
    assert len(names) == 2


def test_other_words_are_refused():
    with pytest.raises(InputError, match=r"task.class_weights: 'equal' given, balanced or null wanted"):
        cell_of(["task=protein_classification", "method=head", "data.files.all=x.csv", "task.class_weights=equal"])
    with pytest.raises(InputError, match=r"task.focal"):
        cell_of(["task=medical_images", "method=head", "task.focal=-1"])
