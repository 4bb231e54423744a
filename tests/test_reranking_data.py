"""Queries with candidates: layouts of files, what is refused, an order that says nothing, and docstrings."""

import json
from pathlib import Path

import pytest

from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.embedded.passages import DocstringPassages
from tasks.reranking import scores
from tasks.reranking.bm25 import Bm25
from tasks.reranking.files import ROLES, Files
from tasks.reranking.ranking import ranked

if not all(map(scores.find_spec, scores.PACKAGES)):
    pytest.skip("needs ir-measures and bm25s: the extra `rerank`", allow_module_level=True)

QUERY = "fast sort of lists"
TEXTS = ["sort lists in place", "draw a circle", "a fast merge", "nothing here"]


@pytest.fixture
def files(tmp_path):
    """Build the data of three equal files."""

    def data(rows, suffix="jsonl", retrieved=False, **columns):
        content = rows if isinstance(rows, str) else "\n".join(map(json.dumps, rows))
        names = {split: f"{tmp_path / split}.{suffix}" for split in ("train", "valid", "test")}
        for name in names.values():
            Path(name).write_text(content)
        named = {role: role for role in ROLES} | columns
        return Files(description="", **names, shifts={}, shares={}, columns=named, retrieved=retrieved)

    return data


def read(data):
    """Read the training examples as query -> {text: grade}."""
    found = {}
    for e in data.splits()["train"]:
        assert not isinstance(e.source, Bad), e.source
        relevance = e.targets[0]["relevance"]
        found[e.source[0]] = {text: relevance.get(name, 0) for name, text in e.source[1]}
    return found


EXPECTED = {TEXTS[0]: 2, TEXTS[1]: 0, TEXTS[2]: 1, TEXTS[3]: 0}
BINARY = {text: min(grade, 1) for text, grade in EXPECTED.items()}
OBJECTS = [{"id": f"d{i}", "text": text} for i, text in enumerate(TEXTS)]
GRADED = {"query": QUERY, "candidates": TEXTS, "relevance": [2, 0, 1, 0]}
LAYOUTS = {
    "grades in order": ([GRADED], {}, EXPECTED),
    "negative grades": ([{**GRADED, "relevance": [2, -1, True, False]}], {}, EXPECTED),
    "objects, grades by id": (
        [{"query": QUERY, "candidates": OBJECTS, "relevance": {"d0": 2, "d2": 1}}], {}, EXPECTED),
    "objects, ids of relevant ones": (
        [{"query": QUERY, "candidates": OBJECTS, "relevance": ["d2", "d0", "d9"]}], {}, BINARY),
    "texts of relevant ones": ([{"query": QUERY, "candidates": TEXTS, "relevance": [TEXTS[2], TEXTS[0]]}], {}, BINARY),
    "positive and negative": (
        [{"query": QUERY, "positive": [TEXTS[0], TEXTS[2]], "negative": [TEXTS[1], TEXTS[3]]}], {}, BINARY),
    "triplets": (
        [{"query": QUERY, "positive": TEXTS[a], "negative": TEXTS[b]} for a, b in ((0, 1), (2, 3))], {}, BINARY),
    "ms marco": (
        [{"query": QUERY, "passages": {"passage_text": TEXTS, "is_selected": [1, 0, 1, 0]}}],
        {"candidates": "passages.passage_text", "relevance": "passages.is_selected"},
        BINARY),
    "a row per candidate": (
        [{"query": QUERY, "passage": text, "label": grade} for text, grade in EXPECTED.items()],
        {"candidates": "passage", "relevance": "label"},
        EXPECTED),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_as_people_have_them(files, layout):
    rows, columns, expected = LAYOUTS[layout]
    data = files(rows, **columns)
    assert read(data) == {QUERY: expected}
    missed = data.reading.counts.get("train", {}).get("relevant_ones_that_are_no_candidates")
    assert missed == (1 if layout == "objects, ids of relevant ones" else None)


def test_a_table_of_pairs_as_csv(files):
    rows = "query,candidates,relevance\na,x,0\nb,y,1\na,z,3\nb,w,0\n"
    assert read(files(rows, "csv")) == {"a": {"x": 0, "z": 3}, "b": {"y": 1, "w": 0}}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GRADED, "candidates": []}, "row 1: no candidates"),
        ({**GRADED, "relevance": [1, 0, 0]}, "4 candidates, and 3 grades of relevance"),
        ({**GRADED, "relevance": [0.5, 0, 0, 1]}, "relevance 0.5 is no whole number"),
        ({**GRADED, "relevance": None}, "relevance None is neither a list nor grades by id"),
        ({**GRADED, "query": " "}, "no query"),
        ({**GRADED, "candidates": [*TEXTS[:3], {"id": 4}]}, "a candidate {'id': 4} has no text"),
        ({**GRADED, "candidates": [*TEXTS[:3], None]}, "a candidate None is no text"),
        ({"query": QUERY, "candidates": [*OBJECTS[:2], {"id": "d0", "text": "else"}], "relevance": [1, 0, 0]},
         "has two texts of the id 'd0'"),
    ],
)  # fmt: skip
def test_what_cannot_be_ranked_is_a_bad_row_with_its_reason(files, row, words):
    (bad,) = files([row]).splits()["train"]
    assert isinstance(bad.source, Bad)
    assert words in bad.source.reason
    assert "train.jsonl" in bad.source.reason


def test_files_without_candidates_and_orders_that_there_are_not_are_refused(files):
    with pytest.raises(InputError, match=r"neither a column 'candidates' .* nor 'positive'.*it has query, docs"):
        files([{"query": "a", "docs": ["b"]}]).splits()
    lists = [{"query": QUERY, "positive": ["a"], "negative": ["b"]}]
    with pytest.raises(InputError, match="have no order"):
        files(lists, retrieved=True).splits()


def test_repeated_candidates_are_one_and_queries_without_relevant_ones_are_counted(files):
    rows = [
        {"query": "a", "candidates": ["x", "y", "x"], "relevance": [0, 0, 1]},
        {"query": "b", "candidates": ["x", "y"], "relevance": [0, 0]},
        {"query": "c", "candidates": ["x"], "relevance": [1]},
    ]
    data = files(rows)
    assert read(data) == {"a": {"x": 1, "y": 0}, "c": {"x": 1}}
    assert data.reading.counts["train"] == {
        "repeated_candidates": 1, "queries_without_a_relevant_candidate": 1, "queries_with_relevant_candidates_alone": 1
    }  # fmt: skip


def test_the_place_of_the_relevant_one_is_drawn(files):
    """A network that gives all the same number has the score of chance, not that of a file with relevant ones first."""
    rows = [
        {"query": f"query {i}", "positive": f"text {i}", "negative": [f"other {i} {j}" for j in range(4)]}
        for i in range(400)
    ]
    places = []
    for e in files(rows).splits()["train"]:
        (relevant,) = e.targets[0]["relevance"]
        places.append(ranked([(0.25, name) for name, _ in e.source[1]])["prediction"].index(relevant))
    counts = [places.count(place) for place in range(5)]
    assert sum(counts) == 400
    assert min(counts) > 0.7 * 80
    assert max(counts) < 1.3 * 80


# Docstrings

PACKAGE = """
def sort_list(values):
    \"\"\"Sort a list of numbers quickly.

    Compares numbers in pairs. Sort a list of numbers quickly. Of one list.
    \"\"\"


def sort_again(values):
    \"\"\"Sort a list of numbers quickly. In place, quickly, as a list.\"\"\"


def draw_circle(radius):
    \"\"\"Draw one circle of a radius. It is filled.\"\"\"


def lonely(x):
    \"\"\"Say what nobody else has said.\"\"\"


def merge(left, right):
    \"\"\"Merge two lists which were sorted. Values that are numbers stay in pairs.\"\"\"
"""


def test_a_sentence_retrieves_passages_without_it_and_every_function_that_has_it_is_relevant(tmp_path, monkeypatch):
    (tmp_path / "rerankable").mkdir()
    (tmp_path / "rerankable" / "__init__.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    data = DocstringPassages(description="", packages={"train": ["rerankable"]}, candidates=3, characters=66)
    (sort, circle, merge) = data.splits()["train"]
    assert sort.source[0] == "Sort a list of numbers quickly."
    passages = dict(sort.source[1])
    assert len(passages) == 3
    assert passages["rerankable.sort_list"].splitlines()[1:] == [
        "def sort_list(values):",
        "Compares numbers in pairs. Of",
    ]
    assert sort.targets[0]["relevance"] == {"rerankable.sort_list": 1, "rerankable.sort_again": 1}
    assert set(sort.targets[0]["retrieved"]) == {*passages}
    assert circle.targets[0]["retrieved"][0] == "rerankable.draw_circle"
    assert [e.group for e in (sort, circle, merge)] == ["rerankable"] * 3


def test_the_best_texts_are_those_of_the_highest_scores_and_equal_ones_are_drawn():
    texts = [f"{'word ' * (i % 3)}other {chr(97 + i) * 2}" for i in range(12)]
    index = Bm25(texts)
    scored = index.scores("word")
    best = index.best("word", 5)
    assert sorted(scored[best], reverse=True) == list(scored[best])
    assert min(scored[best]) >= sorted(scored)[-5]
    assert index.best("word", 99)[:5] == best
    assert index.best("unknown", 12) != list(range(12))
    assert sorted(index.best("unknown", 12)) == list(range(12))
    assert Bm25(["", "?"]).best("x", 1) in ([0], [1])
