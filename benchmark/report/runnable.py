"""Which methods can run on which backbone, by the table of capabilities."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from benchmark.config import registry
from benchmark.config.registry import ROOT

STORED = ROOT / "benchmark" / "backbones"  # the embedded checkpoints lie there
ANSWERS = {  # class of a backbone -> those of its kinds of answer by which the table knows its networks
    "transformer.CausalLM": "causal_lm",
    "transformer.Seq2Seq": "seq2seq",
    "text.TextEncoder": "classify multilabel regress",
    "text.TextDecoder": "classify multilabel",
    "vision.VisionEncoder": "classify regress",
    "protein.ProteinEncoder": "classify regress tag",
    "speech.Speech": "classify regress tag ctc",
    "speech.SpeechToText": "seq2seq",
}


@dataclass(frozen=True)
class Capable:
    """What a method can do on the networks that a backbone may be."""

    runs: bool
    merges: bool
    reason: str  # of a refusal


def names(noun: str) -> list[str]:
    """List the names in a folder of configurations."""
    return registry.names(noun)


@cache
def described(noun: str, name: str) -> Mapping[str, Any]:
    """Read the configuration of a task or backbone.

    The default backbone of a task stands under "backbone".
    """
    node = registry.node(noun, name)
    return node | {"backbone": registry.defaults(name)["backbone"]} if noun == "task" else node


def domain(backbone: str) -> str:
    """Name the kind of input that a backbone reads, by the module of its class."""
    module = described("backbone", backbone)["_target_"].split(".")[-2]
    return "text" if module == "transformer" else module


def alike(task: str, others: set[str]) -> list[str]:
    """Sort tasks that read the same input, those of the same kind first."""
    wanted = described("task", task)
    network = described("backbone", wanted["backbone"])["_target_"]
    near = []
    for other in sorted(others & set(names("task")) - {task}):
        offered = described("task", other)
        backbone = described("backbone", offered["backbone"])["_target_"]
        if backbone.split(".")[-2] == network.split(".")[-2]:
            near.append((offered["_target_"] != wanted["_target_"], backbone != network, other))
    return [other for *_, other in sorted(near)]


@cache
def table() -> dict[str, dict[str, dict[str, str]]]:
    """Read the capabilities: network -> method -> its row."""
    by_network: dict[str, dict[str, dict[str, str]]] = {}
    for path in registry.capability_tables():
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            by_network.setdefault(row["network"], {})[row["method"]] = row
    return by_network


def networks(backbone: str) -> list[str]:
    """Name the probed networks that a backbone may be.

    Several where the user chooses the checkpoint.
    """
    wanted = answer_kinds(backbone)
    known = [name for name, rows in table().items() if wanted in {row["kinds"] for row in rows.values()}]
    if architecture := registry.fact("backbone", backbone, "architecture"):
        known = [name for name in known if name.split()[0] == architecture] or known
    alike = [other for other in names("backbone") if answer_kinds(other) == wanted]
    others = [other for other in alike if domain(other) != domain(backbone)]  # the same answers to another input
    foreign = {registry.fact("backbone", other, "architecture") for other in others}
    return [name for name in known if name.split()[0] not in foreign]


def answer_kinds(backbone: str) -> str:
    """Name the kinds of answer by which the table knows a backbone's networks."""
    return ANSWERS[".".join(described("backbone", backbone)["_target_"].split(".")[-2:])]


def capable(backbone: str) -> dict[str, Capable]:
    """Return what each method can do on a backbone.

    It runs if it runs on every network that the backbone may be.
    """
    tables = [table()[network] for network in networks(backbone)]
    answers = {}
    for method in sorted({method for by_method in tables for method in by_method}):
        rows = [by_method[method] for by_method in tables if method in by_method]
        refused = [row["reason"] for row in rows if row["status"] != "runs"]
        # merging is a matter of the method: where one network is too small to tell, another says
        merges = any(by_method[method]["merges"] == "yes" for by_method in table().values() if method in by_method)
        answers[method] = Capable(not refused, merges, "".join(refused[:1]))
    return answers
