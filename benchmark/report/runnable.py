"""Which methods can run where: the probed table of capabilities, and which of its networks a backbone is."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.report import facts

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "results" / "capabilities.csv"
STORED = ROOT / "benchmark" / "backbones"  # the embedded checkpoints lie there
ANSWERS = {  # class of a backbone -> the kinds of answer by which the table knows its networks
    "transformer.CausalLM": "causal_lm",
    "transformer.Seq2Seq": "seq2seq",
    "vision.VisionEncoder": "classify regress",
    "protein.ProteinEncoder": "classify regress tag",
    "speech.Speech": "classify regress tag ctc",
}
SPELT = {"m2m_100": "nllb", "vision_transformer": "vit", "swin_transformer": "swin"}  # in names of checkpoints


@dataclass(frozen=True)
class Capable:
    """What the table says of a method on the networks that a backbone may be."""

    runs: bool
    merges: bool
    reason: str  # of a refusal


def names(noun: str) -> list[str]:
    """List what a folder of configurations offers."""
    return sorted(file.stem for file in (ROOT / "configs" / noun).glob("*.yaml"))


@cache
def described(noun: str, name: str) -> Mapping[str, Any]:
    """Read the configuration of a task or backbone; of a task, its own backbone stands under that key."""
    content = facts.read(ROOT / "configs" / noun / f"{name}.yaml")
    if noun != "task":
        return content
    chosen = {key: value for entry in content["defaults"] for key, value in entry.items()}
    return content["task"] | {"backbone": chosen["override /backbone"]}


def domain(backbone: str) -> str:
    """Name the module that backbones which read the same share."""
    return described("backbone", backbone)["_target_"].split(".")[-2]


def alike(task: str, others: set[str]) -> list[str]:
    """Sort tasks that read the same input, those of the same kind first."""
    mine = described("task", task)
    own = described("backbone", mine["backbone"])["_target_"]
    near = []
    for other in sorted(others & set(names("task")) - {task}):
        its = described("task", other)
        backbone = described("backbone", its["backbone"])["_target_"]
        if backbone.split(".")[-2] == own.split(".")[-2]:
            near.append((its["_target_"] != mine["_target_"], backbone != own, other))
    return [other for *_, other in sorted(near)]


@cache
def table() -> dict[str, dict[str, dict[str, str]]]:
    """Read the capabilities: network -> method -> its row."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    with TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["network"], {})[row["method"]] = row
    return found


def networks(backbone: str) -> list[str]:
    """Name the table's networks that a backbone may be: one, or several where the checkpoint is yours to give."""
    node = described("backbone", backbone)
    answers = ANSWERS[".".join(node["_target_"].split(".")[-2:])]
    known = [name for name, rows in table().items() if answers in {row["kinds"] for row in rows.values()}]
    checkpoint = node["checkpoint"]
    config = STORED / checkpoint / "config.json"
    if config.is_file():
        content = json.loads(config.read_text(encoding="utf-8"))
        words = content.get("model_type") or content.get("architecture")
    else:
        words = f"{backbone} {node['description']}" if checkpoint == "???" else checkpoint
    text = _letters(words)
    marks = {name: {_letters(name.split()[0]), _letters(SPELT.get(name, name.split()[0]))} for name in known}
    named = {name: max((m for m in marks[name] if m in text), key=len, default="") for name in known}
    # mt5 is no t5, though its name holds that
    longest = [n for n, m in named.items() if m and not any(m != other and m in other for other in named.values())]
    return longest or known


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def capable(backbone: str) -> dict[str, Capable]:
    """Say of every probed method whether it runs on a backbone: on each network that this may be."""
    places = [table()[network] for network in networks(backbone)]
    found = {}
    for method in sorted({method for place in places for method in place}):
        rows = [place[method] for place in places if method in place]
        refused = [row["reason"] for row in rows if row["status"] != "runs"]
        # merging is a matter of the method: where one network is too small to tell, another says
        merges = any(place[method]["merges"] == "yes" for place in table().values() if method in place)
        found[method] = Capable(not refused, merges, "".join(refused[:1]))
    return found
