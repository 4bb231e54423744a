"""Page docs/methods.md, made from the registry and the table of capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.capabilities.networks import NETWORKS
from benchmark.capabilities.probe import Capability, method_of
from benchmark.config import registry
from benchmark.types import Category

HEAD = """# Methods

Made by `python -m benchmark.capabilities` from `configs/method/` and `results/capabilities.csv`; do not edit.

Categories are those of Han et al. 2024 (arXiv 2403.14608). *merges*: the adapter can be merged into the weights of the
bare network, and then costs nothing when predicting. *reads data*: the method reads training batches before the first
step. *starts changed*: why attaching the method changes the network's answers before training. The learning rate is the
default, the geometric mean of the tuning range, before `backbone.lr_scale`. A new head learns at `backbone.head_lr`
under every method ([how it was chosen](head_learning_rate.md)).
"""
LEGEND = """\
● runs, · is refused for a reason in the table below. The networks are tiny: a method whose default sizes are too large
for them was tried with smaller ones, so that the mark holds for the architecture. Whether the default sizes fit a
checkpoint is checked when it is run: `road` and `vblora` are refused where a width is no multiple of 64.
"""
LEFT_OUT = {  # types of Hugging Face PEFT without a method, and why
    "CARTRIDGE": "prefix tuning that starts from the keys and values of a text, to distil that text, which is no task "
    "here",
    "MULTITASK_PROMPT_TUNING": "shares a prompt among the tasks of one run; a cell has one task, for which this is "
    "prompt tuning times a rank-one matrix",
    "POLY": "shares skills among the tasks of one run; a cell has one task",
    "XLORA": "mixes trained LoRA adapters; a cell starts without any",
}
MARKS = {"runs": "●", "refused": "·"}


def page(rows: Sequence[Capability], known: Sequence[str]) -> str:
    """Write the page of these methods in Markdown."""
    parts = [HEAD]
    for category in Category:
        names = [name for name in known if registry.fact("method", name, "category") == category]
        parts.append(f"## {category.capitalize()}\n\n{listing(names)}")
    types_left_out = "".join(f"- {name}: {why}.\n" for name, why in sorted(LEFT_OUT.items()))
    parts.append(f"## Left out\n\nTypes of Hugging Face PEFT without a method here:\n\n{types_left_out}")
    parts.append(f"## Where they run\n\n{LEGEND}\n{grid(rows)}")
    parts.append(f"## Why not\n\n{reasons(rows)}")
    return "\n".join(parts)


def listing(names: Sequence[str]) -> str:
    """Describe each method in a row."""
    descriptions = registry.descriptions("method")
    lines = [
        "| method | what it is | lr (range) | further knobs | merges | reads data | starts changed |",
        "|" + " :-- |" * 7,
    ]
    for name in names:
        method = method_of(name)
        lr = method.search.get("lr")
        ranged = f"{method.lr:g} ({lr['low']:g} to {lr['high']:g})" if lr else f"{method.lr:g}"
        knobs = ", ".join(knob for knob in method.search if knob != "lr")
        flags = ["yes" if flag else "" for flag in (method.mergeable, method.calibrates)]
        cells = [f"`{name}`", descriptions[name], ranged, knobs, *flags, method.changes_output_at_init or ""]
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
    """List every reason once, with its methods and architectures."""
    grouped: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        if row.reason:
            grouped.setdefault(row.reason, {}).setdefault(row.method, []).append(row.network)
    lines = ["| reason | method | on |", "| :-- | :-- | :-- |"]
    for reason, methods in grouped.items():
        names = ", ".join(f"`{name}`" for name in methods)
        networks = ", ".join(dict.fromkeys(n for each in methods.values() for n in each))
        lines.append(f"| {reason.replace('|', '/')} | {names} | {networks} |")
    return "\n".join(lines) + "\n"
