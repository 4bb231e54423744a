"""The loop against references: losses, gradients, weights and costs."""

import dataclasses
import itertools
import math
import multiprocessing
import statistics
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from factories import run_cell
from safetensors import safe_open
from torch import nn

from benchmark.engine import runner
from benchmark.engine import train as loop
from benchmark.engine.batches import WINDOW, batches, in_order
from benchmark.engine.context import Run
from benchmark.engine.meter import Meter
from benchmark.engine.train import Encoded, fit, learn, parts, rate
from benchmark.errors import DivergedError
from benchmark.types import Budget, Head, Method
from tasks.text import TextToText

METHODS = ["bitfit", "frozen", "full", "houlsby", "lora", "prompt_tuning"]  # a way of training each
KINDS = ["causal_lm", "seq2seq"]
IMPOSSIBLE = {("bitfit", "causal_lm"): "llama has no bias vectors"}
SCORES = {
    "causal_lm": {"bleu", "chrf", "rouge_l", "exact_match", "perplexity", "bits_per_byte"},
    "seq2seq": {"bleu", "chrf++", "perplexity", "bits_per_byte"},
}
COSTS = {"evaluate_seconds", "predict_seconds_per_example", "peak_memory_bytes", "checkpoint_bytes"}
COSTS_OF_TRAINING = {"train_seconds", "seconds_per_step", "tokens_per_second", "examples_per_second"}


def prepared(cell, dtype=torch.float64):
    """Load and attach in double precision; return the run and encoded splits."""
    runner.seed_everything(cell.seed)
    model, processor = cell.backbone.load(cell.budget, Head(cell.kind))
    splits = cell.task.splits()
    encoded = Encoded(*([cell.task.encode(e, processor, {}) for e in splits[name]] for name in ("train", "valid")))
    return Run(cell, model=cell.method.attach(model.to(dtype), cell).to(dtype), processor=processor), encoded


def state(model):
    """Copy all parameters and buffers."""
    tensors = itertools.chain(model.named_parameters(), model.named_buffers())
    return {name: tensor.detach().clone() for name, tensor in tensors}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# The reference: AdamW (Loshchilov and Hutter 2019, algorithm 2), clipping, warm-up and cosine, written out.


def reference(model, stream, lr, budget):
    """Yield the loss of every step."""
    weights = [p for p in model.parameters() if p.requires_grad]
    moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in weights]
    warm = budget.warmup * budget.steps
    for t, batch in enumerate(stream, 1):
        done = (t - 1 - warm) / (budget.steps - warm)
        now = lr * (t / (warm + 1) if t - 1 < warm else (1 + math.cos(math.pi * done)) / 2)
        loss = model(**batch).loss
        gradients = torch.autograd.grad(loss, weights)
        norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        with torch.no_grad():
            for p, g, (m, v) in zip(weights, gradients, moments, strict=True):
                g = g * min(1.0, budget.clip / (norm + 1e-6))
                m.copy_(0.9 * m + 0.1 * g)
                v.copy_(0.999 * v + 0.001 * g**2)
                if p.ndim > 1:  # no vector decays
                    p.mul_(1 - now * budget.weight_decay)
                p.sub_(now * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8))
        yield loss.item()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_loop_is_adamw_with_warm_up_cosine_and_clipping(method, kind, toy_cell):
    words = ("budget.steps=10", "budget.warmup=0.25", "budget.weight_decay=0.1", "budget.clip=0.5", "method.lr=0.01")
    cell = toy_cell(kind, method, *words)
    run, data = prepared(cell)
    losses = [point.value for point in fit(run, data) if point.split == "train"]

    run, data = prepared(cell)
    order = batches([cell.task.length(f) for f in data.train], 8, cell.seed)
    stream = [cell.task.collate([data.train[i] for i in next(order)], run.processor) for _ in range(10)]
    expected = list(reference(run.model, stream, 0.01, cell.budget))
    assert losses == pytest.approx(expected, rel=1e-9)
    assert expected[-1] < expected[0] - 0.01  # else equal losses would say little about the steps


def test_the_rate_climbs_to_one_and_falls_along_half_a_cosine():
    # 8 steps, a quarter of them warm-up: 1/3, 2/3, then (1 + cos(k pi / 6)) / 2
    by_hand = [1 / 3, 2 / 3, 1.0, (1 + 3**0.5 / 2) / 2, 0.75, 0.5, 0.25, (1 - 3**0.5 / 2) / 2]
    assert [rate(step, 0.25, 8) for step in range(8)] == pytest.approx(by_hand)
    assert rate(8, 0.25, 8) == pytest.approx(0.0)
    assert rate(0, 0.0, 8) == 1.0


# Micro-batches


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
    run, _ = prepared(cell)
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
        run, _ = prepared(cell)
        assert loss == pytest.approx(run.model(**cell.task.collate(features, processor)).loss.item(), rel=1e-6)


def test_a_run_in_pieces_ends_with_the_weights_of_the_run_in_one():
    ends = []
    for pieces in (1, 2, 3):  # 3 pieces of 8 examples: 3 + 3 + 2
        budget = dataclasses.replace(BUDGET, micro_batches=pieces, steps=6, batch_size=8)
        ends.append(fitted(Line(), budget, weighted_examples(40))[0].line.weight.item())
    assert ends[1:] == pytest.approx(ends[:1] * 2, abs=1e-9)
    assert ends[0] != pytest.approx(0.0, abs=1e-3)


def test_pieces_hold_every_example_once():
    for size, count in itertools.product(range(1, 12), range(1, 5)):
        pieces = parts(range(100, 120), list(range(size)), count)
        assert [i for piece in pieces for i in piece] == list(range(100, 100 + size))
        assert len(pieces) <= count


# A network and a task of a few lines, for what the big ones hide


class Everything(Method):
    """Train what requires a gradient already."""

    def attach(self, model, cell):
        return model

    def save(self, model, folder):
        raise NotImplementedError

    restore = save


class Following(Everything):
    """The same, running statistics included."""

    trains_buffers = True


class Line(nn.Module):
    """y = w x in double precision, from w = 0."""

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(1, 1, bias=False, dtype=torch.float64)
        nn.init.zeros_(self.line.weight)

    def forward(self, x, y):
        return SimpleNamespace(loss=((self.line(x) - y) ** 2).mean())


class Normed(nn.Module):
    """A line behind a normalisation with running statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1, dtype=torch.float64)
        self.line = Line()
        self.norm.requires_grad_(False)

    def forward(self, x, y):
        return self.line(self.norm(x), y)


class Points:
    """Pairs of numbers; every pair is one item."""

    def length(self, feature):
        return 1

    def mates(self, feature, processor):
        return None

    def collate(self, features, processor):
        rows = torch.tensor(features, dtype=torch.float64)
        return {"x": rows[:, :1], "y": rows[:, 1:]}

    def items(self, batch):
        return len(batch["x"])

    def tokens(self, batch):
        return 0


BUDGET = Budget(
    description="", steps=12, batch_size=4, micro_batches=1, warmup=0.0, weight_decay=0.0, clip=0.0, dropout=0.0,
    precision="fp32", evaluations=12, eval_batch_size=3, max_valid=100, max_test=None, max_seconds=None, shard=None,
)  # fmt: skip


def weighted_examples(count):
    return [(float(i % 5 + 1), 2.0 * (i % 5 + 1) + (i % 3)) for i in range(count)]


def fitted(model, budget, train, valid=None, method=Everything, lr=0.1):
    """Fit; return the network, the measurements, and the state at each."""
    chosen = method(description="", lr=lr, search={}, sized_by=None)
    cell = SimpleNamespace(task=Points(), method=chosen, budget=budget, last=budget.steps, seed_of=lambda _: 0, lr=lr)
    points, states = [], []
    for point in fit(Run(cell, model=model), Encoded(train, valid or train[:7])):
        points.append(point)
        states.append(state(model))
    return model, points, states


def test_the_best_state_by_valid_loss_comes_back_not_the_last():
    # Valid wants w = 1, train wants w = 3: on its way there the network passes the best place.
    train, valid = [(1.0, 3.0)] * 8, [(1.0, 1.0), (2.0, 2.0)]
    model, points, states = fitted(Line(), BUDGET, train, valid, lr=0.4)
    looks = [(point, s) for point, s in zip(points, states, strict=True) if point.split == "valid"]
    assert [point.step for point, _ in looks] == list(range(13))
    by_hand = [2.5 * (s["line.weight"].item() - 1) ** 2 for _, s in looks]  # mean of (w - 1)^2 and (2w - 2)^2
    assert [point.value for point, _ in looks] == pytest.approx(by_hand)
    best = by_hand.index(min(by_hand))
    assert 0 < best < 12
    assert same(state(model), looks[best][1])
    assert not same(state(model), states[-1])


@pytest.mark.parametrize(
    ("method", "trained", "moves"), [(Everything, False, False), (Following, False, False), (Following, True, True)]
)
def test_frozen_running_statistics_stay_and_those_that_a_method_trains_follow(method, trained, moves):
    model = Normed()
    model.norm.requires_grad_(trained)
    _, _, states = fitted(model, BUDGET, weighted_examples(20), method=method)
    moved = {name for name in states[0] if not torch.equal(states[0][name], states[-1][name])}
    statistics_ = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert moved & statistics_ == (statistics_ if moves else set())
    assert "line.line.weight" in moved
    assert trained or moved <= {"line.line.weight"}


def test_frozen_normalisation_computes_with_its_statistics_in_training_too():
    train = weighted_examples(4)  # one batch: its loss, with statistics 0 and 1, is that of the raw numbers
    _, points, _ = fitted(Normed(), dataclasses.replace(BUDGET, steps=1, evaluations=1), train)
    first = next(point.value for point in points if point.split == "train")
    assert first == pytest.approx(statistics.mean(y**2 for _, y in train))  # w = 0


def test_the_best_running_statistics_come_back_with_the_weights():
    train, valid = [(1.0 + i % 2, 3.0) for i in range(8)], [(1.0, 1.0), (1.5, 1.0)]
    model, points, states = fitted(Normed(), BUDGET, train, valid, method=Following, lr=0.5)
    looks = [(point.value, i) for i, point in enumerate(points) if point.split == "valid"]
    best = min(looks)[1]
    assert best < looks[-1][1]
    assert same(state(model), states[best])


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_names_the_step_and_spares_the_weights(poison):
    train = weighted_examples(16)
    order = batches([1] * 16, 4, 0)
    train[list(itertools.islice(order, 3))[2][0]] = (1.0, poison)  # met at step 3
    model = Line()
    points = fit(*run_and_data(model, train, [(1.0, 2.0)]))
    reached = [next(points).step for _ in range(5)]  # a look, then a step and a look, twice
    before = state(model)
    with pytest.raises(DivergedError, match=rf"\b{poison} at step 3: lower method.lr=0.1"):
        next(points)
    assert reached == [0, 1, 1, 2, 2]
    assert same(state(model), before)
    assert math.isfinite(model.line.weight.item())


def run_and_data(model, train, valid=None):
    method = Everything(description="", lr=0.1, search={}, sized_by=None)
    cell = SimpleNamespace(task=Points(), method=method, budget=BUDGET, last=BUDGET.steps, seed_of=lambda _: 0, lr=0.1)
    return Run(cell, model=model), Encoded(train, valid or train[:7])


def test_a_valid_loss_that_is_no_number_stops_the_run_too():
    valid = [(1.0, 1.0), (1.0, math.nan)]
    with pytest.raises(DivergedError, match=r"validation loss.*nan.*step 0\b"):
        list(fit(*run_and_data(Line(), weighted_examples(16), valid)))


def test_what_is_to_be_trained_and_has_no_gradient_is_counted():
    """A part that nobody calls; without one there is nothing to count."""
    train = weighted_examples(16)
    assert not [point for point in fit(*run_and_data(Line(), train, train[:4])) if point.split == "cost"]
    model = Line()
    model.idle = nn.Linear(3, 5)
    *_, last = fit(*run_and_data(model, train, train[:4]))
    assert last == ("cost", "params_without_gradient", 3 * 5 + 5, None)


def test_validations_are_evenly_spaced_and_the_last_step_has_one():
    for evaluations, steps in ((1, [0, 10]), (4, [0, 2, 5, 8, 10]), (10, list(range(11))), (25, list(range(11)))):
        budget = dataclasses.replace(BUDGET, steps=10, evaluations=evaluations)
        _, points, _ = fitted(Line(), budget, weighted_examples(20))
        assert [point.step for point in points if point.split == "valid"] == steps


def test_nothing_to_train_is_one_validation():
    model = Line().requires_grad_(False)
    _, points, _ = fitted(model, BUDGET, weighted_examples(20))
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
    model, _, _ = fitted(Listening(), dataclasses.replace(BUDGET, steps=4, evaluations=2), [(1.0, 2.0)] * 12)
    look = [False] * 3  # 7 examples, 3 at a time
    assert model.asked == [*look, True, True, *look, True, True, *look]


def test_the_order_of_a_run_is_that_of_its_seed_of_order():
    losses = []
    for order, init in ((1, 1), (2, 1), (1, 2)):
        run, data = run_and_data(Line(), weighted_examples(40))
        run.cell.seed_of = {"order": order, "init": init}.get
        losses.append([point.value for point in fit(run, data) if point.split == "train"])
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize("kind", KINDS)
def test_valid_loss_is_the_mean_over_target_tokens_whatever_the_batches(kind, toy_cell):
    cell = toy_cell(kind, "frozen")
    run, data = prepared(cell)
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


def test_bf16_computes_in_16_bits_over_weights_kept_in_32(toy_cell):
    curves = {}
    for precision in ("fp32", "bf16"):
        cell = toy_cell("causal_lm", "full", f"budget.precision={precision}")
        run, data = prepared(cell, torch.float32)
        curves[precision] = [point.value for point in fit(run, data)]
        assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert curves["bf16"] != curves["fp32"]
    assert curves["bf16"] == pytest.approx(curves["fp32"], abs=0.05)


# The order of the examples


def test_a_pass_holds_every_example_once():
    lengths = [i * 7 % 50 for i in range(203)]
    drawn = batches(lengths, 8, seed=3)
    for _ in range(3):
        sizes = [next(drawn) for _ in range(26)]  # 203 = 25 x 8 + 3
        assert Counter(i for batch in sizes for i in batch) == Counter(range(203))
        assert sorted(map(len, sizes)) == [3] + 25 * [8]


def test_the_order_is_the_seed_s_and_no_two_passes_are_alike():
    lengths = [i * 7 % 50 for i in range(64)]
    first, again, other = (list(itertools.islice(batches(lengths, 8, seed), 16)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first[:8] != first[8:]


def test_a_batch_gathers_examples_of_like_length():
    lengths = [i * 37 % 101 for i in range(WINDOW * 8)]  # one window: sorted as a whole
    spread = [max(x) - min(x) for x in ([lengths[i] for i in b] for b in itertools.islice(batches(lengths, 8, 0), 20))]
    assert max(spread) <= 6
    assert [lengths[b[0]] for b in itertools.islice(batches(lengths, 8, 0), 20)] != sorted(lengths)[::8]  # shuffled


def test_evaluation_reads_every_example_once_and_the_longest_first():
    lengths = [3, 9, 1, 7, 5]
    assert in_order(lengths, 2) == [[1, 3], [4, 0], [2]]


def test_every_method_sees_the_same_batches(toy_cell, monkeypatch):
    collate = TextToText.collate
    seen = {}
    for method in ("lora", "full", "prefix_tuning", "houlsby"):
        cell = toy_cell("causal_lm", method, "budget.steps=4", "budget.dropout=0.1", "seed=5")
        run, data = prepared(cell, torch.float32)
        batches_ = seen.setdefault(method, [])

        def spy(self, features, processor, batches_=batches_):
            batches_.append([f["source"] for f in features])
            return collate(self, features, processor)

        monkeypatch.setattr(TextToText, "collate", spy)
        list(fit(run, data))
        monkeypatch.undo()
    assert len(seen["lora"]) == 4 + 2  # steps, and two validations of one batch each
    assert all(batches_ == seen["lora"] for batches_ in seen.values())


# Whole runs


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
            starts[name] = state(run.model)
            yield from fit(run, data)

        monkeypatch.setattr(runner, "fit", watched)
        run_cell(toy_cell("causal_lm", "lora", "seed=3", "budget.steps=1", f"backbone.weights={weights}"))
    adapters = {name for name in starts["random"] if "lora_A" in name}
    assert len(adapters) == 2 * 7
    assert same(starts["random"], starts["again"])
    assert all(torch.equal(starts["random"][name], starts["pretrained"][name]) for name in adapters)
    assert not same(starts["random"], starts["pretrained"])


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
        seen["before"] = state(run.model)
        for point in fit(run, data):
            seen["last"] = state(run.model)  # before the best state comes back
            yield point
        seen["kept"] = state(run.model)  # before it is merged
        seen["trained"] = {name for name, p in run.model.named_parameters() if p.requires_grad}

    monkeypatch.setattr(runner, "fit", watched)
    result = run_cell(cell)
    trained = seen["trained"]
    moved = {name for name in seen["before"] if not torch.equal(seen["before"][name], seen["last"][name])}
    assert moved == trained
    assert all(torch.equal(seen["before"][name], seen["kept"][name]) for name in seen["before"].keys() - trained)

    final = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    assert all(math.isfinite(value) for value in final.values())
    for split in ("valid", "test", "test/longer"):
        assert {name for s, name in final if s == split} - {"loss", "selected_step"} == SCORES[kind]
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
                seen[point.step] = (point.value, state(run.model))
            yield point
        seen["end"] = state(run.model)

    monkeypatch.setattr(runner, "fit", watched)
    result = run_cell(cell)
    final = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    end = seen.pop("end")
    best = min(seen, key=lambda step: seen[step][0])
    assert best == 4
    assert same(end, seen[best][1])
    assert (final["valid", "selected_step"], final["valid", "loss"]) == (best, seen[best][0])
    # validation reads all 16 examples, so perplexity and loss are two readings of one number
    assert math.log(final["valid", "perplexity"]) == pytest.approx(final["valid", "loss"], rel=1e-5)


# Costs


class Clock:
    """A meter's clock that a test moves."""

    def __init__(self, monkeypatch, meter):
        self.time = 0.0
        monkeypatch.setattr(meter, "now", lambda: self.time)


def costs(meter):
    return {m.name: m.value for m in meter.measurements()}


def test_seconds_per_step_is_the_median_without_the_first_five():
    meter = Meter("cpu")
    for seconds in (100.0, 90.0, 80.0, 70.0, 60.0, 1.0, 2.0, 9.0):
        meter.step(seconds, tokens=30, examples=4)
    found = costs(meter)
    assert found["seconds_per_step"] == 2.0
    assert found["tokens_per_second"] == pytest.approx(3 * 30 / 12)
    assert found["examples_per_second"] == pytest.approx(3 * 4 / 12)


def test_a_run_of_five_steps_still_has_a_step_time():
    meter = Meter("cpu")
    for seconds in (3.0, 1.0, 2.0, 9.0, 8.0):
        meter.step(seconds, tokens=0, examples=4)
    found = costs(meter)
    assert found["seconds_per_step"] == 3.0
    assert "tokens_per_second" not in found


def test_phases_add_up_even_where_one_breaks(monkeypatch):
    meter = Meter("cpu")
    clock = Clock(monkeypatch, meter)
    for name, seconds in (("train", 3.0), ("evaluate", 1.0), ("train", 4.0), ("predict", 6.0)):
        with meter.phase(name):
            clock.time += seconds
        clock.time += 50.0  # between phases
    meter.predicted = 12

    def broken():
        with meter.phase("predict"):
            clock.time += 2.0
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    found = costs(meter)
    assert (found["train_seconds"], found["evaluate_seconds"], found["predict_seconds"]) == (7.0, 1.0, 8.0)
    assert found["predict_seconds_per_example"] == pytest.approx(8 / 12)


def test_what_was_not_done_has_no_cost():
    assert costs(Meter("cpu")) == {}


def memory_by_phase():
    """Hold 64 MiB through three phases that take 0, 128 and 32 more."""
    meter, mebibyte = Meter("cpu"), 2**20
    with meter.phase("load"):
        held = torch.ones(64 * mebibyte // 4)
    for name, size in (("train", 128), ("evaluate", 32)):
        with meter.phase(name):
            torch.ones(size * mebibyte // 4)
    assert held.sum() == held.numel()
    return costs(meter)


def test_the_memory_of_a_phase_is_its_peak_with_the_backbone_in_it():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system cannot forget a process's high-water mark")
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # no memory of earlier tests to be used again
        found = pool.apply(memory_by_phase)
    by_hand = {"load": 64, "train": 64 + 128, "evaluate": 64 + 32}
    measured = {name: found[f"{name}_peak_memory_bytes"] / 2**20 for name in by_hand}
    assert measured == pytest.approx(by_hand, abs=6)
    assert found["peak_memory_bytes"] == found["train_peak_memory_bytes"]


def test_only_the_work_of_a_step_is_on_its_clock(toy_cell, monkeypatch):
    """Padding is no token; collating and validation cost no step time."""
    cell = toy_cell("seq2seq", "lora", "budget.steps=3", "budget.evaluations=3")
    run, data = prepared(cell, torch.float32)
    model, meter = run.model, run.meter
    clock = Clock(monkeypatch, meter)
    forward = type(model).forward

    def slow(self, *args, **kwargs):
        clock.time += 1.0
        return forward(self, *args, **kwargs)

    collate = type(cell.task).collate

    def slow_too(self, *args):
        clock.time += 20.0
        return collate(self, *args)

    monkeypatch.setattr(type(model), "forward", slow)
    monkeypatch.setattr(type(cell.task), "collate", slow_too)
    for _ in fit(run, data):
        clock.time += 1000.0
    assert [seconds for seconds, _, _ in meter.steps] == [1.0, 1.0, 1.0]
    # three steps; a validation before the first and after each, of one batch of 16
    assert meter.seconds == {"train": 3 * 21.0, "evaluate": 4 * 21.0}
    order = batches([cell.task.length(f) for f in data.train], 8, cell.seed)
    by_hand = [sum(len(data.train[i]["source"]) + len(data.train[i]["target"]) for i in next(order)) for _ in range(3)]
    assert [tokens for _, tokens, _ in meter.steps] == by_hand
    assert [examples for _, _, examples in meter.steps] == [8, 8, 8]
