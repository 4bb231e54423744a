"""Questions with choices from people's files: where the choices are, which is right, what is refused."""

import json

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmark.config.compose import task_of
from benchmark.engine.data import Result, usable
from benchmark.errors import InputError
from benchmark.types import Bad
from tasks.choices import Asked

PLANETS = ["Mars", "Venus", "Pluto"]


def task(file, *more, data="choices"):
    words = ["task=multiple_choice", "method=lora", f"data={data}", f"data.train={file}", *more]
    return task_of(words)[1]


def read(tmp_path, rows, *more, name="train.jsonl", **options):
    """Write rows and read them; as many more as drawing valid and test takes."""
    file = tmp_path / name
    if name.endswith(".jsonl"):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif name.endswith(".parquet"):
        parquet.write_table(pa.Table.from_pylist(rows), file)
    else:
        file.write_text(rows)
    return [*task(file, *more, **options).data.unmerged()["train"]]


def files_of(tmp_path, *more):
    """Name the same file for every split but train, so that all rows of train stay."""
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"question": "?", "choices": ["a", "b"], "answer": "a"}) + "\n")
    (tmp_path / "valid.jsonl").write_bytes(other.read_bytes())
    return [f"data.valid={tmp_path}/valid.jsonl", f"data.test={other}", *more]


FORMS = [  # how the target names the third of the planets, and of two choices the second
    ("text", ["Pluto", " Venus "], []),
    ("letter", ["C", "(b)"], ["data.right=letter"]),
    ("index", [2, "1"], ["data.right=index"]),
    ("number", [3.0, "2.0"], ["data.right=number"]),
]


@pytest.mark.parametrize(("name", "answers", "words"), FORMS, ids=[name for name, _, _ in FORMS])
def test_the_right_choice_is_named_by_text_letter_or_position(name, answers, words, tmp_path):
    rows = [
        {"question": "the last?", "choices": PLANETS, "answer": answers[0]},
        {"question": "not red?", "choices": ["Mars", "Venus"], "answer": answers[1]},
    ]
    plain = ["data.choices=[choices]", *files_of(tmp_path)]
    if name != "text":  # the other files name it by text
        for file in ("other", "valid"):
            row = {"question": "?", "choices": ["a", "b"], "answer": answers[1]}
            (tmp_path / f"{file}.jsonl").write_text(json.dumps(row) + "\n")
    else:
        rows[1]["choices"].append("")  # an empty one at the end does not count
    first, second = read(tmp_path, rows, *plain, *words)
    assert (first.source, first.targets) == (("the last?", *PLANETS), ("3",))
    assert (second.source, second.targets) == (("not red?", "Mars", "Venus"), ("2",))
    assert first.source.question == "the last?"
    assert first.source.choices == tuple(PLANETS)


CSV = """q,a,b,c,options,pick
the last?,Mars,Venus,Pluto,"[""Mars"", ""Venus"", ""Pluto""]",Pluto
not red?,Mars,Venus,,"['Mars', ""Venus""]",Venus
red?,Mars,Venus,Pluto,"['Mars', 'Venus']",Mars
true?,True,False,,"[true, false]",false
"""


@pytest.mark.parametrize("choices", ["[a,b,c]", "[options]"])
def test_a_table_has_a_column_per_choice_or_lists_as_json_or_python_writes_them(choices, tmp_path):
    words = [f"data.choices={choices}", "data.columns.source=q", "data.columns.target=pick"]
    words += [f"+data.shares.{name}=0.01" for name in ("valid", "test")]
    file = tmp_path / "train.csv"
    file.write_text(CSV)
    examples = [e for part in task(file, *words).data.unmerged().values() for e in part]
    found = {e.source.question: (e.targets[0], e.source.choices[int(e.targets[0]) - 1]) for e in examples}
    assert found == {
        "the last?": ("3", "Pluto"), "not red?": ("2", "Venus"), "red?": ("1", "Mars"), "true?": ("2", "False"),
    }  # fmt: skip


def test_nested_lists_with_labels_and_templates_of_columns_as_the_hub_has_them(tmp_path):
    labels = {"2": ["1", "2", "3"], "C": ["A", "B", "C"]}
    rows = [
        {"stem": f"{i}?", "hint": "far", "choices": {"text": PLANETS, "label": labels[key]}, "answerKey": key}
        for i, key in enumerate("2C2C")
    ]
    words = ["data.choices=[choices.text]", "data.right=label", "data.labels=choices.label"]
    words += ["data.columns.target=answerKey", 'task.template="{hint}: {stem}\\nAnswer: "']
    file = tmp_path / "train.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), file)
    found = {(*e.source, *e.targets) for part in task(file, *words).splits().values() for e in part}
    assert found == {(f"far: {i}?", *PLANETS, "23"[i % 2]) for i in range(4)}


ADAPTERS = [  # as in the files of Hu et al. 2023
    {"instruction": "Please answer the following question with true or false, question: is ice cold?\n\n"
                    "Answer format: true/false", "input": "", "output": "the correct answer is true", "answer": "true"},
    {"instruction": "Please choose the correct solution to the question: Cool a drink.\n\nSolution1: Heat it.\n\n"
                    "Solution2: Add ice.\n\nAnswer format: solution1/solution2",
     "input": "", "output": "the correct answer is solution2", "answer": "solution2"},
    {"instruction": "Please choose the correct answer to fill in the blank to complete the given sentence: The _ was"
                    " cold.\n\nOption1: fire Option2: ice Answer format: option1/option2",
     "input": "", "output": "the correct answer is option2", "answer": "option2"},
    {"instruction": "Please choose the correct answer to the question: What is cold?\n\nAnswer1: sun Answer2: fire "
                    "Answer3: tea Answer4: coal Answer5: ice\n\nAnswer format: answer1/answer2/answer3/answer4/answer5",
     "input": "", "output": "the correct answer is answer5", "answer": "answer5"},
]  # fmt: skip


def test_a_file_of_llm_adapters_names_its_choices_in_the_instruction(tmp_path):
    file = tmp_path / "commonsense.json"
    file.write_text(json.dumps(ADAPTERS, indent=2))
    words = [f"+data.shares.{name}=0.01" for name in ("valid", "test")]
    examples = [e for part in task(file, *words, data="llm_adapters").splits().values() for e in part]
    found = {row["instruction"]: row["answer"] for row in ADAPTERS}
    assert {e.source.question: e.source.choices[int(e.targets[0]) - 1] for e in examples} == found
    assert sorted(len(e.source.choices) for e in examples) == [2, 2, 2, 5]


BAD = [
    ({"answer": "Saturn"}, [], "row 1: the right answer 'Saturn' is none of Mars, Venus, Pluto (data.right=text)"),
    ({"answer": 3}, ["data.right=index"], "the right answer '3' is none of 0, 1, 2 (data.right=index)"),
    ({"answer": "D"}, ["data.right=letter"], "'D' is none of A, B, C"),
    ({"answer": ""}, [], "no label"),
    ({"choices": ["Mars"], "answer": "Mars"}, [], "choices: 1 given, two or more wanted"),
    (
        {"choices": ["Mars", "", "Pluto"], "answer": "Mars"},
        [],
        "choices: 3 given, two or more wanted, none of them empty",
    ),
    ({"choices": "Mars"}, [], "'Mars' is no list; data.choices=[a,b] names a column per choice"),
    ({"choices": [["Mars"], "Venus"]}, [], "['Mars'] stands where one choice is wanted"),
    ({"choices": ["Mars", "Venus", "Mars"], "answer": "Mars"}, [], "'Mars' is among the choices twice"),
    ({}, ["data.choices=[]", "data.listed_after='Choose:'"], "choices: 0 given"),
]


@pytest.mark.parametrize(("changes", "words", "reason"), BAD, ids=[reason[:30] for *_, reason in BAD])
def test_a_row_without_its_right_answer_among_choices_is_bad(changes, words, reason, tmp_path):
    row = {"question": "?", "choices": PLANETS, "answer": "Mars", **changes}
    (example,) = read(tmp_path, [row], *files_of(tmp_path), *words)
    assert isinstance(example.source, Bad)
    assert "train.jsonl" in example.source.reason
    assert reason in example.source.reason


def test_bad_rows_refuse_the_run_or_are_left_out_and_counted(tmp_path, toy_cell):
    rows = [{"question": str(i), "choices": PLANETS, "answer": "Mars" if i else "Saturn"} for i in range(4)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["task=multiple_choice", "data=choices", f"data.train={tmp_path}/train.jsonl", *files_of(tmp_path)]
    with pytest.raises(InputError, match=r"Saturn.*task\.skip_bad=true"):
        usable(cell := toy_cell("causal_lm", "frozen", *words), cell.task.splits(), Result())
    result, cell = Result(), toy_cell("causal_lm", "frozen", *words, "task.skip_bad=true")
    assert len(usable(cell, cell.task.splits(), result)["train"]) == 3
    assert result.data["counts"] == {"train": {"bad_examples": 1}}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["data.right=txt"], "data.right: no way 'txt' to name a choice; did you mean text?"),
        (["data.right=label"], "data.labels: None given with data.right=label"),
        (["data.labels=names"], "data.labels: names given with data.right=text"),
        (["data.fixed=[no,yes]"], "one of choices"),
        (["data.choices=[]"], "one of choices"),
        (["task.normalise=words"], "task.normalise: no unit 'words' (known: bytes, tokens)"),
        (["data=files"], "data: these have no choices: give data=choices, or data=llm_adapters"),
    ],
)
def test_settings_that_fit_no_choices_are_refused(words, reason, tmp_path):
    with pytest.raises(InputError) as refusal:
        task(tmp_path / "train.jsonl", *words)
    assert reason in str(refusal.value)


def test_choices_of_every_row_are_given_once(tmp_path):
    rows = [{"question": "is it?", "answer": True}, {"question": "was it?", "answer": "False"}]
    words = [f"data.{name}={tmp_path}/train.jsonl" for name in ("test",)]
    words += ["data.choices=[]", 'data.fixed=["false","true"]', "+data.shares.valid=0.1"]
    found = {e.source.question: (e.source.choices, e.targets) for e in read(tmp_path, rows, *words)}
    assert {question: targets for question, (_, targets) in found.items()}.items() <= {
        "is it?": ("2",), "was it?": ("1",),
    }.items()  # fmt: skip
    assert {choices for choices, _ in found.values()} == {("false", "true")}


def test_equal_questions_stay_together_and_are_compared_as_texts():
    asked = Asked(("which?", "a", "b"))
    assert asked.read() == "which?\na\nb"
    assert json.loads(json.dumps(asked)) == ["which?", "a", "b"]  # hence other choices are other data
