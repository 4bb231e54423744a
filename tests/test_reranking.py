"""Reranking: runs that no order of a file changes, references, scores, the loss, and batches."""

import functools
import json
import math
import random

import numpy as np
import pytest
import torch
from checkpoints import save_reader
from factories import run_cell
from torch.nn import functional as F

from benchmark.audit.description import sizes
from benchmark.audit.leaks import near_duplicates
from benchmark.backbones.losses import LOSSES
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.plan.sample import sample
from benchmark.report.statistics import bootstrap
from benchmark.types import IGNORED, Head, Kind
from tasks.reranking import scores
from tasks.reranking.ranking import learnt, ranked

if not all(map(scores.find_spec, scores.PACKAGES)):
    pytest.skip("needs ir-measures and bm25s: the extra `rerank`", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return functools.cache(lambda name: save_reader(name, tmp_path_factory.mktemp(name)))


@pytest.fixture
def make(folder, tmp_path):
    """Build a cell on a tiny checkpoint and rows of one file."""

    def cell(rows, *words, backbone="text_encoder", suffix="jsonl", **others):
        for name, part in {"train": rows, **others}.items():
            content = part if isinstance(part, str) else "\n".join(map(json.dumps, part))
            (tmp_path / f"{name}.{suffix}").write_text(content)
        files = [f"data.{name}={tmp_path / name}.{suffix}" for name in ("train", *others)]
        return cell_of(
            ["task=reranking", f"backbone={backbone}", f"backbone.checkpoint={folder(backbone)}", "method=lora",
             "budget=smoke", "task.max_source_tokens=24", *files, *words]
        )  # fmt: skip

    return cell


OTHER = {"query": "other", "candidates": ["x", "y"], "relevance": [0, 1]}
FILL = [{**OTHER, "query": f"other {i}"} for i in range(12)]
# The order of a file


def relevant_first(number, seed=3):
    """Make queries of which the first candidate is the relevant one, as many files have them."""
    rng = random.Random(seed)
    words = ["one", "two", "three", "four", "five", "six", "seven", "8", "9"]
    rows = []
    for i in range(number):
        texts = list(dict.fromkeys(" ".join(rng.choices(words, k=3)) for _ in range(5)))
        rows.append(
            {"query": f"{rng.choice(words)} {i}", "candidates": texts, "relevance": [1] + [0] * (len(texts) - 1)}
        )
    return rows


def turned(rows):
    return [{**r, "candidates": r["candidates"][::-1], "relevance": r["relevance"][::-1]} for r in rows]


def test_the_order_of_candidates_in_a_file_changes_no_number(make):
    parts = [relevant_first(n, n) for n in (24, 8, 9)]
    results = []
    for change in (list, turned):
        train, valid, test = map(change, parts)
        results.append(run_cell(make(train, "budget.steps=3", valid=valid, test=test)))
    one, other = ([m for m in r.measurements if m.split != "cost"] for r in results)
    assert one == other
    assert results[0].examples == results[1].examples
    assert results[0].data["fingerprint"] == results[1].data["fingerprint"]
    named = {(m.split, m.name): m.value for m in one if m.step is None}
    assert {"ndcg_10", "mrr_10", "recall_5", "bm25_ndcg_10", "majority_ndcg_10"} <= {n for s, n in named if s == "test"}
    assert named["test", "majority_ndcg_10"] == named["test", "bm25_ndcg_10"]
    assert results[0].data["majority"] == "the order of BM25"
    scores_ = bootstrap.prepare("ndcg_10", results[0].examples, {})(np.ones((1, 9)))
    assert scores_ == pytest.approx(named["test", "ndcg_10"])


def test_an_order_of_a_retriever_is_a_reference_and_the_floor(make):
    rows = [{**row, "query": f"{row['query']} x"} for row in relevant_first(9)]
    cell = make(FILL, "data.retrieved=true", valid=FILL, test=turned(rows))
    test = cell.task.splits()["test"]
    targets = [e.targets for e in test]
    constant = cell.task.constant([], targets)
    sizes = [len(e.source[1]) for e in test]
    assert constant.answer == "the order of the retriever"
    assert constant.scores["mrr_10"] == pytest.approx(sum(1 / n for n in sizes) / len(sizes))
    assert constant.scores["ndcg_10"] == pytest.approx(sum(1 / math.log2(n + 1) for n in sizes) / len(sizes))
    worst = [{"prediction": t[0]["retrieved"]} for t in targets]
    assert cell.task.score(worst, targets)["retrieved_mrr_10"] == constant.scores["mrr_10"]


def test_bm25_finds_the_words_of_the_query(make):
    rows = [
        {"query": "red apples", "candidates": ["green pears grow", "apples are red", "red"], "relevance": [1, 0, 0]}
    ]
    (example,) = make(FILL, valid=FILL, test=rows).task.splits()["test"]
    texts = dict(example.source[1])
    assert [texts[name] for name in example.targets[0]["bm25"]] == ["apples are red", "red", "green pears grow"]


# Scores


def test_scores_by_hand():
    rankings = [["c", "a", "b"], ["y", "z", "x"], ["m", "n"]]
    relevance = [{"a": 3, "b": 1}, {"x": 1}, {"m": 2, "n": 2}]
    values = scores.by_query(rankings, relevance, ["ndcg_10", "ndcg_2", "mrr_10", "mrr_2", "recall_2", "recall_1"])
    gained, best = 3 / math.log2(3) + 1 / 2, 3 + 1 / math.log2(3)
    assert values["ndcg_10"] == pytest.approx([gained / best, 1 / 2, 1])
    assert values["ndcg_2"] == pytest.approx([3 / math.log2(3) / best, 0, 1])
    assert values["mrr_10"] == pytest.approx([1 / 2, 1 / 3, 1])
    assert values["mrr_2"] == pytest.approx([1 / 2, 0, 1])
    assert values["recall_2"] == pytest.approx([1 / 2, 0, 1])
    assert values["recall_1"] == pytest.approx([0, 0, 1 / 2])


def test_the_reports_scores_of_stored_orders_are_the_librarys():
    rng = random.Random(5)
    rows = []
    for _ in range(40):
        ids = [f"d{i}" for i in range(rng.randint(1, 15))]
        relevance = {name: rng.randint(1, 3) for name in rng.sample(ids, rng.randint(1, len(ids)))}
        rows.append({"prediction": rng.sample(ids, len(ids)), "target": [{"relevance": relevance}]})
    names = ["ndcg_10", "mrr_3", "recall_1", "recall_5"]
    rankings, relevance = [r["prediction"] for r in rows], [r["target"][0]["relevance"] for r in rows]
    expected = scores.by_query(rankings, relevance, names)
    drawn = np.random.default_rng(1).multinomial(40, [1 / 40] * 40, size=7)
    for name in names:
        found = bootstrap.prepare(name, rows, {})(drawn)
        np.testing.assert_allclose(found, [(d * expected[name]).sum() / 40 for d in drawn])
    assert bootstrap.prepare("ndcg_0", rows, {}) is None
    assert bootstrap.prepare("ndcg_10", [{"prediction": [], "target": [{"relevance": {}}]}], {}) is None


def test_equal_scores_keep_the_drawn_order_and_higher_ones_come_first():
    assert ranked([(0.5, "a"), (2.0, "b"), (0.5, "c"), (-1.0, "d")])["prediction"] == ["b", "a", "c", "d"]


# Learning


def test_the_loss_is_a_softmax_over_the_candidates_of_each_query():
    logits = torch.tensor([0.3, -1.2, 2.0, 0.7, 0.1, -0.4], requires_grad=True)
    labels = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, 1.0, IGNORED, IGNORED]])
    loss = LOSSES[Kind.RERANK](logits[:, None], labels, None, Head(Kind.RERANK))
    one = F.cross_entropy(logits[None, :4], torch.tensor([[2 / 3, 0, 1 / 3, 0]]))
    other = F.cross_entropy(logits[None, 4:], torch.tensor([1]))
    torch.testing.assert_close(loss, (one + other) / 2)
    (given,) = torch.autograd.grad(loss, logits, retain_graph=True)
    (expected,) = torch.autograd.grad((one + other) / 2, logits)
    torch.testing.assert_close(given, expected)


@pytest.mark.parametrize(
    ("grades", "most", "expected"),
    [
        ([0, 0, 1, 0, 0, 2], 4, [5, 2, 0, 1]),
        ([0, 1, 1, 3, 0, 0, 0], 4, [3, 1, 0, 4]),
        ([1, 1, 0, 1, 1], 4, [0, 1, 3, 2]),
        ([0, 1], 8, [1, 0]),
        ([1, 1, 1], 2, [0, 1]),
    ],
)
def test_a_step_learns_from_a_bounded_number_of_candidates(grades, most, expected):
    assert learnt(grades, most) == expected


@pytest.mark.parametrize("backbone", ["text_encoder", "llama_docstrings_states"])
def test_a_batch_has_every_query_with_its_pairs_and_answers_do_not_depend_on_the_batch(make, backbone):
    cell = make(relevant_first(12), "task.train_candidates=3", backbone=backbone, valid=FILL, test=FILL)
    train = cell.task.data.splits()["train"][:5]
    assert [len(e.source[1]) for e in cell.task.splits()["train"]] == [3] * 12
    torch.manual_seed(1)
    model, reader = cell.backbone.load(cell.budget, cell.task.head(cell.kind, train))
    features = [cell.task.encode(e, reader, {}) for e in train]
    batch = cell.task.collate(features, reader)
    assert batch["labels"].shape == (5, 3)
    assert cell.task.items(batch) == 5
    assert len(batch["input_ids"]) == int((batch["labels"] != IGNORED).sum())
    assert batch["labels"][:, 0].tolist() == [1] * 5
    with torch.no_grad():
        model.eval()
        together = cell.task.predict(model, features, reader)
        alone = [answer for f in features for answer in cell.task.predict(model, [f], reader)]
        pair = reader.read((train[0].source[0], train[0].source[1][1][1]), 24)[0]
        one = model(**reader.batch([pair])).logits.item()
    assert [a["prediction"] for a in together] == [a["prediction"] for a in alone]
    place = together[0]["prediction"].index(train[0].source[1][1][0])
    assert together[0]["scores"][place] == pytest.approx(one, abs=1e-5)


def test_answers_are_made_in_passes_of_a_bounded_size(make, monkeypatch):
    monkeypatch.setattr("tasks.reranking.task.AT_ONCE", 4)
    cell = make(relevant_first(6), valid=FILL, test=FILL)
    train = cell.task.data.splits()["train"]
    model, reader = cell.backbone.load(cell.budget, cell.task.head(cell.kind, train))
    sizes = []
    model.register_forward_pre_hook(lambda _, __, inputs: sizes.append(len(inputs["input_ids"])), with_kwargs=True)
    answers = cell.task.predict(model, [cell.task.encode(e, reader, {}) for e in train], reader)
    assert max(sizes) == 4
    assert [len(a["prediction"]) for a in answers] == [len(e.source[1]) for e in train]
    given = cell.task.source({"query": "one", "candidates": ["two", {"id": 7, "text": "8"}]})
    assert dict(given[1]) == {"two": "two", "7": "8"}


# What is refused


def test_settings_and_packages_that_lack_are_refused_in_one_line(make, monkeypatch):
    for word, said in (
        ("train_candidates=1", "at least 2"),
        ("recall_at=[0]", "at least 1"),
        ("mrr_at=0", "at least 1"),
    ):
        with pytest.raises(InputError, match=said):
            make(FILL, f"task.{word}")
    cell = make(FILL, test=FILL)
    monkeypatch.setattr(scores, "find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        cell.task.splits()
    assert str(error.value).endswith("pip install ir-measures bm25s")


def test_an_audit_compares_queries(make):
    rows = [{**row, "query": f"{row['query']} {'abcdefghi'[i % 9] * 9}"} for i, row in enumerate(relevant_first(20))]
    near = [{**rows[0], "query": f"{rows[0]['query']}!"}, *rows[1:3]]
    cell = make(rows[3:] + rows[:1], valid=rows[3:5], test=near)
    splits = cell.task.data.splits()
    sections, leaks = near_duplicates(cell.task, {name: splits[name] for name in ("train", "test")})
    assert any("1 of 3 examples of test" in leak for leak in leaks)
    assert sections[1].table == [["score", "test"]]
    assert sizes(cell.task, splits, {name: [] for name in splits}).table[1][1] == "18"


def test_a_plan_has_the_pairs_of_a_step(make):
    batch = sample(make(FILL, "task.train_candidates=5", test=FILL), None, 3)
    assert batch["input_ids"].shape == (15, 24)
    assert batch["labels"].shape == (3, 5)
    head = Head(Kind.RERANK)
    logits = torch.zeros(15, 1, requires_grad=True, device="meta")
    assert LOSSES[Kind.RERANK](logits, batch["labels"], None, head).shape == ()
