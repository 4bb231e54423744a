"""Reranking from files of their own for queries, corpus and judgements, as in BEIR and TREC."""

import json

import pytest

from benchmark.errors import InputError
from tasks.reranking import scores

if not all(map(scores.find_spec, scores.PACKAGES)):
    pytest.skip("needs ir-measures and bm25s: the extra `rerank`", allow_module_level=True)

from tasks.reranking.beir import Beir

CORPUS = {"d1": ("Pears", "green pears grow"), "d2": ("", "apples are red"), "d3": ("Red", ""), "d4": ("Blue", "sky")}
QUERIES = {"q1": "red apples", "q2": "blue sky", "q3": "pears"}
QRELS = "query-id\tcorpus-id\tscore\nq1\td2\t2\nq1\td4\t1\nq2\td1\t1\nq3\td1\t1\nq3\td2\t0\n"
TREC = "q1 0 d2 2\nq1 0 d4 1\nq2 0 d1 1\nq3 0 d1 1\nq3 0 d2 0\n"
RUN = "q1 Q0 d4 2 9.5 bm\nq1 Q0 d3 3 9.1 bm\nq1 Q0 d1 1 12.5 bm\nq3 Q0 d2 1 3.0 bm\nq3 Q0 d1 2 2.0 bm\n"


@pytest.fixture
def make(tmp_path):
    def data(qrels=QRELS, run=None, candidates=2, corpus=CORPUS, **changes):
        lines = [json.dumps({"_id": name, "title": title, "text": text}) for name, (title, text) in corpus.items()]
        (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
        lines = [json.dumps({"_id": name, "text": text, "metadata": {}}) for name, text in QUERIES.items()]
        (tmp_path / "queries.jsonl").write_text("\n".join(lines))
        named = {}
        for split in ("train", "valid", "test"):
            (tmp_path / f"{split}.tsv").write_text(qrels)
            named[split] = f"{split}.tsv"
        if run:
            (tmp_path / "run.txt").write_text(run)
        fields = {
            "description": "", "folder": str(tmp_path), "queries": "queries.jsonl", "corpus": "corpus.jsonl",
            "qrels": named, "runs": {"test": "run.txt"} if run else {}, "candidates": candidates, "shares": {},
        }  # fmt: skip
        return Beir(**fields | changes)

    return data


@pytest.mark.parametrize("qrels", [QRELS, TREC])
def test_candidates_are_what_bm25_retrieves_from_the_corpus(make, qrels):
    data = make(qrels)
    one, three = data.splits()["test"]  # the relevant one of q2 is not retrieved
    assert (one.id, three.id) == ("test/q1", "test/q3")
    assert one.source[0] == "red apples"
    assert dict(one.source[1]) == {"d2": "apples are red", "d3": "Red"}
    assert one.targets[0] == {"relevance": {"d2": 2}, "retrieved": ["d2", "d3"]}
    assert three.targets[0]["retrieved"][0] == "d1"
    assert dict(three.source[1])["d1"] == "Pears green pears grow"
    counts = data.reading.counts["test"]
    assert counts["relevant_ones_that_are_no_candidates"] == 2  # d4 of q1, d1 of q2
    assert counts["queries_without_a_relevant_candidate"] == 1


@pytest.mark.parametrize("run", [RUN, "q1 d1 1\nq1 d4 2\nq1 d3 3\nq3 d2 1\nq3 d1 2\n"])
def test_a_run_gives_the_candidates_in_the_order_of_its_ranks(make, run):
    data = make(run=run)
    one, three = data.splits()["test"]
    assert one.targets[0] == {"relevance": {"d4": 1}, "retrieved": ["d1", "d4"]}
    assert three.targets[0] == {"relevance": {"d1": 1}, "retrieved": ["d2", "d1"]}
    assert data.splits()["train"][0].targets[0]["retrieved"] == ["d2", "d3"]
    assert {"queries", "corpus", "qrels train", "run test"} <= set(data.local())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"qrels": "q1 d2 1\nq9 d1 1\n"}, "judges the query 'q9', which queries.jsonl lacks"),
        ({"qrels": "q1 d2\n"}, "line 1: 2 fields, 3 or 4 wanted"),
        ({"qrels": "q1 d2 1\nq1 d1 high\n"}, "line 2: 'high' is no whole number"),
        ({"run": "q1 Q0 d9 1 2.0 bm\n"}, "names the document 'd9', which corpus.jsonl lacks"),
        ({"corpus": {"": ("", "a")}, "queries": "corpus.jsonl"}, "judges the query 'q1', which corpus.jsonl lacks"),
        ({"runs": {"test/other": "run.txt"}}, "data.runs.test/other: a split without judgements"),
        ({"queries": "nowhere.jsonl"}, "no file"),
    ],
)
def test_what_does_not_fit_together_is_refused(make, changes, words):
    with pytest.raises(InputError, match=words):
        make(**changes).splits()
