"""A user's text files: rows arrive unchanged, faults are named."""

import csv
import gzip
import json
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from benchmark import run
from benchmark.config.compose import cell_of
from benchmark.engine.data import Result, read
from benchmark.errors import InputError
from tasks.data import Files

REAL = os.environ.get("BENCHMARK_DATA_DIR")
real = pytest.mark.skipif(not REAL, reason="BENCHMARK_DATA_DIR is not set: no real files to try")


# What readers like to turn into something else: missing values, numbers, dates, truth; quotes, commas and two scripts.
ROWS = [
    ("a b", "x"), ("c", "NA"), ("a b", "null"), ("", "z"), ("007", "1.50"), ("2020-01-01", "true"),
    ('say "so", twice', "ව ේ"), ("a b", ""), ("nan", "None"),
]  # fmt: skip
GROUPED = [
    ("a b", ("x", "null", "")), ("c", ("NA",)), ("", ("z",)), ("007", ("1.50",)), ("2020-01-01", ("true",)),
    ('say "so", twice', ("ව ේ",)), ("nan", ("None",)),
]  # fmt: skip


def write(path, rows):
    """Write rows as columns pair.en and pair.xx, nested where the format can."""
    nested = [{"id": number, "pair": {"en": source, "xx": target}} for number, (source, target) in enumerate(rows)]
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(nested), path)
    elif path.suffix in (".json", ".jsonl"):
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in nested))
    else:
        with open(path, "w", newline="") as file:
            table = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
            table.writerows([("id", "pair.en", "pair.xx"), *((i, *row) for i, row in enumerate(rows))])
    return path


def files(train, valid=None, test=None, **changes):
    columns = {"source": "pair.en", "target": "pair.xx"}
    values = {"train": train, "valid": valid or train, "test": test or twin(train)}
    paths = {name: str(path) for name, path in values.items()}
    options = {"description": "", "shifts": {}, "shares": {}, "merge": True}
    return Files(**{**options, "columns": columns, **paths, **changes})


def twin(path):
    """Copy a file: the same one cannot be valid and test."""
    return Path(shutil.copy(path, path.with_name(f"twin_{path.name}")))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])
def test_every_format_gives_the_same_text_and_groups_references_outside_of_train(suffix, tmp_path):
    path = write(tmp_path / f"rows{suffix}", ROWS)
    splits = files(path, shifts={"news": str(twin(path))}).splits()
    assert list(splits) == ["train", "valid", "test", "test/news"]
    assert [(e.source, e.targets) for e in splits["train"]] == [(source, (target,)) for source, target in ROWS]
    for name in ("valid", "test", "test/news"):
        assert [(e.source, e.targets) for e in splits[name]] == GROUPED
    ids = [e.id for examples in splits.values() for e in examples]
    assert len(set(ids)) == len(ids)


def test_a_byte_order_mark_and_windows_line_ends_are_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes("\ufeffpair.en,pair.xx\r\na,b\r\n\r\nc,d\r\n".encode())
    (tmp_path / "a.jsonl").write_bytes(
        b'\xef\xbb\xbf{"pair": {"en": "a", "xx": "b"}}\r\n\r\n{"pair": {"en": "c", "xx": "d"}}\r\n'
    )
    for name in ("a.csv", "a.jsonl"):
        assert [(e.source, e.targets) for e in files(tmp_path / name).splits()["train"]] == [
            ("a", ("b",)),
            ("c", ("d",)),
        ]


def test_what_a_row_leaves_out_is_empty_and_a_number_keeps_its_digits(tmp_path):
    rows = [{"pair": {"en": 7, "xx": None}}, {"pair": {"en": 12345678901234567890, "xx": "b"}}, {"pair": None}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = files(tmp_path / "a.jsonl").splits()["train"]
    assert [(e.source, e.targets) for e in found] == [("7", ("",)), ("12345678901234567890", ("b",)), ("", ("",))]
    table = pa.table({"pair.en": pa.array([1, None, 3]), "pair.xx": ["a", None, "NA"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = files(tmp_path / "a.parquet").splits()["train"]
    assert [(e.source, e.targets) for e in found] == [("1", ("a",)), ("", ("",)), ("3", ("NA",))]


WRONG = {  # file -> content, what the message must hold
    "lacks.csv": ("mr,ref\na,b\n", ["pair.en", "it has mr, ref", "data.columns"]),
    "lacks.jsonl": (
        '{"translation": {"en": "a", "yor": "b"}}\n',
        ["pair.en", "it has translation.en, translation.yor"],
    ),
    "half.jsonl": ('{"pair": {"en": "a"}}\n', ["pair.xx", "it has pair.en"]),
    "rows.txt": ("a b\n", [".txt", ".csv, .tsv, .json, .jsonl, .parquet"]),
    "rows": ("a b\n", ["without a suffix"]),
    "cut.jsonl": ('{"pair": {"en": "a", "xx": "b"}}\n{"pair": {"en": "a\n', ["line 2"]),
    "list.json": ('[{"pair": {"en": "a", "xx": "b"}}, 3]', ["row 2", "object"]),
    "short.csv": ("pair.en,pair.xx\na,b\nc\n", ["line 3", "1 cells", "has 2"]),
    "long.csv": ("pair.en,pair.xx\na,b,c\n", ["line 2", "3 cells", "has 2"]),
    "quote.csv": ('pair.en,pair.xx\na,"b\nc,d\n', ["unexpected end of data"]),
    "noise.parquet": ("no parquet", ["cannot be read as parquet"]),
    "latin.csv": (b"pair.en,pair.xx\na,\xe9\n", ["cannot be read as csv", "utf-8"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_cannot_be_used_is_named_with_the_reason(name, tmp_path):
    content, wanted = WRONG[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as refusal:
        files(write(tmp_path / "good.csv", ROWS), test=path).splits()
    for word in [str(path), *wanted]:
        assert word in str(refusal.value)
    assert "\n" not in str(refusal.value)


def words(checkpoint, folder, **splits):
    given = [f"data.{name}={path}" for name, path in splits.items()]
    return [
        "method=lora", "task=nmt", "data=files", "data.columns.source=pair.en", "data.columns.target=pair.xx", *given,
        "backbone=causal_lm", f"backbone.checkpoint={checkpoint}", "budget=smoke", "budget.steps=2", "device=cpu",
        "task.max_target_tokens=12", f"results={folder}",
    ]  # fmt: skip


@pytest.mark.parametrize("content", ["", "pair.en,pair.xx\n"])
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_an_empty_split_is_refused_by_name(split, content, tiny_causal, tmp_path, capfd):
    good = write(tmp_path / "good.csv", ROWS)
    empty = tmp_path / "empty.csv"
    empty.write_text(content)
    given = {"train": good, "valid": good, "test": twin(good)} | {split: empty}
    assert run.main(words(tiny_causal, tmp_path / "results", **given)) == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert f"split {split} " in line
    assert not (tmp_path / "results").exists()


def test_a_missing_file_and_a_missing_column_end_a_run_in_one_line(tiny_causal, tmp_path, capfd):
    good = write(tmp_path / "good.csv", ROWS)
    given = {"train": good, "valid": good, "test": twin(good)}
    for more, wanted in (
        ([f"data.test={tmp_path / 'nowhere.csv'}"], ["nowhere.csv", "no file"]),
        (["data.columns.target=ref"], [str(good), "'ref'", "it has id, pair.en, pair.xx"]),
        (["~data.columns.target"], ["data.columns.target", "required"]),
        (["+data.columns.targte=ref"], ["data.columns.targte", "did you mean target"]),
    ):
        assert run.main([*words(tiny_causal, tmp_path / "results", **given), *more]) == 2
        line = capfd.readouterr().err
        assert line.count("\n") == 1
        assert all(word in line for word in wanted), line


def test_own_files_run_and_what_was_cut_or_empty_is_counted(tiny_causal, tmp_path, capfd):
    train = write(tmp_path / "train.csv", [(f"number {i}", "one two") for i in range(12)] + [("a", ""), ("", "b")])
    test = write(tmp_path / "test.jsonl", [("a", "one"), ("a", "two"), ("b", "one " * 40), ("c", "")])
    assert run.main(words(tiny_causal, tmp_path / "results", train=train, valid=train, test=test)) == 0
    (path,) = (tmp_path / "results").glob("runs/nmt/lora/*.json")
    record = json.loads(path.read_text())
    assert record["data"]["sizes"] == {"train": 14, "valid": 14, "test": 3}
    assert record["data"]["counts"]["train"] == {"empty_examples": 2}
    assert record["data"]["counts"]["test"] == {
        "truncated_targets": 1,
        "empty_examples": 1,
        "rows_merged_into_those_of_an_equal_source": 1,
    }
    with gzip.open(path.with_suffix(".examples.jsonl.gz"), "rt") as rows:
        assert [json.loads(row)["target"] for row in rows] == [["one", "two"], [("one " * 40).strip()], [""]]
    assert "unpinned" not in record["data"]
    screen = capfd.readouterr().out
    assert "train: 2 empty examples" in screen
    assert "test: 1 truncated targets" in screen


def test_the_fingerprint_follows_every_example_and_nothing_else(tiny_causal, tmp_path):
    good, other, moved = (write(tmp_path / name, ROWS) for name in ("good.csv", "other.csv", "moved.jsonl"))
    other.write_text(other.read_text().replace("null", "nul"))  # a second reference

    def data(*more):
        result = Result()
        read(cell_of([*words(tiny_causal, tmp_path, train=good, valid=good, test=twin(good)), *more]), result)
        return result.data

    plain, sampled = data(), data("budget.max_valid=3")
    for more in (["seed=5"], ["method=full"], [f"data.valid={moved}"], ["task.max_source_tokens=9"]):
        assert data(*more) == plain
    for split in ("train", "valid", "test", "shifts.news"):
        assert data(f"{'+' if 'shifts' in split else ''}data.{split}={other}")["fingerprint"] != plain["fingerprint"]
    assert sampled["fingerprint"] == plain["fingerprint"]
    assert sampled["sample"] != plain["sample"]
    assert (sampled["sizes"]["valid"], plain["sizes"]["valid"]) == (3, len(GROUPED))
    quick = data("budget.max_test=2")
    assert quick["fingerprint"] == plain["fingerprint"]
    assert {name: quick["sizes"][name] for name in ("valid", "test")} == {"valid": plain["sizes"]["valid"], "test": 2}


def sample(name, folder, most):
    """Copy the first rows of a real file, outside of the repository."""
    path = folder / Path(name).name
    lines = (Path(REAL) / name).read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:most]))
    return path


@real
@pytest.mark.slow
def test_e2e_runs_on_a_real_checkpoint_and_scores_several_references(tmp_path):
    train, valid, test = (sample(f"e2e_nlg/{name}.csv", tmp_path, 41) for name in ("train", "validation", "test"))
    expected = {}
    with open(test, newline="") as file:
        for row in csv.DictReader(file):
            expected.setdefault(row["mr"], []).append(row["ref"])
    most = max(map(len, expected.values()))
    assert most > 1, "this part of the file has several references"
    status = run.main([
        "method=lora", "task=e2e_nlg", "data=files", f"data.train={train}", f"data.valid={valid}", f"data.test={test}",
        "data.columns.source=mr", "data.columns.target=ref", "backbone=causal_lm", "budget=smoke", "budget.steps=3",
        f"backbone.checkpoint={REAL}/stories260k", "device=cpu", f"results={tmp_path / 'results'}",
    ])  # fmt: skip
    assert status == 0
    (path,) = (tmp_path / "results").glob("runs/e2e_nlg/lora/*.json")
    record = json.loads(path.read_text())
    assert record["data"]["sizes"]["train"] == 40
    assert record["data"]["sizes"]["test"] == len(expected)
    assert f"nrefs:{most}" in record["signatures"]["bleu"] or "nrefs:var" in record["signatures"]["bleu"]
    with gzip.open(path.with_suffix(".examples.jsonl.gz"), "rt") as rows:
        answered = [json.loads(row) for row in rows]
    assert [row["target"] for row in answered if row["split"] == "test"] == list(expected.values())
    assert [row["target"] for row in answered if row["split"] == "test/order"] == list(expected.values())


@real
def test_mafand_loads_whole_and_runs(tiny_seq2seq, tmp_path):
    columns = ["data.columns.source=translation.en", "data.columns.target=translation.yor"]
    folder = Path(REAL) / "mafand" / "en-yor"
    whole = [
        f"data.{split}={folder / name}.json" for split, name in (("train", "train"), ("valid", "dev"), ("test", "test"))
    ]
    splits = cell_of(["task=nmt", "method=lora", "data=files", *whole, *columns]).task.splits()
    assert {name: sum(len(e.targets) for e in examples) for name, examples in splits.items()} == {
        "train": 6644,
        "valid": 1544,
        "test": 1558,
    }
    part = [
        f"data.{s}={sample(f'mafand/en-yor/{n}.json', tmp_path, 16)}"
        for s, n in (("train", "train"), ("valid", "dev"), ("test", "test"))
    ]
    status = run.main([
        "task=nmt", "method=lora", "data=files", *part, *columns, "backbone=seq2seq", "budget=smoke", "budget.steps=2",
        f"backbone.checkpoint={tiny_seq2seq}", "device=cpu", "task.target_language=yo",
        f"results={tmp_path / 'results'}",
    ])  # fmt: skip
    assert status == 0
    (path,) = (tmp_path / "results").glob("runs/nmt/lora/*.json")
    assert json.loads(path.read_text())["data"]["sizes"] == {"train": 16, "valid": 16, "test": 16}
