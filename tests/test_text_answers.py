"""Likelihoods and answers of random networks, token by token."""

import math

import pytest
import torch
from fitting import nll_by_hand

from benchmark.backbones.transformer import TextProcessor
from benchmark.types import Example, Head, Kind
from tasks.text import likelihood_scores

KINDS = ["causal_lm", "seq2seq"]
METHODS = ["frozen", "lora", "prompt_tuning", "prefix_tuning"]


@pytest.fixture(scope="module")
def networks(toy_cell):
    """Give (cell, network, processor) by kind and method, each made once."""
    made = {}

    def make(kind, method="frozen"):
        if (kind, method) not in made:
            words = ("task.max_target_tokens=12", "task.template='{source}\n'")
            cell = toy_cell(kind, method, *words)
            model, processor = cell.backbone.load(cell.budget, Head(cell.kind))
            torch.manual_seed(1)
            model = cell.method.attach(model, cell).eval()
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(torch.randn_like(p), alpha=0.3)
            made[kind, method] = cell, model, processor
        return made[kind, method]

    return make


EXAMPLES = [
    Example("a", "7", ("seven",)),
    Example("b", "40213", ("four zero two one three",)),
    Example("c", "five hundred", ("500",)),
    Example("d", "98", ("nine eight",)),
]


def encoded(cell, processor):
    return [cell.task.encode(e, processor, {}) for e in EXAMPLES]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_nll_is_the_walk_over_the_target_in_any_batch_and_behind_virtual_tokens(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    by_hand = [nll_by_hand(model, processor, f) for f in features]
    assert min(by_hand) > 5
    together = cell.task.predict(model, features, processor)
    alone = [cell.task.predict(model, [f], processor)[0] for f in features]
    backwards = cell.task.predict(model, features[::-1], processor)[::-1]
    for batch in (together, alone, backwards):
        assert [a["nll"] for a in batch] == pytest.approx(by_hand, rel=1e-4)
    assert [a["tokens"] for a in together] == [len(f["target"]) for f in features]

    scores = likelihood_scores(together)
    tokens, size = sum(len(f["target"]) for f in features), sum(len(e.targets[0]) for e in EXAMPLES)
    assert scores["perplexity"] == pytest.approx(math.exp(sum(by_hand) / tokens), rel=1e-4)
    assert scores["bits_per_byte"] == pytest.approx(sum(by_hand) / math.log(2) / size, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_the_training_loss_is_the_mean_of_the_same_nll(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    batch = cell.task.collate(features, processor)
    predicted = cell.task.predict(model, features, processor)
    assert cell.task.items(batch) == sum(a["tokens"] for a in predicted)
    mean = sum(a["nll"] for a in predicted) / sum(a["tokens"] for a in predicted)
    assert model(**batch).loss.item() == pytest.approx(mean, rel=1e-5)


@torch.no_grad()
def test_padding_on_the_left_gives_the_same_nll(networks):
    cell, model, processor = networks("causal_lm")
    features = encoded(cell, processor)
    right = [a["nll"] for a in cell.task.predict(model, features, processor)]
    rows = [f["source"] + f["target"] for f in features]
    longest = max(map(len, rows))
    ids = torch.tensor([[processor.tokenizer.pad_token_id] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    chances = torch.log_softmax(logits.double(), 2)
    left = [
        -sum(chances[i, longest - len(f["target"]) + k - 1, token].item() for k, token in enumerate(f["target"]))
        for i, f in enumerate(features)
    ]
    assert right == pytest.approx(left, rel=1e-4)
    flipped = TextProcessor(processor.tokenizer, processor.kind, "", {})
    side, flipped.tokenizer.padding_side = flipped.tokenizer.padding_side, "left"
    try:
        assert [a["nll"] for a in cell.task.predict(model, encoded(cell, flipped), flipped)] == right
    finally:
        flipped.tokenizer.padding_side = side


def greedy_by_hand(model, processor, features, most):
    """Choose the likeliest token again and again for one example."""
    eos, written = processor.tokenizer.eos_token_id, []
    for _ in range(most):
        if processor.kind == Kind.CAUSAL_LM:
            ids = torch.tensor([features["source"] + written])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        else:
            ids, read = torch.tensor([features["source"]]), torch.tensor([[eos, *written]])
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=read).logits
        token = int(logits[0, -1].argmax())
        if token == eos:
            break
        written.append(token)
    return processor.tokenizer.decode(written, skip_special_tokens=True).strip()


PAIRS = [(method, kind) for method in METHODS for kind in KINDS]


@pytest.mark.parametrize(("method", "kind"), PAIRS)
@torch.no_grad()
def test_an_answer_is_the_likeliest_next_token_again_and_again_in_any_batch(method, kind, networks):
    cell, model, processor = networks(kind, method)
    features = encoded(cell, processor)
    by_hand = [greedy_by_hand(model, processor, f, 12) for f in features]
    assert len(set(by_hand)) > 1
    assert [a["prediction"] for a in cell.task.predict(model, features, processor)] == by_hand
    assert [cell.task.predict(model, [f], processor)[0]["prediction"] for f in features] == by_hand
