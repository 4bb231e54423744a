"""Reranking by the likelihood of the query after each candidate."""

import json

import pytest
import torch
from checkpoints import save_text
from factories import run_cell
from torch.nn import functional as F

from benchmark.config.compose import cell_of
from benchmark.types import Head
from tasks.reranking import scores

if not all(map(scores.find_spec, scores.PACKAGES)):
    pytest.skip("needs ir-measures and bm25s: the extra `rerank`", allow_module_level=True)

ROWS = [
    {"query": f"one {word}", "candidates": [word, "seven", f"two {word} 8"], "relevance": [1, 0, 2]}
    for word in ("three", "four", "five", "six", "nine", "7", "1")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_text("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def make(folder, tmp_path):
    def cell(*words, rows=ROWS):
        for name in ("train", "valid", "test"):
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        files = [f"data.{name}={tmp_path / name}.jsonl" for name in ("train", "valid", "test")]
        chosen = ["task=query_likelihood", "backbone=causal_lm", f"backbone.checkpoint={folder}", "method=lora"]
        return cell_of([*chosen, "budget=smoke", "budget.steps=2", 'task.template="{source} ="', *files, *words])

    return cell


def loaded(cell):
    torch.manual_seed(1)
    model, processor = cell.backbone.load(cell.budget, Head(cell.kind))
    return model.eval(), processor


def test_a_candidate_scores_the_mean_log_likelihood_of_the_querys_tokens_after_it(make):
    cell = make()
    model, processor = loaded(cell)
    example = cell.task.splits()["test"][0]
    query, candidates = example.source
    expected = {}
    for name, text in candidates:
        before = torch.tensor([processor.source(text, "{source} =", None)])
        after = torch.tensor([[*processor.target(query, "{source} =", None)[1], processor.tokenizer.eos_token_id]])
        with torch.no_grad():
            logits = model(input_ids=torch.cat([before, after], 1)).logits[:, before.shape[1] - 1 : -1]
        expected[name] = -F.cross_entropy(logits[0], after[0]).item()
    features = [cell.task.encode(e, processor, {}) for e in cell.task.splits()["test"]]
    with torch.no_grad():
        (answer, *_) = cell.task.predict(model, features, processor)
    assert answer["prediction"] == sorted(expected, key=lambda name: -expected[name])
    assert answer["scores"] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-4)
    assert len({round(value, 4) for value in expected.values()}) == 3


def test_a_step_learns_to_write_the_query_from_relevant_candidates_the_higher_grade_first(make):
    texts = ["three", "four 8", "five", "seven"]
    rows = [*ROWS, {"query": "one two", "candidates": texts, "relevance": [1, 3, 2, 0]}]
    for most, expected in ((2, ["four 8"]), (8, ["four 8", "five", "three"])):
        cell = make(f"task.train_candidates={most}", rows=rows)
        _, processor = loaded(cell)
        features = cell.task.encode(cell.task.data.splits()["train"][-1], processor, {})
        batch = cell.task.collate([features], processor)
        read = [processor.text(row) for row in batch["input_ids"]]
        assert [text.partition(" =")[0].strip() for text in read] == expected
        assert all("one two" in text for text in read)


def test_a_run_ranks_all_candidates_and_an_unreadable_one_is_last(make):
    rows = [*ROWS, {"query": "two 2", "candidates": [{"id": "e", "text": ""}, "two", "8"], "relevance": ["two"]}]
    result = run_cell(make(rows=rows))
    named = {(m.split, m.name): m.value for m in result.measurements if m.step is None}
    assert {"ndcg_10", "bm25_mrr_10", "majority_ndcg_10"} <= {name for split, name in named if split == "test"}
    (last,) = [row for row in result.examples if row["target"][0]["bm25"].count("e")]
    assert last["prediction"][-1] == "e"
    assert result.data["counts"]["test"]["empty_candidates"] == 1
