"""A folder of plug-ins adds methods: a YAML, or a Python file and a YAML."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmark import run, saved, status
from benchmark.advise import __main__ as advise
from benchmark.audit import __main__ as audit
from benchmark.capabilities import __main__ as capabilities
from benchmark.config import registry
from benchmark.config.compose import cell_of, choices_of
from benchmark.config.usage import usage
from benchmark.errors import InputError
from benchmark.records import Record
from benchmark.report import __main__ as report
from benchmark.report import runnable
from benchmark.report.page import registry as shelf

ROOT = Path(__file__).parents[1]
MIRROR = """
_target_: benchmark.methods.hf_peft.Peft
description: Two chains of reflections.
category: reparameterised
paper: Mirror et al. 2031, arXiv 3101.00001
formula: "W H"
lr: 3e-3
search: {lr: {low: 6e-4, high: 1.5e-2}}
sized_by: rank
peft_type: HRA
targets: [attention]
rank: 2
options: {apply_GS: false}
facts: {wraps: [Conv2d]}
"""
SHIFT = """
_target_: added_shift.Shift
description: A vector behind every feed-forward.
category: additive
paper: Shift et al. 2032, arXiv 3201.00001
formula: "h + v"
lr: 1e-2
search: {lr: {low: 2e-3, high: 5e-2}}
sized_by: null
"""
MODULE = '''
"""Shift: a vector is added to what every feed-forward gives."""

from dataclasses import dataclass

import torch
from torch import nn

from benchmark.backbones import roles
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Native, Part, freeze


class Vector(Part):
    def __init__(self, width):
        super().__init__()
        self.values = nn.Parameter(torch.zeros(width))


def add_vector(module, _, h):
    return h + module.vector.values


@dataclass(frozen=True, kw_only=True)
class Shift(Native):
    """One vector per feed-forward."""

    def conflict(self, cell):
        return roles.refusal(cell.backbone.family, ["down"])

    def attach(self, model, cell):
        freeze(model)
        for module in modules_with(model, cell.backbone.family, ["down"]).values():
            module.vector = Vector(width_of(module)).to(module.weight)
            module.register_forward_hook(add_vector)
        return model
'''


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """Let no test know the plug-ins of another."""
    monkeypatch.setattr(registry, "_folders", registry._folders)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.startswith("added_"):
            del sys.modules[name]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "mine"
    (place / "configs" / "method").mkdir(parents=True)
    (place / "configs" / "method" / "mirror.yaml").write_text(MIRROR)
    (place / "configs" / "method" / "shift.yaml").write_text(SHIFT)
    (place / "added_shift.py").write_text(MODULE)
    return place


def test_nothing_is_there_unless_it_is_named(folder):
    assert "shift" not in registry.names("method")
    with pytest.raises(InputError, match="method=shift: no such method"):
        cell_of(["method=shift", "task=protein"])
    assert registry.use([f"plugins={folder}", "task=protein"]) == ["task=protein"]
    assert {"shift", "mirror"} <= {*registry.names("method")}
    assert "A vector behind every feed-forward (Shift et al. 2032, arXiv 3201.00001)." in usage()


@pytest.mark.slow
def test_a_method_of_a_plug_in_runs_is_recorded_by_name_and_answers(folder, tmp_path, capsys):
    words = ["task=protein", "budget=smoke", "budget.steps=2", "budget.max_test=4", "device=cpu", f"plugins={folder}"]
    words.append(f"results={tmp_path}")
    assert run.main(["method=shift", *words, f"save={tmp_path / 'saved'}"]) == 0
    record = Record.from_json((tmp_path / "saved" / "cell.json").read_text())
    assert record.config["method"]["name"] == "shift"
    assert "_target_" not in record.config["method"]
    assert len(saved.load(tmp_path / "saved", plugins=folder).answer(["ACDE", "MKVL"])) == 2
    assert run.main(["-m", "method=shift,mirror", *words]) == 0
    assert status.main(["method=shift,mirror", *words]) == 0
    capsys.readouterr()
    assert run.main(["-m", "method=shift,mirror", *words]) == 0
    assert "2 cells: 2 done; 0 to run" in capsys.readouterr().out


def test_an_adapter_of_a_plug_in_is_refused_without_it(folder, tmp_path):
    words = ["method=shift", "task=protein", f"plugins={folder}"]
    config = choices_of(cell_of(words))
    record = Record(
        run_id="0", task="protein", method="shift", backbone="esm_lattice", seed=0, status="done", config=config
    )
    (tmp_path / "cell.json").write_text(record.to_json())
    code = f"from benchmark import saved; saved.load({str(tmp_path)!r})"
    refused = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "method 'shift' is unknown here: a method of another version, or one for plugins=DIR" in refused.stderr


def test_capabilities_advice_and_page_know_them(folder, monkeypatch):
    monkeypatch.setattr(capabilities, "NETWORKS", {name: capabilities.NETWORKS[name] for name in ("llama", "esm")})
    tracked = capabilities.TABLE.read_bytes(), capabilities.PAGE.read_bytes()
    assert capabilities.main([f"plugins={folder}"]) == 0
    assert (capabilities.TABLE.read_bytes(), capabilities.PAGE.read_bytes()) == tracked
    assert "| `shift` | A vector behind every feed-forward (Shift" in (folder / "methods.md").read_text()
    runnable.table.cache_clear()
    try:
        assert runnable.capable("esm_lattice")["shift"].runs
        assert runnable.capable("esm_lattice")["mirror"].merges
        assert not runnable.capable("esm_lattice")["shift"].merges
    finally:
        runnable.table.cache_clear()
    shown = shelf.method("shift", shelf.capabilities(ROOT / "results"))
    assert (shown.category, shown.arxiv, shown.formula) == ("additive", "3201.00001", "h + v")
    assert shown.runs_on() == ["llama", "esm"]


@pytest.mark.slow
def test_they_pass_the_gate(folder):
    pairs = "mirror-llama or shift-esm"
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", f"--added={folder}", "-k", pairs]
    shown = subprocess.run([*command, "tests/test_gate.py"], cwd=ROOT, capture_output=True, text=True).stdout
    assert " passed" in shown, shown[-2000:]
    assert "failed" not in shown, shown[-2000:]


def refused(folder):
    with pytest.raises(InputError) as error:
        registry.add(folder)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"plugins={folder}: ")


def test_what_cannot_be_added_is_refused_in_one_line(folder, tmp_path):
    before = registry._folders, list(sys.path)
    assert refused(tmp_path / "nowhere") == "no folder with configs/ inside"
    (folder / "configs" / "metod").mkdir()
    assert refused(folder).startswith("configs/metod: no such group; did you mean method?")
    (folder / "configs" / "metod").rmdir()
    taken = folder / "configs" / "method" / "lora.yaml"
    taken.write_text(MIRROR)
    assert refused(folder) == "method=lora is taken, choose another name"
    taken.unlink()
    (folder / "json.py").write_text("")
    assert refused(folder) == "a module json exists elsewhere, choose another name"
    (folder / "json.py").unlink()
    (folder / "added_broken.py").write_text("import no_such_thing\n")
    assert refused(folder) == (
        "added_broken.py cannot be imported (ModuleNotFoundError: No module named 'no_such_thing')"
    )
    assert (registry._folders, list(sys.path)) == before
    (folder / "added_broken.py").unlink()
    registry.add(folder)
    registry.add(folder)  # a second time is no other
    assert len(registry.plugins()) == 1


@pytest.mark.parametrize("command", [run, status, report, advise, capabilities, audit], ids=lambda m: m.__name__)
def test_every_command_refuses_a_folder_that_is_not_there(command, tmp_path, capsys):
    words = ["task=protein", "method=lora"] if command in (run, status, advise, audit) else []
    assert command.main([*words, f"plugins={tmp_path / 'nowhere'}"]) == 2
    assert "no folder with configs/ inside" in capsys.readouterr().err
