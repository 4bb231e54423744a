"""Answers within texts: patterns, their score, and what a record holds of them."""

import json

import numpy as np
import pytest
from factories import answers_of, generation_task, run_cell

from benchmark.errors import InputError
from benchmark.records.headline import lower_is_better
from benchmark.report.statistics.bootstrap import prepare
from benchmark.types import Example
from tasks.extraction import PATTERNS

FOUND = [
    ("gsm8k", "3 x 400 = 1,200 and 34 more.\n#### 1,234", "1234"),
    ("gsm8k", "#### $1234.00 a year", "1234"),
    ("gsm8k", "#### 5\nNo: #### -07.50", "-7.5"),
    ("gsm8k", "####-0", "0"),
    ("gsm8k", "#### 12345678901234567890123456789012345", "12345678901234567890123456789012345"),
    ("gsm8k", "the answer is 42", None),
    ("gsm8k", "#### unknown", None),
    ("last_number", "2 apples, then 3.5 or 4.", "4"),
    ("last_number", "-$1,000 were lost by B2B", "-1000"),
    ("last_number", "in 1,2,3 steps", "3"),
    ("last_number", "version v1.2.3", None),
    ("boxed", r"so \boxed{1} and \boxed{\frac{1}{ 2}} cm", r"\frac{1}{2}"),
    ("boxed", r"\boxed{7} but \boxed{8", "7"),
    ("boxed", "8", None),
    ("first_letter", "The answer: (C), not B.", "C"),
    ("first_letter", "Can't say", None),
    ("first_letter", "I take **D**", "D"),
    ("yes_no", "Yes, since no one came", "yes"),
    ("yes_no", "nobody knows", None),
    ("true_false", "That is FALSE.", "false"),
    ("llm_adapters", "the correct answer is solution2", "solution2"),
    ("llm_adapters", "the correct answer is B", None),
]


@pytest.mark.parametrize(("name", "text", "answer"), FOUND)
def test_a_pattern_reads_the_answer_out_of_a_text(name, text, answer):
    assert PATTERNS[name](text) == answer


def test_every_pattern_is_tried_above():
    assert {name for name, _, _ in FOUND} == set(PATTERNS)


TEXTS = ["#### 1,000", "so 8\n#### 7", "#### 8", "I give up"]
TARGETS = [("#### 1000.0",), ("It is 8.\n#### 8", "#### 7"), ("#### $8 #### 9",), ("no answer here",)]


def test_the_score_is_the_share_of_equal_answers_and_what_holds_none_is_never_right():
    task = generation_task(extract="gsm8k")
    scores = task.score(answers_of(TEXTS), TARGETS)
    assert (scores["extracted_match"], scores["extraction_errors"]) == (50.0, 1.0)
    assert scores["exact_match"] == 0
    assert {"extracted_match"} == {*task.scores()} - {*generation_task().scores()}
    assert lower_is_better("extraction_errors")
    assert not {"extracted_match", "extraction_errors"} & generation_task().score(answers_of(TEXTS), TARGETS).keys()


def test_one_answer_for_all_is_a_text_of_the_answer_that_is_extracted_most_often():
    train = [
        Example(str(i), "", (t,)) for i, t in enumerate(["#### 5", "#### 5", "a #### 7", "b #### 7.0", "c #### 7"])
    ]
    answer, scores = generation_task(extract="gsm8k").constant(train, [("x #### 7",), ("#### 5",), ("d #### 7",)])
    assert answer == "a #### 7"
    assert scores["extracted_match"] == pytest.approx(200 / 3)
    assert generation_task().constant(train, [("#### 5",)]).answer == "#### 5"


def test_an_unknown_pattern_is_refused_by_name():
    with pytest.raises(InputError, match=r"task.extract: no pattern 'gsm8'; did you mean gsm8k\?"):
        generation_task(extract="gsm8")


@pytest.fixture(scope="module")
def gsm8k_cell(toy_cell, tmp_path_factory):
    """A cell on files in the layout of GSM8K; one test row has no answer."""
    folder = tmp_path_factory.mktemp("gsm8k")
    for name, number in (("train", 12), ("valid", 4), ("test", 5)):
        rows = [
            {"question": f"{name} {i}: a thousand and {i}?", "answer": f"1000+{i}=<<1000+{i}>>\n#### 1,00{min(i, 3)}"}
            for i in range(number)
        ]
        if name == "test":
            rows[4]["answer"] = "It cannot be said."
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [f"data.{name}={folder}/{name}.jsonl" for name in ("train", "valid", "test")]
    columns = ["data.columns.source=question", "data.columns.target=answer", "budget.steps=2"]

    def make(pattern, *more):
        return toy_cell("causal_lm", "lora", "data=files", *files, *columns, f"task.extract={pattern}", *more)

    return make


def test_a_record_holds_extracted_answers_their_score_and_how_many_are_missing(gsm8k_cell):
    cell = gsm8k_cell("gsm8k", "task.metric=extracted_match", "task.max_target_tokens=16")
    assert cell.headline == "extracted_match"
    result = run_cell(cell)
    assert result.data["counts"]["test"]["targets_without_an_answer"] == 1
    rows = [row for row in result.examples if row["split"] == "test"]
    assert [row["expected"] for row in rows] == [["1000"], ["1001"], ["1002"], ["1003"], []]
    assert all(row["extracted"] == PATTERNS["gsm8k"](row["prediction"]) for row in rows)
    found = {m.name: m.value for m in result.measurements if m.split == "test"}
    assert found["extraction_errors"] == sum(row["extracted"] is None for row in rows)
    assert found["majority_extracted_match"] == 20.0
    assert "majority_extraction_errors" not in found


def test_intervals_draw_the_same_score():
    task = generation_task(extract="gsm8k")
    features = [{"expected": [a for t in ts if (a := PATTERNS["gsm8k"](t))]} for ts in TARGETS]
    rows = [{"extracted": PATTERNS["gsm8k"](text), **f} for text, f in zip(TEXTS, features, strict=True)]
    drawn = np.array([[1, 1, 1, 1], [3, 0, 1, 0], [0, 0, 2, 2]])
    by_task = []
    for counts in drawn:
        chosen = [i for i, n in enumerate(counts) for _ in range(n)]
        again = task.score(answers_of([TEXTS[i] for i in chosen]), [TARGETS[i] for i in chosen])
        by_task.append(again["extracted_match"])
    assert prepare("extracted_match", rows, {})(drawn).tolist() == pytest.approx(by_task)
    assert by_task == [50.0, 75.0, 0.0]


def test_a_pattern_that_no_target_of_a_split_holds_is_refused(gsm8k_cell):
    with pytest.raises(InputError, match=r"task.extract=boxed: no target of split train holds .*'1000\+0=.*1,000'\)"):
        gsm8k_cell("boxed").task.splits()
