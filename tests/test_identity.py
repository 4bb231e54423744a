"""Identity: altering any field that changes a computation changes run_id."""

import copy
import dataclasses
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from benchmark.config.compose import cell_of, choices_of
from benchmark.identity import run_id

CONFIGS = Path(__file__).parents[1] / "configs"
NOUNS = ("task", "method", "backbone", "budget", "data")
HEADS = ("backbone", "head_lr")
# words for people, ranges for a tuner, the knob of a solver, what was measured of a task, how choices came about
UNCHOSEN = {"description", "search", "sized_by", "across_processors", "notes", "headline"}
UNCHOSEN |= {"category", "paper", "formula", "architecture", "facts", "natural_size"}  # what is known of a name


def changed(value):
    """Give another value of the same kind; in place of none, any."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value} and other"
        case dict():
            return {"other": 1}
        case None:
            return 3
    return ["other"]


def leaves(node, path=()):
    """Find every value in dataclasses, dictionaries and lists, but what is no choice."""
    if dataclasses.is_dataclass(node):
        node = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    if isinstance(node, dict) and node:
        return [leaf for key, value in node.items() if key not in UNCHOSEN for leaf in leaves(value, (*path, key))]
    if isinstance(node, list | tuple) and node:
        return [leaf for i, value in enumerate(node) for leaf in leaves(value, (*path, i))]
    return [path]


def altered(node, path):
    """Copy a node with another value at the end of a path, unchecked."""
    twin, (*parents, last) = copy.deepcopy(node), path
    inner = twin
    for key in parents:
        inner = getattr(inner, key) if dataclasses.is_dataclass(inner) else inner[key]
    if dataclasses.is_dataclass(inner):
        object.__setattr__(inner, last, changed(getattr(inner, last)))
    else:
        inner[last] = changed(inner[last])
    return twin


@pytest.mark.parametrize("words", ["nmt lora", "protein houlsby", "speech diff_pruning", "medical_images vpt_deep"])
def test_every_field_of_a_cell_is_part_of_its_name(words):
    task, method = words.split()
    cell = cell_of([f"task={task}", f"method={method}"])
    asked = cell.task.kinds  # the rate of a head of another kind is no choice
    paths = [path for path in leaves(cell) if path[:2] != HEADS or {*path[2:]} & {*asked}]
    paths.remove(("names", "data"))  # data is known by its class and its fields, under whatever name
    assert {field.name for field in dataclasses.fields(cell)} - UNCHOSEN == {path[0] for path in paths}
    names = {path: run_id(choices_of(altered(cell, path))) for path in paths}
    assert [path for path in paths if names[path] == run_id(choices_of(cell))] == []
    assert len(set(names.values())) == len(paths)  # no two changes are taken for each other


@pytest.mark.parametrize("noun", NOUNS)
def test_every_key_of_every_configuration_names_another_cell(noun):
    for file in sorted((CONFIGS / noun).glob("*.yaml")):
        content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
        paths = leaves({noun: content})
        whole = run_id({noun: content})
        assert paths
        same = [path for path in paths if run_id(altered({noun: content}, path)) == whole]
        assert same == [], file.name


def test_what_is_said_to_people_tuners_and_solvers_is_no_choice():
    cell = cell_of(["task=nmt", "method=lora"])
    method = dataclasses.replace(cell.method, description="other", search={}, sized_by=None)
    other = dataclasses.replace(cell, method=method, notes={"explicit": ["rank"]})
    assert run_id(choices_of(other)) == run_id(choices_of(cell))
