"""The order of examples: complete, by the seed, alike for every method."""

import itertools
from collections import Counter

import torch
from fitting import Line, prepare, run_and_data, weighted_examples

from benchmark.engine.batches import WINDOW, batches, in_order
from benchmark.engine.train import fit
from tasks.text import TextToText


def test_the_order_of_a_run_is_that_of_its_seed_of_order():
    losses = []
    for order, init in ((1, 1), (2, 1), (1, 2)):
        run, data = run_and_data(Line(), weighted_examples(40))
        run.cell.seed_of = {"order": order, "init": init}.get
        losses.append([point.value for point in fit(run, data) if point.split == "train"])
    assert losses[0] == losses[2] != losses[1]


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
        run, data = prepare(cell, torch.float32)
        batches_ = seen.setdefault(method, [])

        def spy(self, features, processor, batches_=batches_):
            batches_.append([f["source"] for f in features])
            return collate(self, features, processor)

        monkeypatch.setattr(TextToText, "collate", spy)
        list(fit(run, data))
        monkeypatch.undo()
    assert len(seen["lora"]) == 4 + 2  # steps, and two validations of one batch each
    assert all(batches_ == seen["lora"] for batches_ in seen.values())
