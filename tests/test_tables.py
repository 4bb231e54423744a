"""One reader of cells: quotes, lists, nothing, names that stand twice, packed files, parallel texts, templates."""

import gzip
import json

import pyarrow as pa
import pytest
from factories import refused_table
from pyarrow import parquet

from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from tasks.data import Files
from tasks.tables import label, rows


@pytest.mark.parametrize(
    ("lines", "cells"),
    [
        (['One.\t"He came', "Two.\tHe saw", 'Three.\tHe left"'], ['"He came', "He saw", 'He left"']),
        (['a\t"Yes"', "b\tno"], ['"Yes"', "no"]),
        (['a\t"say ""so"""', 'b\t"""Yes"""'], ['say "so"', '"Yes"']),
        (['a\t"say ""so"""', 'b\t"open'], ['"say ""so"""', '"open']),
        (['a\t5" screen', 'b\t"'], ['5" screen', '"']),
        (["a\tline\u2028separator", "b\t\x0bc"], ["line\u2028separator", "\x0bc"]),
    ],
)
def test_quotes_in_a_tsv_are_text_unless_a_writer_put_them_there(lines, cells, tmp_path):
    (tmp_path / "a.tsv").write_text("\n".join(["source\ttarget", *lines]) + "\n", encoding="utf-8")
    assert [row["target"] for row in rows(str(tmp_path / "a.tsv"))] == cells


ROWS = [{"source": "a;x", "target": "1"}, {"source": "b,y", "target": "ọ̀kan"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps(ROWS, indent=1)),
        ("a.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("a.csv", 'source;target\n"a;x";1\nb,y;ọ̀kan\n'),
        ("b.csv", 'source\ttarget\na;x\t1\n"b,y"\tọ̀kan\n'),
        ("c.csv", ' source ,target\na;x,1\n"b,y",ọ̀kan\n'),
        ("a.tsv", "source\ttarget\r\na;x\t1\r\nb,y\tọ̀kan\r\n"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_arrays_lines_semicolons_and_packed_files_are_read_alike(name, content, packed, tmp_path):
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    assert rows(str(path)) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "source,target,target\na,b,c\n", "the column 'target' is twice"),
        ("a.csv", "source,target, target\na,b,c\n", "the column 'target' is twice"),
        ("a.tsv", "source\ttarget\ttarget\na\tb\tc\n", "the column 'target' is twice"),
        ("a.json", '[{"source": "a", "target": "b", "target": "c"}]', "the column 'target' is twice"),
        ("a.csv", 'source,target\na,b\nc,"d\n', "line 3: unexpected end of data"),
        ("a.tsv", 'source\ttarget\na\t"b\tc"\n', "line 2 has 3 cells"),
        ("a.json", '[{"source": "a"},\n{"source": ]', "line 2"),
        ("a.csv", "source,target\na,é\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
        ("a.tsv", "source\ttarget\na\té\n".encode("latin1"), "line 2 is no utf-8; if it is LATIN1, convert it: iconv"),
        ("a.csv.gz", b"no gzip", "cannot be read"),
        ("a.json.gz", gzip.compress(b"[" * 9999, mtime=0)[:40], "cannot be read"),
        ("pair.en", "one\n", "data.train=PAIR data.columns.source=en"),
        ("a.json", "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_or_the_remedy(name, content, reason, tmp_path):
    refusal = refused_table(tmp_path / name, content)
    assert reason in refusal
    assert name in refusal


def test_a_parquet_file_with_one_name_twice_is_refused(tmp_path):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["target", "target"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="the column 'target' is twice"):
        rows(str(tmp_path / "a.parquet"))


def test_classes_are_named_alike_whatever_wrote_them():
    assert [label(v) for v in ("1", "1.0", 1, 1.0, " 1 ", "-2.00")] == ["1"] * 5 + ["-2"]
    assert [label(v) for v in ("007", "1.5", "1.0.0", "a ")] == ["007", "1.5", "1.0.0", "a"]
    for missing in (None, "", " ", float("nan"), "NaN"):
        with pytest.raises(ValueError, match="no label"):
            label(missing)
    for several in (["a"], {"a": 1}):
        with pytest.raises(ValueError, match="one class is wanted"):
            label(several)


def texts(train, **changes):
    columns = {"source": "source", "target": "target"}
    options = {"description": "", "valid": None, "test": None, "shifts": {}, "shares": {}, "merge": True}
    return Files(**{"train": str(train), "columns": columns, **options, **changes})


def test_a_list_of_texts_is_several_references_and_a_list_elsewhere_is_refused(tmp_path):
    lines = [{"source": " a b", "target": ["x", "y "]}, {"source": "c d", "target": ["z"]}]
    for name in ("train", "test", "valid"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    given = {name: str(tmp_path / f"{name}.jsonl") for name in ("valid", "test")}
    data = texts(tmp_path / "train.jsonl", **given)
    splits = data.splits()
    for name in ("valid", "test"):
        assert [(e.source, e.targets) for e in splits[name]] == [("a b", ("x", "y")), ("c d", ("z",))]
    learnt = [("a b", ("x",)), ("a b", ("y",)), ("c d", ("z",))]
    assert [(e.source, e.targets) for e in splits["train"]] == learnt
    assert len({e.id for e in splits["train"]}) == 3
    assert data.reading.counts == {"train": {"further_references_learnt_as_examples": 1}}
    for column, wrong in (("source", ["a"]), ("target", [["a"]]), ("target", {"a": 1}), ("source", {"a": 1})):
        (tmp_path / "wrong.jsonl").write_text(json.dumps(lines[0]) + "\n" + json.dumps({**lines[1], column: wrong}))
        with pytest.raises(InputError, match=rf"wrong.jsonl, row 2: column '{column}' holds"):
            texts(tmp_path / "wrong.jsonl", **given).splits()


def test_merging_equal_sources_is_counted_and_can_be_left(tmp_path):
    (tmp_path / "test.csv").write_text("source,target\na,1\na ,2\nb,3\n,4\n,5\n,6\n")
    (tmp_path / "train.csv").write_text("source,target\na,1\n")
    given = {"valid": str(tmp_path / "train.csv"), "test": str(tmp_path / "test.csv")}
    data = texts(tmp_path / "train.csv", **given)
    found = [(e.source, e.targets) for e in data.splits()["test"]]
    assert found == [("a", ("1", "2")), ("b", ("3",)), ("", ("4",)), ("", ("5",)), ("", ("6",))]
    assert data.reading.counts == {"test": {"rows_merged_into_those_of_an_equal_source": 1}}
    assert len(texts(tmp_path / "train.csv", **given, merge=False).splits()["test"]) == 6


def test_parallel_texts_are_read_line_by_line(tmp_path):
    (tmp_path / "pair.en").write_text("one\ntwo\n\nfour\n")
    (tmp_path / "pair.yo").write_text("ọ̀kan\nèjì\n\nẹ̀rin\n")
    columns = {"source": "en", "target": "yo"}
    found = texts(tmp_path / "pair", columns=columns, valid=str(tmp_path / "pair")).splits()
    assert [(e.source, *e.targets) for e in found["valid"]] == [
        ("one", "ọ̀kan"),
        ("two", "èjì"),
        ("", ""),
        ("four", "ẹ̀rin"),
    ]
    (tmp_path / "pair.yo").write_text("ọ̀kan\n")
    with pytest.raises(InputError, match="unequal length: 4 lines in"):
        texts(tmp_path / "pair", columns=columns).splits()


def test_missing_splits_of_texts_are_drawn_with_their_equal_sources_and_groups(tmp_path):
    lines = [f"source {i // 2},target {i},{'ab'[i % 2]}g{i // 20}" for i in range(400)]
    (tmp_path / "all.csv").write_text("source,target,author\n" + "\n".join(lines) + "\n")
    data = texts(tmp_path / "all.csv")
    splits = data.splits()
    assert {n: sum(len(e.targets) for e in p) for n, p in splits.items()} == {"train": 280, "valid": 40, "test": 80}
    sources = [{e.source for e in part} for part in splits.values()]
    assert sum(map(len, sources)) == 200
    assert (
        data.reading.notes["drawn_from_train"]
        == "test 0.2 (80 examples), valid 0.1 (40 examples), by the hash of the example"
    )
    columns = {"source": "source", "target": "target", "group": "author"}
    grouped = texts(tmp_path / "all.csv", columns=columns, shares={"test": 0.3}, merge=False).splits()
    groups = [{e.group for e in part} for part in grouped.values()]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 40


def test_the_same_file_for_valid_and_test_is_refused_and_a_test_on_train_said(tmp_path):
    (tmp_path / "a.csv").write_text("source,target\na,b\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "a.csv")
    a, link = str(tmp_path / "a.csv"), str(tmp_path / "link.csv")
    for changes in (
        {"valid": a, "test": link},
        {"valid": a, "test": a, "train": "b.csv"},
        {"valid": a, "shifts": {"x": link}},
    ):
        with pytest.raises(InputError, match="are the same"):
            texts(**{"train": a, **changes}).splits()
    (tmp_path / "b.csv").write_text("source,target\na,b\n")
    data = texts(a, valid=str(tmp_path / "b.csv"), test=link)
    data.splits()
    assert "test_is_the_training_data" in data.reading.notes


def text_task(folder, template, *words):
    base = ["task=text_generation", "method=frozen", "data=files", *words]
    files = [f"data.{name}={folder / name}.jsonl" for name in ("train", "valid", "test")]
    return cell_of([*base, *files, f"task.template='{template}'"]).task


def test_a_template_names_columns_and_an_unknown_one_is_refused(tmp_path):
    row = {"context": "It rains.", "question": {"text": "Why?"}, "source": "s", "target": "t"}
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row))
    task = text_task(tmp_path, "Read {context} Then {question.text} Say ")
    assert task.splits()["test"][0].source == "It rains. Then Why?"
    assert task.frame == "Read {source} Say "
    assert task.source(row) == "It rains. Then Why?"
    assert text_task(tmp_path, "{source}: {context}").splits()["test"][0].source == "s: It rains."
    moved = text_task(tmp_path, "{source}: {context}", "data.columns.source=target")
    assert moved.splits()["test"][0].source == "t: It rains."
    with pytest.raises(InputError, match=r"no column 'contxt'; it has context, question.text, source, target"):
        text_task(tmp_path, "{contxt} {question.text}").splits()
    with pytest.raises(InputError, match=r"names columns, this data has a {source} alone"):
        cell_of(["task=text_generation", "method=frozen", "task.template='{context} {source}'"])
