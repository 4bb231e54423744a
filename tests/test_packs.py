"""Task packs of the hub, on small parquet files of the same schema."""

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmark.config.compose import cell_of
from benchmark.errors import InputError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Stand in for the hub by parquet files: hub("a/b", "config", train=[row, ...])."""

    def load_dataset(path, name, *, revision, split):
        assert revision in (None, "refs/convert/parquet")
        file = tmp_path / path / str(name) / f"{split}.parquet"
        if not file.is_file():
            raise datasets.exceptions.DatasetNotFoundError(f"no {path} {name} {split}")
        return datasets.Dataset(parquet.read_table(file))

    def write(path, config=None, **splits):
        for split, rows in splits.items():
            file = tmp_path / path / str(config) / f"{split}.parquet"
            file.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(pa.Table.from_pylist(rows), file)
        return tmp_path / path / str(config)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return write


GLUE = {  # columns of the texts, and number of classes
    "cola": (["sentence"], 2),
    "sst2": (["sentence"], 2),
    "mrpc": (["sentence1", "sentence2"], 2),
    "qqp": (["question1", "question2"], 2),
    "stsb": (["sentence1", "sentence2"], None),
    "mnli": (["premise", "hypothesis"], 3),
    "qnli": (["question", "sentence"], 2),
    "rte": (["sentence1", "sentence2"], 2),
}
OWN = {"cola": ("glue_cola", "mcc"), "stsb": ("glue_stsb", None)}  # tasks of their own; None: that of the class


def glue_rows(subset, split, number):
    texts, classes = GLUE[subset]
    return [
        {column: f"{column} {split} {i}" for column in texts}
        | {"label": i % classes if classes else i * 5 / 7 % 5, "idx": i}
        for i in range(number)
    ]


@pytest.mark.parametrize("subset", GLUE)
def test_a_set_of_glue_is_read_by_its_columns_and_tested_on_what_has_labels(subset, hub):
    tests = ["validation_matched", "validation_mismatched"] if subset == "mnli" else ["validation"]
    given = {"train": 60, **dict.fromkeys(tests, 6)}
    hub("nyu-mll/glue", subset, **{split: glue_rows(subset, split, number) for split, number in given.items()})
    task, headline = OWN.get(subset, ("glue", "accuracy"))
    cell = cell_of([f"task={task}", "method=head", f"data=glue_{subset}"])
    assert cell.headline == headline
    splits = cell.task.splits()
    assert list(splits) == ["train", "valid", "test", *(["test/mismatched"] if subset == "mnli" else [])]
    assert len(splits["train"]) + len(splits["valid"]) == 60
    assert 0 < len(splits["valid"]) <= 6
    for name, split in zip([name for name in splits if name.startswith("test")], tests, strict=True):
        for i, (example, row) in enumerate(zip(splits[name], glue_rows(subset, split, 6), strict=True)):
            texts = tuple(f"{column} {split} {i}" for column in GLUE[subset][0])
            assert example.source == (texts if len(texts) > 1 else texts[0])
            assert example.targets == ((row["label"],) if subset == "stsb" else (str(row["label"]),))


def test_the_headline_of_a_pack_yields_to_the_one_asked_for():
    assert cell_of(["task=glue", "method=head"]).headline == "accuracy"
    assert cell_of(["task=glue", "method=head", "task.metric=mcc"]).headline == "mcc"
    assert cell_of(["task=glue", "method=head", "task.metric=macro_f1"]).headline is None  # the class's own


def test_the_schema_of_mrpc_runs_from_local_files(hub):
    folder = hub("x", None, train=glue_rows("mrpc", "train", 40), test=glue_rows("mrpc", "test", 8))
    columns = ["source=sentence1", "partner=sentence2", "target=label"]
    words = [f"data.columns.{column}" for column in columns]
    words += [f"data.{split}={folder}/{split}.parquet" for split in ("train", "test")]
    splits = cell_of(["task=text_classification", "method=head", "data=files", *words]).task.splits()
    assert splits["test"][5][1:3] == (("sentence1 test 5", "sentence2 test 5"), ("1",))
    assert len(splits["train"]) + len(splits["valid"]) == 40


def test_a_pack_that_the_hub_lacks_is_refused_with_what_to_do_instead(hub):
    with pytest.raises(InputError, match=r"'nyu-mll/glue' cannot be downloaded: no nyu-mll/glue rte train - .*files"):
        cell_of(["task=glue", "method=head", "data=glue_rte"]).task.splits()


LABELS = {"text": ["ice", "sun", "tea"], "label": ["1", "2", "3"]}
CHOICES = {  # where it is on the hub, its splits, a row, and what is read of it
    "boolq": ("google/boolq", None, 2, {"passage": "Ice is cold.", "question": "is ice warm", "answer": False},
              ("Ice is cold.\nis ice warm?", "false", "true"), "1"),
    "piqa": ("ybisk/piqa", None, 2, {"goal": "Cool a drink.", "sol1": "Heat it.", "sol2": "Add ice.", "label": 1},
             ("Cool a drink.", "Heat it.", "Add ice."), "2"),
    "social_i_qa": ("allenai/social_i_qa", None, 2,
                    {"context": "Al fell.", "question": "How is Al?", "answerA": "fine", "answerB": "hurt",
                     "answerC": "glad", "label": "2"}, ("Al fell. How is Al?", "fine", "hurt", "glad"), "2"),
    "hellaswag": ("Rowan/hellaswag", None, 2,
                  {"ctx": "He cuts ice. He", "endings": ["eats", "flies", "sells it", "sinks"], "label": "2"},
                  ("He cuts ice. He", "eats", "flies", "sells it", "sinks"), "3"),
    "winogrande": ("allenai/winogrande", "winogrande_xl", 2,
                   {"sentence": "The _ was cold.", "option1": "fire", "option2": "ice", "answer": "2"},
                   ("The _ was cold.", "fire", "ice"), "2"),
    "arc_easy": ("allenai/ai2_arc", "ARC-Easy", 3, {"question": "Warm?", "choices": LABELS, "answerKey": "3"},
                 ("Warm?", "ice", "sun", "tea"), "3"),
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge", 3, {"question": "?", "choices": LABELS, "answerKey": "1"},
                      ("?", "ice", "sun", "tea"), "1"),
    "openbookqa": ("allenai/openbookqa", "main", 3, {"question_stem": "Cold?", "choices": LABELS, "answerKey": "1"},
                   ("Cold?", "ice", "sun", "tea"), "1"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHOICES)
def test_a_commonsense_set_is_read_with_its_choices_and_the_right_one(name, hub):
    where, config, splits, row, asked, right = CHOICES[name]
    written = ["train", "validation", "test"][:splits]
    question = next(iter(row))
    rows = [{**row, question: f"{i} {row[question]}"} for i in range(30)]
    hub(where, config, **dict.fromkeys(written, rows[:4]) | {"train": rows})
    task = cell_of(["task=commonsense", "method=lora", f"data={name}"]).task
    read = task.splits()
    test = [(tuple(example.source), example.targets) for example in read["test"]]
    assert test == [((f"{i} {asked[0]}", *asked[1:]), (right,)) for i in range(4)]
    assert [len(read[split]) for split in ("train", "valid")] == ([30, 4] if splits == 3 else [27, 3])


def solved(columns, split, number):
    question, answer = columns
    return [{question: f"{split} {i} apples?", answer: f"Half of {2 * i}.\n#### {i}"} for i in range(number)]


@pytest.mark.parametrize("data", ["gsm8k", "metamath"])
def test_word_problems_are_tested_on_gsm8k_by_the_number_behind_the_solution(data, hub):
    rows = {"train": solved(("question", "answer"), "train", 30), "test": solved(("question", "answer"), "test", 5)}
    hub("openai/gsm8k", "main", **rows)
    hub("meta-math/MetaMathQA", train=solved(("query", "response"), "more", 400))
    cell = cell_of(["task=gsm8k", "method=lora", f"data={data}"])
    splits = cell.task.splits()
    test = splits["test" if data == "gsm8k" else "test/gsm8k"]
    assert [(e.source, e.targets) for e in test] == [
        (f"test {i} apples?", (f"Half of {2 * i}.\n#### {i}",)) for i in range(5)
    ]
    sizes = {name: len(part) for name, part in splits.items()}
    drawn = {"train": 27, "valid": 3, "test": 5} if data == "gsm8k" else None
    assert sizes == (drawn or {"train": 396, "valid": 2, "test": 2, "test/gsm8k": 5})
    assert all(e.source.startswith("train" if data == "gsm8k" else "more") for e in splits["train"])
    answers = [{**cell.task.nothing(), "prediction": f"So #### {i * 2}.0"} for i in range(5)]
    assert cell.task.score(answers, [e.targets for e in test])["extracted_match"] == 20
    assert cell.headline == "extracted_match"


@pytest.mark.parametrize(("data", "where"), [("samsum", "knkarthick/samsum"), ("xsum", "EdinburghNLP/xsum")])
def test_texts_with_summaries_are_read_by_their_columns(data, where, hub):
    source = {"samsum": "dialogue", "xsum": "document"}[data]
    splits = {"train": 4, "validation": 2, "test": 3}
    given = {
        split: [{"id": str(i), source: f"{split}: {i}\nb", "summary": f"of {split} {i}"} for i in range(number)]
        for split, number in splits.items()
    }
    hub(where, **given)
    cell = cell_of(["task=summarisation", "method=lora", f"data={data}"])
    read = cell.task.splits()
    assert cell.headline == "rouge_l"
    assert [len(part) for part in read.values()] == [4, 2, 3]
    assert read["valid"][1][1:3] == ("validation: 1\nb", ("of validation 1",))
