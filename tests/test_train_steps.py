"""A step against its reference: optimiser, rate, micro-batches, statistics."""

import dataclasses
import itertools
import math
import statistics
from types import SimpleNamespace

import pytest
import torch
from fitting import (
    BUDGET,
    Everything,
    Following,
    Line,
    Normed,
    adamw_by_hand,
    copy_state,
    equal_states,
    fit_model,
    prepare,
    run_and_data,
    weighted_examples,
)
from torch import nn

from benchmark.engine.batches import batches
from benchmark.engine.train import fit, learn, parts, rate
from benchmark.errors import DivergedError

KINDS = ["causal_lm", "seq2seq"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_loop_is_adamw_with_warm_up_cosine_and_clipping(method, kind, toy_cell):
    words = ("budget.steps=10", "budget.warmup=0.25", "budget.weight_decay=0.1", "budget.clip=0.5", "method.lr=0.01")
    cell = toy_cell(kind, method, *words)
    run, data = prepare(cell)
    losses = [point.value for point in fit(run, data) if point.split == "train"]

    run, data = prepare(cell)
    order = batches([cell.task.length(f) for f in data.train], 8, cell.seed)
    stream = [cell.task.collate([data.train[i] for i in next(order)], run.processor) for _ in range(10)]
    expected = list(adamw_by_hand(run.model, stream, cell.budget, 0.01))
    assert losses == pytest.approx(expected, rel=1e-9)
    assert expected[-1] < expected[0] - 0.01  # else equal losses would say little about the steps


def test_the_rate_climbs_to_one_and_falls_along_half_a_cosine():
    # 8 steps, a quarter of them warm-up: 1/3, 2/3, then (1 + cos(k pi / 6)) / 2
    by_hand = [1 / 3, 2 / 3, 1.0, (1 + 3**0.5 / 2) / 2, 0.75, 0.5, 0.25, (1 - 3**0.5 / 2) / 2]
    assert [rate(step, 0.25, 8) for step in range(8)] == pytest.approx(by_hand)
    assert rate(8, 0.25, 8) == pytest.approx(0.0)
    assert rate(0, 0.0, 8) == 1.0


class Plain:
    """An optimiser that moves the weights by their gradient, so that a step shows it."""

    def __init__(self, model):
        self.param_groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def step(self):
        for p in self.param_groups[0]["params"]:
            p.data -= p.grad


def gradient(loss, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_of_unequal_length_give_the_gradient_of_the_whole_and_a_mean_of_means_does_not(kind, toy_cell):
    cell = toy_cell(kind, "full", "budget.micro_batches=2", "budget.clip=0.0")
    run, _ = prepare(cell)
    model, processor = run.model, run.processor
    texts = ["one", "two", "nine", "one two three four five six seven eight nine", "zero " * 9, "six " * 7]
    examples = [SimpleNamespace(source=str(i), targets=(text,)) for i, text in enumerate(texts)]
    features = [cell.task.encode(e, processor, {}) for e in examples]
    whole = gradient(model(**cell.task.collate(features, processor)).loss, model)

    pieces = parts(features, list(range(6)), 2)
    assert [len(p) for p in pieces] == [3, 3]
    micro = [cell.task.collate(p, processor) for p in pieces]
    naive = gradient(sum(model(**batch).loss for batch in micro) / 2, model)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    loss = learn(run, Plain(model), [(batch, cell.task.items(batch)) for batch in micro])
    after = torch.cat([p.detach().flatten() for p in model.parameters()])

    assert float((before - after - whole).norm() / whole.norm()) < 1e-6  # a Llama's loss is taken in single precision
    assert float((naive - whole).norm() / whole.norm()) > 0.2
    with torch.no_grad():
        run, _ = prepare(cell)
        assert loss == pytest.approx(run.model(**cell.task.collate(features, processor)).loss.item(), rel=1e-6)


def test_a_run_in_pieces_ends_with_the_weights_of_the_run_in_one():
    ends = []
    for pieces in (1, 2, 3):  # 3 pieces of 8 examples: 3 + 3 + 2
        budget = dataclasses.replace(BUDGET, micro_batches=pieces, steps=6, batch_size=8)
        ends.append(fit_model(Line(), budget, weighted_examples(40))[0].line.weight.item())
    assert ends[1:] == pytest.approx(ends[:1] * 2, abs=1e-9)
    assert ends[0] != pytest.approx(0.0, abs=1e-3)


def test_pieces_hold_every_example_once():
    for size, count in itertools.product(range(1, 12), range(1, 5)):
        pieces = parts(range(100, 120), list(range(size)), count)
        assert [i for piece in pieces for i in piece] == list(range(100, 100 + size))
        assert len(pieces) <= count


@pytest.mark.parametrize(
    ("method", "trained", "moves"), [(Everything, False, False), (Following, False, False), (Following, True, True)]
)
def test_frozen_running_statistics_stay_and_those_that_a_method_trains_follow(method, trained, moves):
    model = Normed()
    model.norm.requires_grad_(trained)
    _, _, states = fit_model(model, BUDGET, weighted_examples(20), method=method)
    moved = {name for name in states[0] if not torch.equal(states[0][name], states[-1][name])}
    statistics_ = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert moved & statistics_ == (statistics_ if moves else set())
    assert "line.line.weight" in moved
    assert trained or moved <= {"line.line.weight"}


def test_frozen_normalisation_computes_with_its_statistics_in_training_too():
    train = weighted_examples(4)  # one batch: its loss, with statistics 0 and 1, is that of the raw numbers
    _, points, _ = fit_model(Normed(), dataclasses.replace(BUDGET, steps=1, evaluations=1), train)
    first = next(point.value for point in points if point.split == "train")
    assert first == pytest.approx(statistics.mean(y**2 for _, y in train))  # w = 0


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_names_the_step_and_spares_the_weights(poison):
    train = weighted_examples(16)
    order = batches([1] * 16, 4, 0)
    train[list(itertools.islice(order, 3))[2][0]] = (1.0, poison)  # met at step 3
    model = Line()
    points = fit(*run_and_data(model, train, [(1.0, 2.0)]))
    reached = [next(points).step for _ in range(5)]  # a look, then a step and a look, twice
    before = copy_state(model)
    with pytest.raises(DivergedError, match=rf"\b{poison} at step 3: lower method.lr=0.1"):
        next(points)
    assert reached == [0, 1, 1, 2, 2]
    assert equal_states(copy_state(model), before)
    assert math.isfinite(model.line.weight.item())


def test_what_is_to_be_trained_and_has_no_gradient_is_counted():
    """A part that nobody calls; without one there is nothing to count."""
    train = weighted_examples(16)
    assert not [point for point in fit(*run_and_data(Line(), train, train[:4])) if point.split == "cost"]
    model = Line()
    model.idle = nn.Linear(3, 5)
    *_, last = fit(*run_and_data(model, train, train[:4]))
    assert last == ("cost", "params_without_gradient", 3 * 5 + 5, None)


def test_bf16_computes_in_16_bits_over_weights_kept_in_32(toy_cell):
    curves = {}
    for precision in ("fp32", "bf16"):
        cell = toy_cell("causal_lm", "full", f"budget.precision={precision}")
        run, data = prepare(cell, torch.float32)
        curves[precision] = [point.value for point in fit(run, data)]
        assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert curves["bf16"] != curves["fp32"]
    assert curves["bf16"] == pytest.approx(curves["fp32"], abs=0.05)
