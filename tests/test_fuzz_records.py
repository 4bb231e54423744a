"""Records that are not what they say, made at random: what reads them leaves them out, and never ends.

Put back for a trial, no check of a record's shape, and sizes that may be texts, were found by the ordinary run.
"""

import copy
import io
import json
import shutil
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmark import compare, status
from benchmark.advise import __main__ as advise
from benchmark.records import Store
from benchmark.report import __main__ as report
from benchmark.report import frame
from benchmark.report.figures.drawing import press
from benchmark.report.material import material

MADE = Path(__file__).parent / "made_before" / "lora" / "cell.json"
FEW, MANY = 8, 250  # examples of the ordinary run, and of a run that takes about half a minute
QUICK = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-5, 5), st.floats(), st.text(max_size=5),
    st.sampled_from([1e308, -1e308, 10**400, 2**63, "../../README", "/", "..", "\ud800", "a\x00b", "done", "x" * 300]),
)  # fmt: skip
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner))
WORDS = ["task=protein", "method=lora", "budget=smoke", "budget.steps=60", "budget.evaluations=2", "budget.max_test=16"]
CELL = [*WORDS, "method.rank=2", "method.targets=[query,value]"]  # of the record that is changed
CALLS = {compare: ["lora", "bitfit"], status: ["-m", *CELL, "device=cpu"], advise: ["task=protein"]}


def paths(node, path=()):
    """List where a value stands in a record; of its many measurements the first two."""
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node[:2]) if isinstance(node, list) else ()
    for key, value in inner:
        yield from paths(value, (*path, key))


WHOLE = {k: v for k, v in json.loads(MADE.read_text()).items() if k != "digest"}
WHOLE["config"]["budget"]["name"] = "standard"  # scores of budget smoke are no advice
OTHER = WHOLE | {"method": "bitfit", "run_id": "0123456789ab"}  # which stays as it is
WHERE = st.sampled_from([path for path in paths(WHOLE) if path])


def changed(path, value):
    """Put a value in a record's place; nothing where it is deleted."""
    content = copy.deepcopy(WHOLE)
    node = content
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return content


def read_all(results):
    """Do what the report and a comparison do with records, short of drawing."""
    runs = frame.load(results)
    if runs:
        table = frame.tidy(runs)
        frame.write(table, results / "runs.csv")
        frame.measurements(runs, table).to_parquet(results / "measurements.parquet", index=False)
        made = material(runs, results)
        for key in made.tables:
            report.table_of(made, key)
        press.every(made)
    for command, arguments in CALLS.items():
        command.main([*arguments, f"results={results}"])


def check(path, value, name):
    """Put an odd record beside a whole one: what reads them ends well, or leaves out the odd one alone."""
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch) / "results" / "runs" / "protein"
        for file, content in ((f"lora/{name}", changed(path, value)), (f"bitfit/{OTHER['run_id']}.json", OTHER)):
            (runs / file).parent.mkdir(parents=True)
            (runs / file).write_text(json.dumps(content), encoding="utf-8")
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            read = [record.method for record in Store(runs.parent).records()]
            assert "bitfit" in read
            if "lora" in read:  # else there is nothing of it to read
                COMPOSED.is_dir() and shutil.copytree(COMPOSED, runs.parent / COMPOSED.name)
                read_all(runs.parents[1])
                COMPOSED.is_dir() or shutil.copytree(runs.parent / COMPOSED.name, COMPOSED)
        assert [file.name for file in Path(scratch).iterdir()] == ["results"]


COMPOSED = Path(tempfile.mkdtemp()) / ".cells"  # of the one cell, which takes long to compose
OWN = f"{WHOLE['run_id']}.json"
ODD = {"path": WHERE, "value": VALUES, "name": st.sampled_from([OWN, "other.json"])}


@settings(max_examples=FEW, **QUICK)
@given(**ODD)
@example(path=("measurements", 0, "value"), value=1e308, name=OWN)
@example(path=("config", "seed"), value=float("inf"), name=OWN)
@example(path=("task",), value="../../README", name=OWN)
@example(path=("data", "sizes", "train"), value="many", name=OWN)
@example(path=("reason",), value="\ud800", name=OWN)
def test_no_record_ends_what_reads_it(path, value, name):
    check(path, value, name)


@pytest.mark.slow
def test_no_record_of_many_ends_what_reads_it():
    settings(max_examples=MANY, **QUICK)(given(**{**ODD, "name": st.just(OWN)})(check))()


@settings(max_examples=40, **QUICK)
@given(content=st.binary(max_size=40) | st.text(max_size=40).map(lambda text: json.dumps([text]).encode()))
def test_no_bytes_end_what_reads_records(content):
    scratch = tempfile.mkdtemp()
    path = Path(scratch) / "protein" / "lora" / "0123456789ab.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert list(Store(scratch).records()) == []
    assert path.name in str(caught[0].message)
    shutil.rmtree(scratch)
