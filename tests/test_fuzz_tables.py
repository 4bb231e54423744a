"""Random files and random overrides: what reads them ends with this project's own errors, or reads them.

Put back for a trial, a reader of tables that lets ValueError through, and overrides that let Hydra's errors through
except KeyError, were found by the ordinary run.
"""

import gzip
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmark.config.compose import cell_of
from benchmark.config.with_hydra import compose_config
from benchmark.errors import BenchmarkError
from benchmark.sweeps.grid import expand
from tasks.tables import SUFFIXES, cell, label, rows, text

FEW = {"tables": 100, "overrides": 12}  # examples of the ordinary run
MANY = {"tables": 4000, "overrides": 60}  # of a run in which each takes about a quarter of a minute
QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
NAMES = [f"t{suffix}{gz}" for suffix in (*SUFFIXES, ".txt") for gz in ("", ".gz")]
SIGNS = st.text(alphabet='ab,;\t"\n\r\x00\u2028é{}[]:.1-eNa\ud7ff', max_size=60)
DEEP = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "a.b", ""]), inner),
)
OBJECTS = st.lists(DEEP, max_size=4)
CONTENTS = st.one_of(
    st.binary(max_size=60),
    SIGNS.map(lambda signs: signs.encode("utf-8")),
    SIGNS.map(lambda signs: signs.encode("utf-16")),
    OBJECTS.map(lambda found: json.dumps(found).encode()),
    OBJECTS.map(lambda found: "\n".join(map(json.dumps, found)).encode()),
)


def refusal(call, *given):
    """Return the sentence that refuses a call, or all that was given where none does."""
    try:
        call(*given)
    except BenchmarkError as error:
        return str(error)
    return str(given)


def read_cells(file, column):
    """Read every row, and a cell of each as a class and as a text."""
    for row in rows(str(file)):
        with suppress(ValueError):  # what is no class is said so
            label(cell(row, column, file.name))
        text(row, column, file.name, 1)


TABLE = {
    "name": st.sampled_from(NAMES),
    "content": CONTENTS,
    "packed": st.booleans(),
    "column": st.sampled_from(["a", "a.b", ""]),
}


def check_table(name, content, packed, column):
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, name)
        file.write_bytes(gzip.compress(content) if packed else content)
        assert name in refusal(read_cells, file, column)


@settings(max_examples=FEW["tables"], **QUICK)
@given(**TABLE)
@example(name="t.json", content=b"[" * 100_000, packed=False, column="a")
@example(name="t.jsonl", content=b'{"a": ' + b"1" * 5000 + b"}", packed=False, column="a")
@example(name="t.csv", content=b"a,b\n" + b"x" * 200_000 + b",1\n", packed=False, column="a")
@example(name="t.tsv.gz", content=b"a\tb\n1\t2\n", packed=True, column="a")
def test_no_file_ends_the_reader_of_tables(name, content, packed, column):
    check_table(name, content, packed, column)


@pytest.mark.slow
def test_no_file_of_many_ends_the_reader_of_tables():
    settings(max_examples=MANY["tables"], **QUICK)(given(**TABLE)(check_table))()


NUMBERS = [
    "seed",
    "method.lr",
    "method.rank",
    "budget.steps",
    "size",
    "trial",
    "until",
    "fraction",
    "task.max_residues",
]
NODES = [
    "method",
    "budget",
    "data",
    "data.splits_of.valid",
    "backbone.checkpoint",
    "backbone.head_lr",
    "task@x",
    "a..b",
]
OPTIONS = ["phase", "results", "plugins", "nokey", "hydra/launcher", "hydra.job.name", "sweep", "cells", "a..b"]
KEYS = st.sampled_from(["", *NUMBERS, *NODES, *OPTIONS])
VALUES = st.one_of(
    st.text(alphabet="ab1.,=:{}[]()'\"\\$ +-~@/é\n\t\x00%!?*<>|", max_size=12),
    st.text(max_size=5),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["1e999", "9" * 5000, "${seed}", "${oc.env:NOPE}", "range(0,3)", "choice(1,2)", "glob(*)"]),
    st.sampled_from(["{a: 1}", "[1,2]", "null", "true", "???", "lora"]),
    st.sampled_from(["interval(0,1)", "{", "[" * 300, "${", "x" * 5000]),
)  # fmt: skip
OVERRIDE = st.builds(
    lambda sign, key, equals, value: sign + key + equals + value,
    st.sampled_from(["", "", "", "+", "++", "~", "-", "--"]), KEYS, st.sampled_from(["=", "=", "=", ""]), VALUES,
)  # fmt: skip


READERS = [compose_config, cell_of, expand]
OVERRIDES = st.lists(OVERRIDE, min_size=1, max_size=2)


def check_overrides(read, overrides):
    sweep = ["-m"] if read is expand else []
    assert refusal(read, [*sweep, "task=protein", "method=lora", *overrides])


@pytest.mark.parametrize("read", READERS)
@settings(max_examples=FEW["overrides"], **QUICK)
@given(overrides=OVERRIDES)
@example(overrides=["seed=" + "9" * 5000])
@example(overrides=["method.lr=${oc.env:NOPE}"])
@example(overrides=["data.splits_of={a: ["])
def test_no_override_ends_what_composes_a_command(read, overrides):
    check_overrides(read, overrides)


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS)
def test_no_override_of_many_ends_what_composes_a_command(read):
    settings(max_examples=MANY["overrides"], **QUICK)(given(read=st.just(read), overrides=OVERRIDES)(check_overrides))()
