"""Validations: when, over what, and which state they choose."""

import dataclasses
import math
import statistics
from types import SimpleNamespace

import pytest
import torch
from fitting import (
    BUDGET,
    Following,
    Line,
    Normed,
    copy_state,
    equal_states,
    fit_model,
    prepare,
    run_and_data,
    weighted_examples,
)

from benchmark.engine.context import Run
from benchmark.engine.train import Encoded, fit
from benchmark.errors import DivergedError

KINDS = ["causal_lm", "seq2seq"]


def test_the_best_state_by_valid_loss_comes_back_not_the_last():
    # Valid wants w = 1, train wants w = 3: on its way there the network passes the best place.
    train, valid = [(1.0, 3.0)] * 8, [(1.0, 1.0), (2.0, 2.0)]
    model, points, states = fit_model(Line(), BUDGET, train, valid, lr=0.4)
    looks = [(point, s) for point, s in zip(points, states, strict=True) if point.split == "valid"]
    assert [point.step for point, _ in looks] == list(range(13))
    by_hand = [2.5 * (s["line.weight"].item() - 1) ** 2 for _, s in looks]  # mean of (w - 1)^2 and (2w - 2)^2
    assert [point.value for point, _ in looks] == pytest.approx(by_hand)
    best = by_hand.index(min(by_hand))
    assert 0 < best < 12
    assert equal_states(copy_state(model), looks[best][1])
    assert not equal_states(copy_state(model), states[-1])


def test_the_best_running_statistics_come_back_with_the_weights():
    train, valid = [(1.0 + i % 2, 3.0) for i in range(8)], [(1.0, 1.0), (1.5, 1.0)]
    model, points, states = fit_model(Normed(), BUDGET, train, valid, method=Following, lr=0.5)
    looks = [(point.value, i) for i, point in enumerate(points) if point.split == "valid"]
    best = min(looks)[1]
    assert best < looks[-1][1]
    assert equal_states(copy_state(model), states[best])


def test_a_valid_loss_that_is_no_number_stops_the_run_too():
    valid = [(1.0, 1.0), (1.0, math.nan)]
    with pytest.raises(DivergedError, match=r"validation loss.*nan.*step 0\b"):
        list(fit(*run_and_data(Line(), weighted_examples(16), valid)))


def test_validations_are_evenly_spaced_and_the_last_step_has_one():
    for evaluations, steps in ((1, [0, 10]), (4, [0, 2, 5, 8, 10]), (10, list(range(11))), (25, list(range(11)))):
        budget = dataclasses.replace(BUDGET, steps=10, evaluations=evaluations)
        _, points, _ = fit_model(Line(), budget, weighted_examples(20))
        assert [point.step for point in points if point.split == "valid"] == steps


def test_nothing_to_train_is_one_validation():
    model = Line().requires_grad_(False)
    _, points, _ = fit_model(model, BUDGET, weighted_examples(20))
    assert [(point.split, point.step) for point in points] == [("valid", 0)]


class Listening(Line):
    """Notes whether it is training whenever it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x, y):
        self.asked.append(self.training)
        return super().forward(x, y)


def test_dropout_is_on_in_every_step_and_off_in_every_validation():
    model, _, _ = fit_model(Listening(), dataclasses.replace(BUDGET, steps=4, evaluations=2), [(1.0, 2.0)] * 12)
    look = [False] * 3  # 7 examples, 3 at a time
    assert model.asked == [*look, True, True, *look, True, True, *look]


@pytest.mark.parametrize("kind", KINDS)
def test_valid_loss_is_the_mean_over_target_tokens_whatever_the_batches(kind, toy_cell):
    cell = toy_cell(kind, "frozen")
    run, data = prepare(cell)
    model, processor = run.model, run.processor
    texts = ["one", "two three", "one two three four five six seven eight nine"]
    valid = [cell.task.encode(SimpleNamespace(source="12", targets=(t,)), processor, {}) for t in texts]
    with torch.no_grad():
        single = [(model(**cell.task.collate([f], processor)).loss.item(), len(f["target"])) for f in valid]
    by_hand = sum(loss * tokens for loss, tokens in single) / sum(tokens for _, tokens in single)
    assert by_hand != pytest.approx(statistics.mean(loss for loss, _ in single), rel=1e-4)
    for size in (1, 2, 3):
        budget = dataclasses.replace(cell.budget, eval_batch_size=size)
        changed = dataclasses.replace(cell, budget=budget)
        (look,) = fit(Run(changed, model=model, processor=processor), Encoded(data.train, valid))
        assert look.value == pytest.approx(by_hand, rel=1e-6)
