"""Configurations: their keys are fields, and every choice builds."""

import dataclasses
import functools
import re
from pathlib import Path

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from benchmark.config.build import build
from benchmark.config.compose import cell_of
from benchmark.identity import FACTS
from benchmark.types import Kind

pytestmark = pytest.mark.usefixtures("undrawn")

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
NOUNS = ("task", "method", "backbone", "budget", "data")
FILES = sorted(CONFIGS / noun / f.name for noun in NOUNS for f in (CONFIGS / noun).glob("*.yaml"))
TASKS = sorted(f.stem for f in (CONFIGS / "task").glob("*.yaml"))
CARD = ["What", "Where from", "Licence", "Splits", "What is measured", "Known limits", "Audit"]


def nodes(content):
    """Find every node with a _target_, nested ones included."""
    if isinstance(content, dict):
        yield from [content] if "_target_" in content else []
        for value in content.values():
            yield from nodes(value)


@functools.cache
def content(path):
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)


def test_yaml_keys_are_the_fields_and_no_field_has_a_default_of_its_own():
    defaults = (dataclasses.MISSING, dataclasses.MISSING)
    for path in [*FILES, *sorted((CONFIGS / "pretrain").glob("*.yaml"))]:
        found = list(nodes(content(path)))
        assert found, path
        for node in found:
            fields = dataclasses.fields(get_class(node["_target_"]))
            assert sorted(node.keys() - {"_target_", *FACTS}) == sorted(f.name for f in fields), path
            assert [f.name for f in fields if (f.default, f.default_factory) != defaults] == [], path


def test_every_configured_class_is_frozen_and_keyword_only():
    for path in FILES:
        for target in (get_class(node["_target_"]) for node in nodes(content(path))):
            assert target.__dataclass_params__.frozen, path
            assert all(f.kw_only for f in dataclasses.fields(target)), path


def filled(node):
    """Fill in what a configuration leaves to the user or to its task."""
    if isinstance(node, dict):
        return {key: filled(value) for key, value in node.items()}
    if str(node).startswith("fetched/"):  # where another command puts a folder
        return "embedded/esm_lattice"
    known = {"???": "given.csv", "${task.target_language}": "si"}
    sizes = dict.fromkeys(("${task.size}", "${oc.select:data.natural_size,null}"), 20)
    return {**known, **sizes}.get(str(node), node)


def chosen_by(task):
    """Name the data and the backbone that a task brings."""
    data, backbone = content(CONFIGS / "task" / f"{task}.yaml")["defaults"]
    return data["override /data"], backbone["override /backbone"]


def node_of(noun, name):
    """Read a choice from its file alone, without Hydra."""
    node = content(CONFIGS / noun / f"{name}.yaml")
    return node["task"] if noun == "task" else node


def built(noun, name):
    node = filled(node_of(noun, name))
    if noun == "task":
        node |= {"data": built("data", chosen_by(name)[0])}
    if name == "image_table":  # where valid and test come from is the user's choice
        node["columns"]["split"] = "split"
    return build(node, noun)


def test_every_choice_builds_the_class_that_it_names():
    for path in FILES:
        node, made = node_of(path.parent.name, path.stem), built(path.parent.name, path.stem)
        assert f"{type(made).__module__}.{type(made).__qualname__}" == node["_target_"], path
        assert made.description == node["description"], path


def test_every_task_brings_its_own_data_and_a_backbone_that_suits_it():
    for task in TASKS:
        assert (CONFIGS / "task" / f"{task}.yaml").read_text().startswith("# @package _global_\n"), task
        made, backbone = built("task", task), built("backbone", chosen_by(task)[1])
        assert backbone.reads == made.reads, task
        assert set(backbone.kinds) & set(made.kinds), task


COMPOSED = [  # through Hydra: a task of each domain, and one other choice of each noun
    "task=nmt",
    "task=e2e_nlg",
    "task=medical_images",
    "task=protein",
    "task=speech",
    "task=text_generation method=houlsby",
    "task=text_generation data=toy",
    "task=text_generation backbone=gpt2_medium",
    "task=text_generation budget=cost",
    "task=medical_images data=image_table data.train=given.csv data.columns.split=split",
]


@pytest.mark.parametrize("words", COMPOSED)
def test_a_composed_cell_has_the_choices_of_its_words_and_of_its_task(words):
    given = dict(word.split("=") for word in words.split())
    data, backbone = chosen_by(given["task"])
    cell = cell_of([*words.split(), *([] if "method" in given else ["method=lora"])])
    expected = {"data": data, "backbone": backbone, "method": "lora", "budget": "standard"} | given
    assert cell.names == {noun: expected[noun] for noun in NOUNS if noun in cell.names}
    for noun in ("task", "method", "backbone", "budget"):
        assert getattr(cell, noun).description == node_of(noun, expected[noun])["description"]
    assert cell.task.data.description == node_of("data", expected["data"])["description"]


def test_every_task_has_a_card_and_it_has_every_section():
    for task in TASKS:
        card = (CONFIGS / "task" / f"{task}.md").read_text(encoding="utf-8")
        first, *sections = re.split(r"^## ", card, flags=re.MULTILINE)
        assert first.strip() == f"# {task}"
        assert [section.partition("\n")[0] for section in sections] == CARD, task
        assert [section for section in sections if not section.partition("\n")[2].strip()] == [], task


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
