"""Records, adapters and names from before the classes moved stay valid."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import run, saved
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.registry import node
from benchmark.config.trials import draw
from benchmark.errors import InputError
from benchmark.identity import choices, recorded_classes, run_id, training_id
from benchmark.records import Record, shipped

MADE = Path(__file__).parent / "made_before"
WORDS = [
    "method=bitfit", "task=protein", "budget=smoke", "budget.steps=60", "budget.evaluations=2", "budget.max_test=16",
    "device=cpu",
]  # fmt: skip
ANSWERS = json.loads((MADE / "answers.json").read_text())


def test_a_cell_recorded_then_is_still_recorded(tmp_path, capsys):
    shutil.copytree(MADE / "runs", tmp_path / "runs")
    before = sorted(tmp_path.rglob("*.json"))
    assert run.main([*WORDS, f"results={tmp_path}"]) == 0
    assert "already recorded" in capsys.readouterr().out
    assert sorted(tmp_path.rglob("*.json")) == before


@pytest.mark.parametrize("method", ["bitfit", "norm_tuning", "head", "lora"])
def test_an_adapter_saved_then_answers_alike(method):
    found = saved.load(MADE / method).answer(ANSWERS["sources"])
    assert found == pytest.approx(ANSWERS[method], rel=1e-4)


@pytest.mark.parametrize("method", ["bitfit", "lora"])
def test_a_record_of_then_and_one_of_now_have_the_same_choices(method):
    then = Record.from_json((MADE / method / "cell.json").read_text())
    changed = {"bitfit": [], "lora": ["method.rank=2", "method.targets=[query,value]"]}[method]
    now = choices_of(cell_of([f"method={method}", *WORDS[1:-1], *changed]))
    assert now["method"].keys().isdisjoint({"_target_"})
    assert now["task"]["data"]["name"] == "lattice"
    assert "_target_" in then.config["method"]
    assert choices(now) == then.choices
    assert (run_id(now), training_id(now)) == (then.run_id, training_id(then.config))


def composed_again(record):
    """Give a shipped record's cell as the configurations of today compose it."""
    names = {noun: f"{noun}={record.config[noun]['name']}" for noun in ("task", "method", "backbone", "budget")}
    keys = ("phase", "trial", "until", "fraction", "seed_sample", "seed_init", "seed_order", "size", "size_of")
    rest = [f"{key}={record.config[key]}" for key in keys if record.config.get(key) is not None]
    return choices_of(cell_of([*names.values(), f"seed={record.seed}", *rest]))


def test_a_shipped_record_of_every_task_and_every_method_is_named_as_today():
    records = list(shipped("*", "*"))
    assert [r.run_id for r in records if run_id(r.config) != r.run_id] == []
    tuned = {(r.task, r.method): r for r in records if r.config.get("trial")}
    tasks, methods = ({getattr(r, noun) for r in records} for noun in ("task", "method"))
    assert len(tasks) == 5
    assert len(methods) >= 8
    chosen = {r.task: r for r in tuned.values()} | {r.method: r for r in records}
    assert [r.run_id for r in chosen.values() if run_id(composed_again(r)) != r.run_id] == []


@pytest.mark.slow
def test_every_shipped_record_is_named_as_today():
    assert [r.run_id for r in shipped("*", "*") if run_id(composed_again(r)) != r.run_id] == []


def test_every_shipped_trial_is_drawn_today():
    for r in shipped("*", "*"):
        for knob, value in draw(r.method, node("method", r.method)["search"], r.trial).items():
            recorded = r.config["method"]
            for part in knob.split("."):
                recorded = recorded[part]
            assert recorded == value, (r.run_id, knob)


def test_every_name_that_was_ever_recorded_is_still_there():
    """A name that is dropped would leave records that nothing can read."""
    configs = Path(__file__).parents[1] / "configs"
    for group in ("task", "method", "backbone", "budget", "data"):
        assert recorded_classes()[group].keys() <= {file.stem for file in (configs / group).glob("*.yaml")}


def foreign(tmp_path, changes):
    shutil.copytree(MADE / "bitfit", tmp_path / "adapter")
    record = Record.from_json((tmp_path / "adapter" / "cell.json").read_text())
    for (noun, key), value in changes.items():
        record.config[noun][key] = value
    (tmp_path / "adapter" / "cell.json").write_text(record.to_json())
    return tmp_path / "adapter"


@pytest.mark.parametrize("noun", ["task", "method", "backbone", "budget"])
def test_a_class_that_the_registry_never_had_is_refused_and_not_imported(noun, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = foreign(tmp_path, {(noun, "_target_"): "stranger.Class"})
    with pytest.raises(InputError, match=f"{noun}._target_: 'stranger.Class' is unknown here"):
        saved.load(folder)
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(("noun", "key"), [("task", "description"), ("method", "lr"), ("backbone", "tag")])
def test_a_class_inside_a_value_is_refused_and_not_imported(noun, key, tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    inner = {"_target_": "stranger.Class"}
    for number, value in enumerate((inner, {"deep": [inner]})):
        folder = foreign(tmp_path / str(number), {(noun, key): value})
        with pytest.raises(InputError, match=f"{noun}.{key}: names a class"):
            saved.load(folder)
    assert "stranger" not in sys.modules


def test_a_name_of_another_version_is_refused(tmp_path):
    folder = foreign(tmp_path, {("method", "name"): "newer", ("method", "_target_"): None})
    with pytest.raises(InputError, match="method 'newer' is unknown here"):
        saved.load(folder)


def test_reading_records_imports_no_class():
    code = (
        "import sys; from benchmark.identity import run_id; from benchmark.records import Record; "
        f"r = Record.from_json(open({str(MADE / 'bitfit' / 'cell.json')!r}).read()); "
        "assert run_id(r.config) == r.run_id; "
        "assert not [m for m in sys.modules if m.startswith(('benchmark.methods', 'tasks', 'torch', 'hydra'))]"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1]).returncode == 0
