"""The runner: what a cell reads, answers and measures."""

import dataclasses
import hashlib
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from factories import run_cell
from torch import nn

from benchmark.config.compose import cell_of, choices_of
from benchmark.engine import data, runner, train
from benchmark.engine.context import Run
from benchmark.engine.data import Result, fingerprint, share, usable
from benchmark.engine.reuse import Reuse
from benchmark.engine.runner import predict, sizes
from benchmark.errors import InputError, TimeLimitError
from benchmark.identity import run_id
from benchmark.methods.native import Native
from benchmark.types import Bad, Category, Example

TRAIN = [Example(f"t{i}", str(i), ("rare" if i % 10 == 0 else "common",)) for i in range(100)]


def part(fraction, seed=0, sample=None, stratum=lambda e: e.targets[0]):
    cell = SimpleNamespace(
        fraction=fraction,
        seed_of=lambda _: seed if sample is None else sample,
        task=SimpleNamespace(stratum=stratum),
    )  # fmt: skip
    return [e.id for e in share(cell, TRAIN)]


def test_a_smaller_share_lies_within_a_larger_one_and_keeps_the_classes():
    shares = [part(f) for f in (0.05, 0.1, 0.3, 0.7)]
    for smaller, larger in itertools.pairwise(shares):
        assert set(smaller) < set(larger)
    assert [len(s) for s in shares] == [1 + 5, 1 + 9, 3 + 27, 7 + 63]
    rare = {e.id for e in TRAIN if e.targets == ("rare",)}
    assert [len(rare & set(s)) for s in shares] == [1, 1, 3, 7]
    assert part(None) == [e.id for e in TRAIN]


def test_the_sample_has_a_seed_of_its_own():
    assert part(0.3, seed=1) != part(0.3, seed=2)
    assert part(0.3, seed=1, sample=5) == part(0.3, seed=2, sample=5)
    assert part(0.3, seed=3) == part(0.3, seed=9, sample=3)


def test_a_share_reaches_training_alone_and_leaves_the_fingerprint(toy_cell):
    whole, tenth = toy_cell("causal_lm", "lora"), toy_cell("causal_lm", "lora", "fraction=0.1")
    results = Result(), Result()
    splits = [data.read(cell, result) for cell, result in zip((whole, tenth), results, strict=True)]
    assert (len(splits[0]["train"]), len(splits[1]["train"])) == (64, 7)
    assert splits[0]["test"] == splits[1]["test"]
    assert results[0].data["fingerprint"] == results[1].data["fingerprint"]
    assert results[0].data["sample"] != results[1].data["sample"]
    assert run_id(choices_of(whole)) != run_id(choices_of(tenth))


def test_what_is_answered_of_a_split_is_drawn_by_ids_and_is_no_beginning_of_it(toy_cell):
    everything = toy_cell("causal_lm", "lora").task.splits()
    for method in ("lora", "full"):
        cell = toy_cell("causal_lm", method, "budget.max_test=5", "budget.max_valid=3")
        read = data.read(cell, Result())
        for name, most in (("valid", 3), ("test", 5)):
            ids = [e.id for e in everything[name]]
            by_hash = sorted(ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
            assert [e.id for e in read[name]] == by_hash[:most] != ids[:most]


@pytest.mark.parametrize("fraction", ["0", "1.5", "-0.1"])
def test_a_share_that_is_none_is_refused(fraction):
    with pytest.raises(InputError, match=r"fraction: .* given, a number above 0 and at most 1 wanted"):
        cell_of(["task=nmt", "method=lora", f"fraction={fraction}"])


def test_a_bad_row_refuses_the_run_or_is_counted():
    splits = {
        "train": [TRAIN[0], TRAIN[1]._replace(source=Bad("a.csv, row 3: no image x.png"))],
        "valid": [TRAIN[2]._replace(source=Bad("a.csv, row 9: empty"))],
    }
    strict = SimpleNamespace(task=SimpleNamespace(skips_bad=lambda: False))
    with pytest.raises(InputError, match=r"^a.csv, row 3: no image x.png \(and 1 more\): mend it, or .*skip_bad=true$"):
        usable(strict, splits, Result())
    result = Result()
    kept = usable(SimpleNamespace(task=SimpleNamespace(skips_bad=lambda: True)), splits, result)
    assert {name: len(examples) for name, examples in kept.items()} == {"train": 1, "valid": 0}
    assert result.data["counts"] == {"train": {"bad_examples": 1}, "valid": {"bad_examples": 1}}


def test_a_fingerprint_knows_every_value_of_an_array():
    array = np.arange(10_000, dtype=np.float32)
    other = array.copy()
    other[5000] += 1  # where printing it leaves out
    prints = [fingerprint({"train": [Example("1", a, ("x",))]}) for a in (array, other, array.copy())]
    assert prints[0] == prints[2] != prints[1]
    assert fingerprint({"train": [Example("1", "s", ("x",), "speaker")]}) == fingerprint(
        {"train": [Example("1", "s", ("x",))]}
    )


def test_a_choice_that_nobody_makes_names_no_other_cell():
    config = {"task": {"a": 1}, "seed": 0}
    assert run_id(config) == run_id({**config, "fraction": None, "task": {"a": 1, "b": None}})
    assert run_id(config) != run_id({**config, "fraction": 0.5})


def test_a_run_that_takes_too_long_has_failed_and_says_where(toy_cell):
    cell = toy_cell("causal_lm", "lora", "budget.max_seconds=0.001")
    with pytest.raises(
        TimeLimitError, match=r"seconds spent after 1 steps, budget.max_seconds=0.001: raise it, or take"
    ):
        run_cell(cell)
    assert run_cell(dataclasses.replace(cell, budget=dataclasses.replace(cell.budget, max_seconds=600.0))).examples
    with pytest.raises(InputError, match=r"budget.max_seconds: -1.0 given, a number above 0"):
        toy_cell("causal_lm", "lora", "budget.max_seconds=-1")


class Repeating:
    """A task whose answers are its examples; what cannot be read has none."""

    def length(self, feature):
        return len(feature)

    def mates(self, feature, processor):
        return None

    def nothing(self):
        return {"prediction": ""}

    def predict(self, model, features, processor):
        return [{"prediction": feature} for feature in features]


def test_every_answer_stands_at_its_example():
    words = ["one", None, "three", "eleven", None, "a", "seven", "two"]
    budget = SimpleNamespace(eval_batch_size=3, shard=None, precision="fp32", max_seconds=None)
    cell = SimpleNamespace(task=Repeating(), budget=budget)
    run = Run(cell, model=nn.Linear(1, 1))
    answers = predict(run, words, "test")
    assert [answer["prediction"] for answer in answers] == [word or "" for word in words]
    assert run.meter.predicted == 6


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: nn.ModuleDict({"wrapped": model})])
def test_a_new_head_is_counted_within_what_is_trained_and_apart(wrap):
    model = nn.ModuleDict({"encoder": nn.Linear(3, 4), "new_head": nn.Linear(4, 5), "old_head": nn.Linear(4, 2)})
    model["encoder"].weight.requires_grad_(False)
    found = {m.name: m.value for m in sizes(wrap(model))}
    assert found == {"trainable_params": 4 + (4 * 5 + 5) + (4 * 2 + 2), "head_params": 4 * 5 + 5}


def test_retention_of_an_untouched_network_is_exactly_zero_and_training_moves_it():
    pytest.importorskip("babel", reason='the embedded data needs pip install -e ".[embedded]"')
    words = [
        "task=nmt",
        "budget=smoke",
        "budget.steps=2",
        "data.train=32",
        "data.valid=8",
        "data.test=4",
        "data.shift=4",
    ]
    found = {}
    for method in ("frozen", "lora"):
        result = run_cell(cell_of([*words, f"method={method}"]))
        found[method] = {m.name: m.value for m in result.measurements if m.split == "pretraining"}
    assert found["frozen"]["retention"] == 0
    assert found["lora"]["loss_bare"] == found["frozen"]["loss_bare"] > 0
    assert found["lora"]["retention"] == found["lora"]["loss"] - found["lora"]["loss_bare"] != 0


@dataclass(frozen=True, kw_only=True)
class Looks(Native):
    """Train all, after a look at three batches."""

    category: ClassVar[Category] = Category.REFERENCE
    paper: ClassVar[str] = ""
    mergeable: ClassVar[bool] = True
    calibrates: ClassVar[bool] = True
    seen: ClassVar[list] = []

    def attach(self, model, cell):
        return model.requires_grad_(True)

    def calibrate(self, model, batches, cell):
        self.seen.append([batch["labels"].tolist() for batch in itertools.islice(batches, 3)])


def test_valid_is_answered_as_far_as_a_test_and_looked_at_as_far_as_it_goes(toy_cell, monkeypatch):
    answered, looked = {}, []
    predict, valid_loss = runner.predict, train.valid_loss

    def counting(run, features, split):
        answered[split] = len(features)
        return predict(run, features, split)

    monkeypatch.setattr(runner, "predict", counting)
    monkeypatch.setattr(train, "valid_loss", lambda *given: looked.append(len(given[1])) or valid_loss(*given))
    run_cell(toy_cell("causal_lm", "lora", "budget.max_valid=12", "budget.max_test=5", "budget.steps=1"))
    assert answered["valid"] == answered["test"] == 5
    assert set(looked) == {12}


def test_what_calibrates_sees_training_batches_the_same_each_time_and_its_time_is_counted(toy_cell):
    method = Looks(description="", lr=1e-3, search={}, sized_by=None)
    cell = dataclasses.replace(toy_cell("causal_lm", "full", "budget.steps=2"), method=method)
    found = [{m.name: m.value for m in run_cell(cell).measurements if m.split == "cost"} for _ in range(2)]
    assert method.seen[0] == method.seen[1] != []
    assert len(method.seen[0][0]) == cell.budget.batch_size
    assert all(costs["calibrate_seconds"] > 0 for costs in found)


def test_the_bytes_of_a_checkpoint_are_those_of_its_weights(toy_cell, tmp_path):
    """Not of its configuration, which names paths and versions."""
    cell = toy_cell("causal_lm", "lora", "budget.steps=1")
    result = run_cell(cell, save=tmp_path)
    (weights,) = tmp_path.glob("*.safetensors")
    assert len(list(tmp_path.iterdir())) > 1
    (found,) = (m.value for m in result.measurements if m.name == "checkpoint_bytes")
    assert found == weights.stat().st_size


@pytest.mark.parametrize("kind", ["causal_lm", "seq2seq"])
def test_nothing_is_dropped_while_tests_are_predicted(toy_cell, monkeypatch, kind):
    """Nor during validation: answers equal those with all dropouts at zero."""
    cell, modes = toy_cell(kind, "lora", "budget.steps=2", "budget.dropout=0.5"), []
    predict = type(cell.task).predict

    def watched(task, model, *rest):
        modes.append({module.training for module in model.modules()})
        return predict(task, model, *rest)

    monkeypatch.setattr(type(cell.task), "predict", watched)
    run_cell(cell)
    assert modes
    assert all(mode == {False} for mode in modes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["causal_lm", "seq2seq"])
def test_what_cells_share_changes_no_number(toy_cell, kind):
    cells = [
        toy_cell(kind, method, "budget.steps=3", *words)
        for method, words in [("full", []), ("lora", []), ("lora", ["seed=1"]), ("full", ["fraction=0.2"])]
    ]
    kept = {}
    for cell in cells:
        alone, shared = (
            [m for m in run_cell(cell, reuse=reuse).measurements if m.split != "cost"]
            for reuse in (Reuse(), Reuse(choices_of(cell), kept))
        )
        assert alone == shared
    assert kept.keys() == {"splits", "repeats", "fingerprint", "network", "bare", "encoded"}


def test_what_cells_share_is_made_once_per_key():
    made, kept = [], {}
    for task, more in [("a", 1), ("a", 1), ("a", 2), ("b", 2), ("b", 2)]:
        Reuse({"task": task, "seed": len(made)}, kept).get("x", ("task",), lambda: made.append(0) or len(made), more)
    assert len(made) == 3
    assert Reuse({}, None).get("x", ("task",), lambda: 7) == 7
