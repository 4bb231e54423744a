"""The documentation page of the methods, made from the registry and the table of capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.capabilities.networks import NETWORKS
from benchmark.capabilities.probe import Capability, method_of
from benchmark.config.compose import names_in
from benchmark.methods.peft_types import LEFT_OUT
from benchmark.types import Category, Method

HEAD = """# Methods

Made by `python -m benchmark.capabilities` from `configs/method/` and `results/capabilities.csv`; do not edit.

Categories are those of Han et al. 2024 (arXiv 2403.14608). *merges*: into the bare network's own weights, at no cost
when predicting. *looks*: sees training batches before the first step. *departs*: the network, once attached, is not the
bare one. The learning rate is the default, in the geometric middle of the range that tuning draws from, before the
backbone's own factor. No rate of a method moves a new head: it learns at `backbone.head_lr`
([how it was chosen](head_learning_rate.md)).
"""
LEGEND = """● runs, · is refused; the reasons stand in the table. Where a method's default sizes are larger than a tiny
network, it was tried with smaller ones, so that the answer is that of the architecture. Whether the default ones suit a
checkpoint is decided when it is run: `road` and `vblora` are refused where a width is no multiple of 64.
"""
MARKS = {"runs": "●", "refused": "·"}


def page(rows: Sequence[Capability]) -> str:
    """Write the page in Markdown."""
    methods = {name: method_of(name) for name in names_in("method")}
    parts = [HEAD]
    for category in Category:
        parts.append(
            f"## {category.capitalize()}\n\n{listing({n: m for n, m in methods.items() if m.category == category})}"
        )
    left = "".join(f"- {name}: {why}.\n" for name, why in sorted(LEFT_OUT.items()))
    parts.append(f"## Left out\n\nTypes of Hugging Face PEFT that make no sense here:\n\n{left}")
    parts.append(f"## Where they run\n\n{LEGEND}\n{grid(rows)}")
    parts.append(f"## Why not\n\n{reasons(rows)}")
    return "\n".join(parts)


def listing(methods: dict[str, Method]) -> str:
    """Describe each method in a row."""
    lines = ["| method | what it is | lr (range) | further knobs | merges | looks | departs |", "|" + " :-- |" * 7]
    for name, method in methods.items():
        lr = method.search.get("lr")
        ranged = f"{method.lr:g} ({lr['low']:g} to {lr['high']:g})" if lr else f"{method.lr:g}"
        knobs = ", ".join(knob for knob in method.search if knob != "lr")
        flags = ["yes" if flag else "" for flag in (method.mergeable, method.calibrates)]
        cells = [f"`{name}`", method.description, ranged, knobs, *flags, method.departs or ""]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def grid(rows: Sequence[Capability]) -> str:
    """Cross methods with architectures."""
    status = {(row.method, row.network): row.status for row in rows}
    methods = list(dict.fromkeys(row.method for row in rows))
    lines = ["| method | " + " | ".join(NETWORKS) + " |", "| :-- |" + " :-: |" * len(NETWORKS)]
    for method in methods:
        marks = [MARKS.get(status.get((method, network), ""), "?") for network in NETWORKS]
        lines.append(f"| `{method}` | " + " | ".join(marks) + " |")
    return "\n".join(lines) + "\n"


def reasons(rows: Sequence[Capability]) -> str:
    """Give every reason once, with the methods and architectures that it holds for."""
    found: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.reason:
            found.setdefault(row.reason, {}).setdefault(row.method, []).append(row.network)
    lines = ["| reason | method | on |", "| :-- | :-- | :-- |"]
    for reason, methods in found.items():
        names = ", ".join(f"`{name}`" for name in methods)
        networks = ", ".join(dict.fromkeys(n for each in methods.values() for n in each))
        lines.append(f"| {reason.replace('|', '/')} | {names} | {networks} |")
    return "\n".join(lines) + "\n"
