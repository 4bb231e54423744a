"""Tables by other programs: line ends, encodings, null characters, separators, binary cells, truth."""

import datetime
import gzip
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from factories import refused_table
from pyarrow import parquet

from benchmark.errors import InputError
from tasks.fasta import read
from tasks.tables import cell, label, rows, text

ROWS = [{"source": "a", "target": "b;c"}, {"source": "d,e", "target": "f"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", '\ufeff"source",target\na,b;c\n"d,e",f\n'),
        ("mac.csv", 'source,target\ra,b;c\r"d,e",f\r'),
        ("mac.tsv", "source\ttarget\ra\tb;c\rd,e\tf\r"),
        ("mac.jsonl", "\r".join(map(json.dumps, ROWS))),
        ("blank.csv", '\n\r\nsource,target\na,b;c\n"d,e",f\n'),
        ("blank.tsv", "\n\nsource\ttarget\na\tb;c\nd,e\tf"),
        ("comma_in_name.csv", 'target;"of, and";source\n"b;c";1;a\nf;2;d,e\n'),
        ("packed_under_another_name.csv", gzip.compress(b'source,target\na,b;c\n"d,e",f\n')),
        ("loud.JSON.GZ", gzip.compress(json.dumps(ROWS).encode())),
    ],
)
def test_what_other_programs_write_is_read(name, content, tmp_path):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert [{key: row[key] for key in ("source", "target")} for row in rows(str(tmp_path / name))] == ROWS


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("null.csv", "source,target\na,b\nc\0,d\n", "line 3 holds a null character"),
        ("no_mark.csv", "source,target\na,b\n".encode("utf-16-le"), "iconv -f UTF-16"),
        ("wide.tsv", "source\ttarget\na\tb\n".encode("utf-32"), "iconv -f UTF-32"),
        ("curly.csv", "source,target\n“a”,b\n".encode("cp1252"), "iconv -f CP1252"),
        ("cut.csv.gz", gzip.compress(b"source,target\n" + b"a,b\n" * 999)[:-9], "cannot be read"),
        ("half.jsonl", '{"source": "a"}\n{"source": "\\ud800"}\n', "line 2: holds half of a character"),
        ("last.jsonl", '{"source": "a"}\n{"source": ', "line 2"),
        ("separator_at_the_end.csv", "source,target\na,b,\n", "line 2 has 3 cells, the header has 2"),
        ("lists.json", '[["source", "target"], ["a", "b"]]', "row 1: an object wanted"),
        ("cut.parquet", b"PAR1" + bytes(60), "cannot be read as parquet"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place_or_the_remedy(name, content, reason, tmp_path):
    refusal = refused_table(tmp_path / name, content)
    assert reason in refusal
    assert name in refusal


def test_columns_of_parquet_are_text_or_refused(tmp_path):
    columns = {
        "day": pa.array([datetime.date(2020, 1, 31)]),
        "when": pa.array([datetime.datetime(2020, 1, 31, 7, 5)]),
        "kind": pa.array(["b"]).dictionary_encode(),
        "price": pa.array([Decimal("1.10")]),
        "stored": pa.array(["é".encode()]),
        "big": pa.array([2**62]),
        "noise": pa.array([b"\xff"]),
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    parquet.write_table(pa.table(columns), tmp_path / "a.Parquet")
    (row,) = rows(str(tmp_path / "a.Parquet"))
    expected = ["2020-01-31", "2020-01-31 07:05:00", "b", "1.10", "é", str(2**62)]
    assert [text(row, column, "", 1) for column in [*columns][:-2]] == expected
    assert label(row["stored"]) == "é"
    for column in ("noise", "map"):
        with pytest.raises(InputError, match=rf"a.Parquet, row 1: column '{column}' holds"):
            text(row, column, "a.Parquet", 1)
        with pytest.raises(ValueError, match="one class is wanted"):
            label(cell(row, column, ""))


def test_a_class_has_one_name_whatever_wrote_its_truth_its_zero_or_its_accent():
    assert {label(v) for v in (True, "true", "TRUE", " True")} == {"True"}
    assert {label(v) for v in (0, -0.0, "0.0", "-0", "-0.0", 0.0)} == {"0"}
    assert {label(v) for v in (10**16, 1e16, "10000000000000000")} == {"10000000000000000"}
    assert {label(v) for v in ("caf\u00e9", "cafe\u0301")} == {"caf\u00e9"}


def test_fasta_of_any_line_end_is_read_and_a_record_without_a_name_is_refused(tmp_path):
    expected = [("a", "MKT"), ("b", "GS")]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "a.fasta").write_bytes(end.join([">a SET=x", "mk".upper(), "T", "", ">b", "GS", ""]).encode())
        assert [(name, entry.text) for name, entry in read(tmp_path / "a.fasta")] == expected
    for header in (">", "> \t"):
        (tmp_path / "a.fasta").write_text(f">a\nMKT\n{header}\nGS\n")
        with pytest.raises(InputError, match=r"a.fasta', line 3: the record has no name"):
            list(read(tmp_path / "a.fasta"))
