"""Choice by likelihood: one choice at a time without padding, against the task's batches."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import run_cell
from fitting import nll_by_hand

from benchmark.errors import InputError
from benchmark.report.statistics.bootstrap import prepare
from benchmark.types import Example, Head, Kind
from tasks.choices import Asked
from tasks.multiple_choice import choose

METHODS = ["frozen", "lora", "prompt_tuning", "prefix_tuning"]
SHORT = "task.max_target_tokens=12"
QUESTIONS = [  # of different lengths and numbers of choices
    (("7", "six", "seven", "eight nine"), 2),
    (("one two three", "12", "123"), 2),
    (("40213 is", "four", "four zero two one three", "zero", "one three", "five five"), 2),
    (("a", "two", "nine eight seven"), 1),
]
EXAMPLES = [Example(str(i), Asked(asked), (str(right),)) for i, (asked, right) in enumerate(QUESTIONS)]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("choices")
    for name, offset in (("train", 1000), ("valid", 3000), ("test", 4000)):
        rows = [
            {
                "question": str(offset + i),
                "choices": ["odd", "even", "no number"][: 2 + i % 3 % 2],
                "answer": ["odd", "even"][i % 2 == 0],
            }
            for i in range(10)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"data.{name}={folder}/{name}.jsonl" for name in ("train", "valid", "test")]


@pytest.fixture(scope="module")
def cell(toy_cell, checkpoint, files):
    """Build a cell of multiple choice: cell("causal_lm", "lora", "task.normalise=tokens")."""

    def make(network, method, *words):
        chosen = ["task=multiple_choice", "data=choices", *files, SHORT]
        if network == "mt5":
            return toy_cell("seq2seq", method, *chosen, f"backbone.checkpoint={checkpoint('mt5_small')}", *words)
        return toy_cell(network, method, *chosen, *words)

    return make


@pytest.fixture(scope="module")
def networks(cell):
    made = {}

    def make(network, method="frozen"):
        if (network, method) not in made:
            place = cell(network, method)
            model, processor = place.backbone.load(place.budget, Head(place.kind))
            torch.manual_seed(1)
            model = place.method.attach(model, place).eval()
            with torch.no_grad():
                for p in model.parameters():
                    p.add_(torch.randn_like(p), alpha=0.3 if network != "mt5" else 0.0)
            made[network, method] = place, model, processor
        return made[network, method]

    return make


def by_hand(model, processor, features):
    """Sum -log p over each choice's tokens, one choice at a time."""
    return [
        nll_by_hand(model, processor, {"source": features["source"], "target": choice["ids"]})
        for choice in features["choices"]
    ]


@pytest.mark.parametrize("network", ["causal_lm", "seq2seq"])
@pytest.mark.parametrize("method", METHODS)
@torch.no_grad()
def test_each_choice_has_the_likelihood_that_it_has_alone(method, network, networks):
    place, model, processor = networks(network, method)
    features = [place.task.encode(e, processor, {}) for e in EXAMPLES]
    sizes = []
    hook = model.register_forward_pre_hook(lambda *given: sizes.append(len(given[2]["input_ids"])), with_kwargs=True)
    together = place.task.predict(model, features, processor)
    hook.remove()
    assert max(sizes) == len(features)
    assert sum(sizes) == sum(len(e.source.choices) for e in EXAMPLES)
    alone = [place.task.predict(model, [f], processor)[0] for f in features]
    for answers in (together, alone):
        for answer, f, e in zip(answers, features, EXAMPLES, strict=True):
            found = by_hand(model, processor, f)
            assert [choice["nll"] for choice in answer["choices"]] == pytest.approx(found, rel=1e-4)
            assert [choice["text"] for choice in answer["choices"]] == list(e.source.choices)
            assert [choice["bytes"] for choice in answer["choices"]] == [len(c.encode()) for c in e.source.choices]
            assert [choice["tokens"] for choice in answer["choices"]] == [len(c["ids"]) for c in f["choices"]]
            per_byte = [nll / len(c.encode()) for nll, c in zip(found, e.source.choices, strict=True)]
            assert answer["prediction"] == str(1 + int(np.argmin(per_byte)))
            assert answer["nll"] == pytest.approx(found[int(e.targets[0]) - 1], rel=1e-4)


@torch.no_grad()
def test_a_t5_scores_each_choice_as_alone(networks):
    place, model, processor = networks("mt5", "lora")
    features = [place.task.encode(e, processor, {}) for e in EXAMPLES]
    start = model.get_base_model().config.decoder_start_token_id
    for answer, f in zip(place.task.predict(model, features, processor), features, strict=True):
        found = []
        for choice in f["choices"]:
            ids, read = torch.tensor([f["source"]]), torch.tensor([[start, *choice["ids"][:-1]]])
            logits = model(input_ids=ids, decoder_input_ids=read).logits[0].double()
            found.append(-logits.log_softmax(-1)[range(len(choice["ids"])), choice["ids"]].sum().item())
        assert [choice["nll"] for choice in answer["choices"]] == pytest.approx(found, rel=1e-4)


@pytest.mark.parametrize("network", ["causal_lm", "seq2seq"])
@torch.no_grad()
def test_the_right_choice_and_its_end_are_learnt_as_in_text_generation(network, networks):
    place, model, processor = networks(network)
    features = [place.task.encode(e, processor, {}) for e in EXAMPLES]
    end = processor.tokenizer.eos_token_id
    for f, e in zip(features, EXAMPLES, strict=True):
        assert f["target"] == [*f["choices"][int(e.targets[0]) - 1]["ids"], end]
    batch = place.task.collate(features, processor)
    nats = sum(nll_by_hand(model, processor, f) for f in features)
    assert model(**batch).loss.item() == pytest.approx(nats / sum(len(f["target"]) for f in features), rel=1e-4)


def test_a_blank_before_the_answer_is_read_with_the_choice_by_a_decoder_alone(networks):
    place, _, processor = networks("causal_lm")
    words = processor.tokenizer("12\nAnswer: seven", add_special_tokens=False)["input_ids"]
    features = place.task.encode(Example("", Asked(("12", "seven", "six")), ("1",)), processor, {})
    assert processor.text(features["source"]) == "12\nAnswer:"
    assert [processor.text(choice["ids"]) for choice in features["choices"]] == [" seven", " six"]
    assert features["source"][1:] + features["choices"][0]["ids"] == words
    place, _, processor = networks("seq2seq")
    features = place.task.encode(Example("", Asked(("12", "seven", "six")), ("1",)), processor, {})
    assert processor.text(features["source"]) == "12\nAnswer:"
    assert [processor.text(choice["ids"]) for choice in features["choices"]] == ["seven", "six"]


@pytest.mark.parametrize(("unit", "chosen"), [("bytes", "3"), ("tokens", "2"), (None, "1")])
def test_the_likeliest_choice_is_the_first_of_the_lowest_cost_per_unit(unit, chosen):
    choices = [
        {"nll": 2.0, "bytes": 1, "tokens": 1},
        {"nll": 5.0, "bytes": 4, "tokens": 10},
        {"nll": 10.0, "bytes": 20, "tokens": 8},
        {"nll": 2.0, "bytes": 1, "tokens": 1},
    ]
    assert choose(choices, unit) == chosen


def test_scores_come_from_what_is_stored(cell):
    task = cell("causal_lm", "frozen").task
    choices = [
        {"text": "x", "nll": 1.0, "bytes": 1, "tokens": 1},
        {"text": "yyyy", "nll": 2.0, "bytes": 4, "tokens": 2},
    ]
    one = {"prediction": "2", "nll": 2.0, "tokens": 2, "bytes": 4, "choices": choices}
    rows, targets = [one, one, one, task.nothing()], [("2",), ("2",), ("1",), ("1",)]
    scores = task.score(rows, targets)
    assert (scores["accuracy"], scores["accuracy_unnormalised"]) == (0.5, 0.25)
    assert scores["bits_per_byte"] == pytest.approx(2.0 / np.log(2) / 4)
    drawn = np.array([[1, 1, 1, 1], [0, 2, 0, 2], [0, 0, 3, 1]])
    stored = [{**row, "target": list(target)} for row, target in zip(rows, targets, strict=True)]
    assert prepare("accuracy", stored, {})(drawn).tolist() == [0.5, 0.5, 0.0]
    assert prepare("accuracy_unnormalised", stored, {})(drawn).tolist() == [0.25, 0.0, 0.75]


def test_one_answer_for_all_is_the_most_frequent_position(cell):
    task = cell("causal_lm", "frozen").task
    train = [Example(str(i), Asked(("?", "a", "b", "c")), (right,)) for i, right in enumerate("32133")]
    answer, scores = task.constant(train, [("3",), ("1",), ("2",), ("3",)])
    assert (answer, scores["accuracy"], scores["accuracy_unnormalised"]) == ("3", 0.5, 0.5)


def test_what_is_too_long_is_cut_and_counted(networks):
    place, _, processor = networks("causal_lm")
    counts = {}
    asked = Asked(("12", "six " * 40 + "one", "six"))
    features = place.task.encode(Example("", asked, ("2",)), processor, counts)
    assert counts == {"truncated_choices": 1}
    long = features["choices"][0]
    assert (len(long["ids"]), long["bytes"]) == (11, len(processor.text(long["ids"]).strip()))


@pytest.mark.parametrize("network", ["causal_lm", "seq2seq"])
def test_a_run_stores_every_choice_so_that_its_scores_come_back(network, cell):
    place = cell(network, "lora", "task.normalise=tokens", "budget.steps=2")
    result = run_cell(place)
    rows = [row for row in result.examples if row["split"] == "test"]
    assert {len(row["choices"]) for row in rows} == {2, 3}
    assert [row["target"] for row in rows] == [["2"], ["1"]] * 5
    for row in rows:
        costs = [choice["nll"] / choice["tokens"] for choice in row["choices"]]
        assert row["prediction"] == str(1 + costs.index(min(costs)))
    found = {m.name: m.value for m in result.measurements if m.split == "test"}
    again = place.task.score(rows, [tuple(row["target"]) for row in rows])
    assert again == {name: found[name] for name in again}
    assert found["majority_accuracy"] == 0.5
    assert result.data["majority"] == "1"
    assert {"loss"} < {m.name for m in result.measurements if m.split == "valid"}


def test_a_new_question_is_asked_with_its_choices(networks):
    place, _, processor = networks("causal_lm")
    asked = place.task.source({"source": "12", "choices": ["six", "seven"]})
    assert asked == ("12", "six", "seven")
    features = place.task.encode(Example("", asked, (place.task.placeholder,)), processor, {})
    assert features["right"] is None
    with pytest.raises(InputError, match="no column 'choices'"):
        place.task.source("12")
    with pytest.raises(InputError, match="input: choices: 1 given"):
        place.task.source({"source": "12", "choices": ["six"]})


def test_the_answer_to_a_new_question_is_the_number_of_a_choice(networks):
    place, model, processor = networks("causal_lm")
    features = place.task.encode(Example("", Asked(("12", "six", "seven")), ("?",)), processor, {})
    with torch.no_grad():
        (answer,) = place.task.predict(model, [features], processor)
    assert answer["prediction"] in ("1", "2")
    assert (answer["nll"], answer["tokens"], answer["bytes"]) == (0.0, 0, 0)


def test_the_network_answers_by_kind(cell):
    assert cell("causal_lm", "frozen").kind == Kind.CAUSAL_LM
    assert cell("seq2seq", "frozen").kind == Kind.SEQ2SEQ
    assert replace(cell("causal_lm", "frozen").task, normalise="tokens").frame == "{source}\nAnswer:"
