"""Imports point one way, and nothing knows a concrete class."""

import ast
import functools
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
TYPES = {"benchmark.errors", "benchmark.types", "benchmark.cell"}
RECORDED = {"benchmark.errors", "benchmark.identity", "benchmark.records"}
COMMAND = {"benchmark.command"}  # how every command ends


# Module or room -> all of ours that it may import beside itself; the most exact line counts.
MAY = {
    "benchmark.errors": set(),
    "benchmark.command": {"benchmark.errors"},
    "benchmark.identity": set(),
    "benchmark.cache": set(),
    "benchmark.records": {"benchmark.errors", "benchmark.identity"},
    "benchmark.types": TYPES,  # of the cell the type alone
    "benchmark.cell": TYPES,
    "benchmark.backbones": {*TYPES, "benchmark.cache"},
    "benchmark.backbones.families": set(),
    "benchmark.backbones.roles": {"benchmark.errors", "benchmark.backbones.families"},
    "benchmark.backbones.hub": {"benchmark.errors"},
    "benchmark.methods": {
        *TYPES,
        "benchmark.backbones.roles",
        "benchmark.backbones.blocks",
        "benchmark.engine.optimiser",
        "benchmark.config.registry",
    },
    "benchmark.methods.native": TYPES,
    "benchmark.config": {*TYPES, *RECORDED, "benchmark.engine.optimiser"},
    "benchmark.config.registry": {"benchmark.errors", "benchmark.identity"},
    "benchmark.config.trials": RECORDED,
    "benchmark.engine": {*TYPES, *RECORDED, "benchmark.backbones.blocks"},
    "benchmark.saved": {
        *TYPES,
        *RECORDED,
        "benchmark.config.build",
        "benchmark.config.registry",
        "benchmark.engine.batches",
    },
    "benchmark.sweeps": {*TYPES, *RECORDED, "benchmark.config", "benchmark.engine", "benchmark.saved"},
    "benchmark.sweeps.screen": RECORDED,
    "benchmark.status": {*COMMAND, *TYPES, *RECORDED, "benchmark.config", "benchmark.sweeps"},
    "benchmark.audit": {*COMMAND, *TYPES, "benchmark.config", "benchmark.engine.data"},
    # what it probes is every network's own class
    "benchmark.capabilities": {
        *COMMAND,
        *TYPES,
        "benchmark.backbones",
        "benchmark.config",
        "benchmark.engine.progress",
        "benchmark.engine.train",
    },
    "benchmark.plan": {
        *COMMAND,
        *TYPES,
        *RECORDED,
        "benchmark.config",
        "benchmark.engine.optimiser",
        "benchmark.engine.train",
        "benchmark.sweeps.grid",
    },
    "benchmark.report": {*COMMAND, *RECORDED, "benchmark.config.registry", "benchmark.config.trials"},
    "benchmark.report.facts": {"benchmark.errors", "benchmark.config.registry"},
    "benchmark.compare": {*COMMAND, *RECORDED, "benchmark.report"},
    "benchmark.publish": {*COMMAND, *RECORDED, "benchmark.report"},
    "benchmark.advise": {*COMMAND, *TYPES, *RECORDED, "benchmark.config", "benchmark.plan", "benchmark.report"},
    "benchmark.cli": {*COMMAND, "benchmark.errors"},  # the verbs' modules are imported by name
    "benchmark.networks": {*COMMAND, "benchmark.cache", "benchmark.errors", "benchmark.identity", "benchmark.config"},
    "benchmark.importer": {*COMMAND, "benchmark.errors", "benchmark.report.facts", "benchmark.report.published.quoted"},
    "tasks": {*TYPES, "benchmark.backbones.hub", "benchmark.cache"},
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


@functools.cache  # every rule asks about every file
def imports(file):
    """List what a file imports, nested and for type checkers too."""
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


def test_imports_point_one_way():
    wrong = {}
    for module in MODULES:
        if (allowed := rule(module)) is not None:
            room = max((line for line in MAY if within(module, [line])), key=len)
            wrong[module] = {name for name in ours(MODULES[module]) if not within(name, {room, *allowed})}
    assert {module: names for module, names in wrong.items() if names} == {}


def test_every_module_but_the_entry_point_has_a_rule():
    assert [m for m in MODULES if rule(m) is None] == ["benchmark", "benchmark.run"]


def test_the_rules_speak_of_modules_that_exist():
    assert {line for line in MAY if line not in MODULES and not any(m.startswith(f"{line}.") for m in MODULES)} == set()


def test_nothing_imports_the_entry_point():
    assert [module for module, file in MODULES.items() if "benchmark.run" in ours(file)] == []


def test_the_core_names_no_concrete_task_method_or_backbone():
    core = [module for module in MODULES if not within(module, (*CONCRETE, "benchmark.capabilities"))]
    named = {(m, name) for m in core for name in ours(MODULES[m]) - SHARED if within(name, CONCRETE)}
    assert named == set()


def test_a_concrete_class_is_known_to_a_target_alone():
    concrete = {target.rpartition(".")[0] for target in TARGETS} - {"benchmark.types"}
    users = {(user, module) for module in concrete for user, file in MODULES.items() if module in ours(file)}
    family = {m: "methods" if within(m, ["benchmark.methods"]) else "capabilities" for m in concrete}
    assert {(u, module) for u, module in users if not within(u, [f"benchmark.{family[module]}"])} == set()


def test_records_need_the_standard_library_alone():
    for module in ("benchmark.records.record", "benchmark.records.store", "benchmark.identity"):
        others = {name.partition(".")[0] for name in imports(MODULES[module])} - {"benchmark"}
        assert others - set(sys.stdlib_module_names) == set(), module


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
