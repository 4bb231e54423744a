"""Whole runs: what they train, choose and score."""

import itertools
import math
from collections import Counter
from pathlib import Path

import pytest
import torch
from factories import run_cell
from fitting import copy_state, equal_states
from safetensors import safe_open

from benchmark.engine import runner
from benchmark.engine import train as loop
from benchmark.engine.train import fit

METHODS = ["bitfit", "frozen", "full", "houlsby", "lora", "prompt_tuning"]  # a way of training each


KINDS = ["causal_lm", "seq2seq"]


IMPOSSIBLE = {("bitfit", "causal_lm"): "llama has no bias vectors"}


SCORES = {
    "causal_lm": {"bleu", "chrf", "rouge_l", "exact_match", "perplexity", "bits_per_byte"},
    "seq2seq": {"bleu", "chrf++", "perplexity", "bits_per_byte"},
}


COSTS = {"evaluate_seconds", "predict_seconds_per_example", "peak_memory_bytes", "checkpoint_bytes"}


COSTS_OF_TRAINING = {"train_seconds", "seconds_per_step", "tokens_per_second", "examples_per_second"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_cell_twice_gives_the_same_numbers_and_another_seed_others(kind, toy_cell):
    numbers, rows = [], []
    for seed in (0, 0, 1):
        torch.manual_seed(len(rows) + 100)  # what was drawn before must not matter
        words = (f"seed={seed}", "budget.dropout=0.1", "method.options.lora_dropout=0.1", "budget.steps=3")
        result = run_cell(toy_cell(kind, "lora", *words))
        numbers.append([m for m in result.measurements if m.split != "cost"])
        rows.append(result.examples)
    assert numbers[0] == numbers[1]
    assert rows[0] == rows[1]
    assert {split for split, *_ in numbers[0]} == {"train", "valid", "test", "test/longer"}
    assert numbers[0] != numbers[2]


def test_random_weights_are_the_seed_s_and_do_not_move_a_method_s_start(toy_cell, monkeypatch):
    starts = {}
    for drawn, (name, weights) in enumerate((("pretrained", "pretrained"), ("random", "random"), ("again", "random"))):
        torch.manual_seed(drawn)  # what was drawn before must not matter

        def watched(run, data, name=name):
            starts[name] = copy_state(run.model)
            yield from fit(run, data)

        monkeypatch.setattr(runner, "fit", watched)
        run_cell(toy_cell("causal_lm", "lora", "seed=3", "budget.steps=1", f"backbone.weights={weights}"))
    adapters = {name for name in starts["random"] if "lora_A" in name}
    assert len(adapters) == 2 * 7
    assert equal_states(starts["random"], starts["again"])
    assert all(torch.equal(starts["random"][name], starts["pretrained"][name]) for name in adapters)
    assert not equal_states(starts["random"], starts["pretrained"])


def network_sizes(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys()) - {"final_logits_bias"}  # mBART's is a buffer
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_a_run_trains_what_the_method_says_no_bit_of_the_rest_and_gets_every_score(method, kind, toy_cell, monkeypatch):
    cell = toy_cell(kind, method, "budget.steps=3")
    reason = cell.conflict()
    if (method, kind) in IMPOSSIBLE:
        assert IMPOSSIBLE[method, kind] in reason
        return
    assert reason is None
    seen = {}

    def watched(run, data):
        seen["before"] = copy_state(run.model)
        for point in fit(run, data):
            seen["last"] = copy_state(run.model)  # before the best state comes back
            yield point
        seen["kept"] = copy_state(run.model)  # before it is merged
        seen["trained"] = {name for name, p in run.model.named_parameters() if p.requires_grad}

    monkeypatch.setattr(runner, "fit", watched)
    result = run_cell(cell)
    trained = seen["trained"]
    moved = {name for name in seen["before"] if not torch.equal(seen["before"][name], seen["last"][name])}
    assert moved == trained
    assert all(torch.equal(seen["before"][name], seen["kept"][name]) for name in seen["before"].keys() - trained)

    final = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    assert all(math.isfinite(value) for value in final.values())
    expected = SCORES[kind] | {f"majority_{name}" for name in SCORES[kind] - {"bits_per_byte", "perplexity"}}
    for split in ("valid", "test", "test/longer"):
        assert {name for s, name in final if s == split} - {"loss", "selected_step"} == expected
    costs = {name: value for (split, name), value in final.items() if split == "cost"}
    assert costs.keys() >= COSTS | (COSTS_OF_TRAINING if trained else set())
    assert costs["params"] == network_sizes(Path(cell.backbone.checkpoint))
    assert costs["trainable_params"] == sum(seen["before"][name].numel() for name in trained)
    assert costs["head_params"] == 0
    assert costs["checkpoint_bytes"] >= 4 * costs["trainable_params"]
    assert bool(result.modules) == bool(trained)
    assert Counter(row["split"] for row in result.examples) == {"test": 16, "test/longer": 16}


def test_the_selected_step_and_the_scores_are_those_of_the_best_validation(toy_cell, monkeypatch):
    cell = toy_cell("causal_lm", "full", "budget.evaluations=10")
    seen, looks, real = {}, itertools.count(), loop.valid_loss
    # Whatever training does on this processor, the weights of the fourth step are the best.
    monkeypatch.setattr(loop, "valid_loss", lambda *given: real(*given) + 9 * abs(next(looks) - 4))

    def watched(run, data):
        for point in fit(run, data):
            if point.split == "valid":
                seen[point.step] = (point.value, copy_state(run.model))
            yield point
        seen["end"] = copy_state(run.model)

    monkeypatch.setattr(runner, "fit", watched)
    result = run_cell(cell)
    final = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    end = seen.pop("end")
    best = min(seen, key=lambda step: seen[step][0])
    assert best == 4
    assert equal_states(end, seen[best][1])
    assert (final["valid", "selected_step"], final["valid", "loss"]) == (best, seen[best][0])
    # validation reads all 16 examples, so perplexity and loss are two readings of one number
    assert math.log(final["valid", "perplexity"]) == pytest.approx(final["valid", "loss"], rel=1e-5)
