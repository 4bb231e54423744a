"""Page of the methods, made from the registry and the table of capabilities."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.capabilities.networks import NETWORKS
from benchmark.capabilities.probe import Capability, method_of
from benchmark.config import registry
from benchmark.types import Category

HEAD = """# Methods

Made by `python -m benchmark.capabilities` from `configs/method/` and `results/capabilities.csv`; do not edit.

Categories are those of Han et al. 2024 (arXiv 2403.14608). *merges*: into the weights of the bare network, at no cost
when predicting. *reads data*: reads training batches before the first step. *starts changed*: why the network, once the
method is attached, answers otherwise than the bare one. The learning rate is the default, the geometric middle of the
range that tuning draws from, before `backbone.lr_scale`. A new head learns at `backbone.head_lr` under every method
([how it was chosen](head_learning_rate.md)).
"""
LEGEND = """\
● runs, · is refused; the reasons are in the table below. If the default sizes of a method are too large for a tiny
network, smaller ones were tried, so the answer is that of the architecture. Whether the default sizes fit a
checkpoint is checked when it is run: `road` and `vblora` are refused where a width is no multiple of 64.
"""
LEFT_OUT = {  # types of Hugging Face PEFT without a method: why
    "CARTRIDGE": "prefix tuning whose keys and values begin as those of a text; its own is the distillation of that "
    "text, which is no task here",
    "MULTITASK_PROMPT_TUNING": "shares a prompt among the tasks of one run; a cell has one task, and with one it is "
    "prompt tuning times a rank-one matrix",
    "POLY": "shares skills among the tasks of one run; a cell has one task",
    "XLORA": "mixes LoRA adapters that are already trained; a cell begins without any",
}
MARKS = {"runs": "●", "refused": "·"}


def page(rows: Sequence[Capability], known: Sequence[str]) -> str:
    """Write the page of these methods in Markdown."""
    parts = [HEAD]
    for category in Category:
        names = [name for name in known if registry.fact("method", name, "category") == category]
        parts.append(f"## {category.capitalize()}\n\n{listing(names)}")
    left = "".join(f"- {name}: {why}.\n" for name, why in sorted(LEFT_OUT.items()))
    parts.append(f"## Left out\n\nTypes of Hugging Face PEFT that make no sense here:\n\n{left}")
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
    """Give every reason once, with the methods and architectures that it holds for."""
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
