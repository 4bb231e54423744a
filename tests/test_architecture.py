"""The shape of the code: who may import whom, where values live, and that every pair of the grid is decided."""

import ast
import dataclasses
import functools
import re
import sys
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from benchmark.config.build import build
from benchmark.config.compose import cell_of
from benchmark.types import Kind

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
NOUNS = ("task", "method", "backbone", "budget", "data")
FILES = sorted(CONFIGS / noun / f.name for noun in NOUNS for f in (CONFIGS / noun).glob("*.yaml"))
METHODS = sorted(f.stem for f in (CONFIGS / "method").glob("*.yaml"))
TASKS = sorted(f.stem for f in (CONFIGS / "task").glob("*.yaml"))
CARD = ["What", "Where from", "Licence", "Splits", "What is measured", "Known limits", "Audit"]

TYPES = {"benchmark.errors", "benchmark.types", "benchmark.cell"}
RECORDED = {"benchmark.errors", "benchmark.identity", "benchmark.records"}
# Module or room -> all of ours that it may import beside itself; the most exact line counts.
MAY = {
    "benchmark.errors": set(),
    "benchmark.identity": set(),
    "benchmark.records": {"benchmark.errors", "benchmark.identity"},
    "benchmark.types": TYPES,  # of the cell the type alone
    "benchmark.cell": TYPES,
    "benchmark.backbones": TYPES,
    "benchmark.backbones.roles": {"benchmark.errors"},
    "benchmark.backbones.hub": {"benchmark.errors"},
    "benchmark.methods": {
        *TYPES,
        "benchmark.backbones.roles",
        "benchmark.backbones.blocks",
        "benchmark.engine.optimiser",
    },
    "benchmark.methods.native": TYPES,
    "benchmark.config": {*TYPES, *RECORDED, "benchmark.engine.optimiser"},
    "benchmark.config.trials": RECORDED,
    "benchmark.engine": {*TYPES, *RECORDED, "benchmark.backbones.blocks"},
    "benchmark.saved": {*TYPES, *RECORDED, "benchmark.config.build", "benchmark.engine.batches"},
    "benchmark.sweeps": {*TYPES, *RECORDED, "benchmark.config", "benchmark.engine", "benchmark.saved"},
    "benchmark.sweeps.screen": RECORDED,
    "benchmark.status": {*TYPES, *RECORDED, "benchmark.config", "benchmark.sweeps"},
    "benchmark.audit": {*TYPES, "benchmark.config", "benchmark.engine.data"},
    # what it probes is every network's own class
    "benchmark.capabilities": {
        *TYPES,
        "benchmark.backbones",
        "benchmark.config",
        "benchmark.engine.progress",
        "benchmark.engine.train",
        "benchmark.methods.peft_types",
    },
    "benchmark.report": {*RECORDED, "benchmark.config.trials"},
    "benchmark.report.facts": {"benchmark.errors"},
    "benchmark.compare": {*RECORDED, "benchmark.report"},
    "benchmark.advise": {*TYPES, *RECORDED, "benchmark.config", "benchmark.report"},
    "benchmark.importer": {"benchmark.errors", "benchmark.report.facts", "benchmark.report.quoted"},
    "tasks": {*TYPES, "benchmark.backbones.hub"},
}
CONCRETE = ("benchmark.methods", "benchmark.backbones", "tasks")
SHARED = {"benchmark.backbones.roles", "benchmark.backbones.blocks", "benchmark.backbones.hub"}  # of every network
TARGETS = {  # what a configuration names
    name for file in CONFIGS.rglob("*.yaml") for name in re.findall(r"_target_: (\S+)", file.read_text())
}


def modules():
    """Give every module of ours by its dotted name."""
    found = {}
    for top in ("benchmark", "tasks"):
        for file in sorted((ROOT / top).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = modules()


@functools.cache  # hundreds of tests ask about every file
def imports(file):
    """List what a file imports, within functions and for type checkers too; a submodule by its full name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & MODULES.keys()) or {node.module}
    return found


def ours(file):
    return {name for name in imports(file) if name.partition(".")[0] in ("benchmark", "tasks", "scripts", "tests")}


def within(name, folders):
    return any(name == folder or name.startswith(f"{folder}.") for folder in folders)


def rule(module):
    lines = [line for line in MAY if within(module, [line])]
    return MAY[max(lines, key=len)] if lines else None


@pytest.mark.parametrize("module", [m for m in MODULES if rule(m) is not None])
def test_imports_point_one_way(module):
    own = max((line for line in MAY if within(module, [line])), key=len)
    wrong = {name for name in ours(MODULES[module]) if not within(name, {own, *rule(module)})}
    assert wrong == set()


def test_every_module_but_the_entry_point_has_a_rule():
    assert [m for m in MODULES if rule(m) is None] == ["benchmark", "benchmark.run"]


def test_the_rules_speak_of_modules_that_exist():
    assert {line for line in MAY if line not in MODULES and not any(m.startswith(f"{line}.") for m in MODULES)} == set()


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_the_entry_point(module):
    assert "benchmark.run" not in ours(MODULES[module])


@pytest.mark.parametrize("module", [m for m in MODULES if not within(m, (*CONCRETE, "benchmark.capabilities"))])
def test_the_core_names_no_concrete_task_method_or_backbone(module):
    assert {name for name in ours(MODULES[module]) - SHARED if within(name, CONCRETE)} == set()


@pytest.mark.parametrize("module", sorted({target.rpartition(".")[0] for target in TARGETS} - {"benchmark.types"}))
def test_a_concrete_class_is_known_to_a_target_alone(module):
    users = {m for m, file in MODULES.items() if module in ours(file)}
    family = ("benchmark.methods",) if within(module, ["benchmark.methods"]) else ("benchmark.capabilities",)
    assert {m for m in users if not within(m, family)} == set()


@pytest.mark.parametrize("module", ["benchmark.records.record", "benchmark.records.store", "benchmark.identity"])
def test_records_need_the_standard_library_alone(module):
    others = {name.partition(".")[0] for name in imports(MODULES[module])} - {"benchmark"}
    assert others - set(sys.stdlib_module_names) == set()


def test_a_report_reaches_neither_torch_nor_the_loop():
    reached, todo = set(), [m for m in MODULES if within(m, ["benchmark.report"])]
    while todo:
        module = todo.pop()
        if module not in reached:
            reached.add(module)
            todo += [name for name in imports(MODULES[module]) if name in MODULES]
    assert "benchmark.records" in reached
    assert (
        not {"benchmark.engine.train", "benchmark.engine.runner", "benchmark.types", "benchmark.config.build"} & reached
    )
    outside = {name.partition(".")[0] for m in reached for name in imports(MODULES[m])}
    assert not {"torch", "transformers", "peft", "hydra"} & outside


def test_no_file_is_called_utils():
    assert [
        f for f in ROOT.rglob("utils.py") if f.relative_to(ROOT).parts[0] in ("benchmark", "tasks", "scripts")
    ] == []
    assert not (ROOT / "tests" / "utils.py").exists()


def nodes(content):
    """Find every node with a _target_, nested ones included."""
    if isinstance(content, dict):
        yield from [content] if "_target_" in content else []
        for value in content.values():
            yield from nodes(value)


def named(path):
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", [*FILES, *sorted((CONFIGS / "pretrain").glob("*.yaml"))], ids=named)
def test_yaml_keys_are_the_fields_and_no_field_has_a_default_of_its_own(path):
    found = list(nodes(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    assert found
    for node in found:
        fields = dataclasses.fields(get_class(node["_target_"]))
        assert sorted(node.keys() - {"_target_"}) == sorted(f.name for f in fields)
        defaults = (dataclasses.MISSING, dataclasses.MISSING)
        assert [f.name for f in fields if (f.default, f.default_factory) != defaults] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_configured_class_is_frozen_and_keyword_only(path):
    for node in nodes(OmegaConf.to_container(OmegaConf.load(path), resolve=False)):
        target = get_class(node["_target_"])
        assert target.__dataclass_params__.frozen
        assert all(f.kw_only for f in dataclasses.fields(target))


HOME = {  # what data needs beside it: a task that reads such
    "tasks.image_files": "medical_images",
    "tasks.embedded.histology": "medical_images",
    "tasks.protein_files": "protein",
    "tasks.embedded.evolution": "protein",
    "tasks.audio_files": "speech",
    "tasks.embedded.commands": "speech",
    "tasks.embedded.cldr": "nmt",
}


def blanks(path, prefix):
    """Fill in what a configuration leaves to the user."""

    def missing(node, name):
        if isinstance(node, dict):
            return [key for part, value in node.items() for key in missing(value, f"{name}.{part}")]
        return [name] if node == "???" else []

    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    return dict.fromkeys(missing(content, prefix), "given.csv")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_choice_composes_to_a_cell(path, tiny_causal):
    group, node = path.parent.name, next(nodes(OmegaConf.to_container(OmegaConf.load(path), resolve=False)))
    words = {"task": "text_generation", "method": "lora", "backbone": "llama_docstrings", "data": "toy"}
    if group == "data":
        words["task"] = HOME.get(node["_target_"].rpartition(".")[0], "text_generation")
    if group == "task":
        own = OmegaConf.load(path).defaults[0]["override /data"]
        words = {"method": "lora", "task": path.stem} | blanks(CONFIGS / "data" / f"{own}.yaml", "data")
    else:
        words |= {group: path.stem} | blanks(path, group)
    if path.stem == "image_table":  # where valid and test come from is the user's choice
        words["data.columns.split"] = "split"
    if "backbone.checkpoint" in words:
        words["backbone.checkpoint"] = tiny_causal
    cell = cell_of([f"{key}={value}" for key, value in words.items()])
    if group == "data":
        chosen = cell.task.data
    else:
        chosen = getattr(cell, group)
        assert cell.names[group] == path.stem
    assert f"{type(chosen).__module__}.{type(chosen).__qualname__}" == node["_target_"]
    assert chosen.description == node["description"]


@pytest.mark.parametrize("task", TASKS)
def test_every_task_brings_its_own_data_and_backbone(task):
    file = OmegaConf.to_container(OmegaConf.load(CONFIGS / "task" / f"{task}.yaml"), resolve=False)
    overrides = {key: value for entry in file["defaults"] for key, value in entry.items()}
    own = CONFIGS / "data" / f"{overrides['override /data']}.yaml"
    composed = cell_of([f"task={task}", "method=lora", *(f"{k}={v}" for k, v in blanks(own, "data").items())])
    assert composed.names["backbone"] == overrides["override /backbone"]
    assert composed.task.data.description == OmegaConf.load(own).description
    assert composed.backbone.reads == composed.task.reads
    assert set(composed.backbone.kinds) & set(composed.task.kinds)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_card_and_it_has_every_section(task):
    card = (CONFIGS / "task" / f"{task}.md").read_text(encoding="utf-8")
    first, *sections = re.split(r"^## ", card, flags=re.MULTILINE)
    assert first.strip() == f"# {task}"
    assert [section.partition("\n")[0] for section in sections] == CARD
    assert [section for section in sections if not section.partition("\n")[2].strip()] == []


@pytest.fixture(scope="module")
def backbones(tiny_causal, tiny_seq2seq):
    folders = {"causal_lm": tiny_causal, "seq2seq": tiny_seq2seq}
    made = {}
    for kind, folder in folders.items():
        node = OmegaConf.to_container(OmegaConf.load(CONFIGS / "backbone" / f"{kind}.yaml"))
        made[kind] = build(node | {"checkpoint": str(folder)}, "backbone")
    return made


def test_a_backbone_of_a_kind_that_the_task_lacks_is_refused_by_name(backbones, monkeypatch):
    composed = cell_of(["task=nmt", "method=lora"])
    monkeypatch.setattr(type(composed.task), "kinds", (Kind.SEQ2SEQ,))
    names = {"task": "nmt", "method": "lora", "backbone": "causal_lm"}
    assert dataclasses.replace(composed, backbone=backbones["seq2seq"]).conflict() is None
    refused = dataclasses.replace(composed, backbone=backbones["causal_lm"], names=names)
    assert refused.conflict() == "task nmt needs a seq2seq backbone, causal_lm is causal_lm"
