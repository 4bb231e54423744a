"""Tables of the runs that were made to measure costs: what a step, an answer and memory take; no scores."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmark.report.costs import MEMORY, STEP, unsteady
from benchmark.report.groups import Group
from benchmark.report.tables import ABSENT, Table, label, significant

REFERENCE = "full"  # what a step is told in shares of
COLUMNS = {  # heading -> measurement, what it is multiplied by
    "step (ms)": (STEP, 1e3),
    "examples per s": ("examples_per_second", 1.0),
    "answer (ms)": ("predict_seconds_per_example", 1e3),
    "merged answer (ms)": ("predict_seconds_per_example_merged", 1e3),
    "memory, training (MB)": ("train_peak_memory_bytes", 1e-6),
    "memory, answering (MB)": ("predict_peak_memory_bytes", 1e-6),
    "checkpoint (MB)": ("checkpoint_bytes", 1e-6),
}
LEGEND = (
    "What training and answering cost, median over seeds, of runs made to measure it; a note says of which others were "
    "at work on the machine, as far as their records know. step: of training, forward to optimizer; step, full = 1: in "
    "shares of full fine-tuning's. answer: of one example, in batches; a longer text takes longer. merged: with the "
    "adapter merged into the network. Memory on a CPU is what the process grew by, the network among it; 1 MB is a "
    f"million bytes. Scores of so few steps mean nothing and are not shown. {ABSENT}: not recorded."
)
OVERVIEW = (
    "What training takes, median over seeds, of runs made to measure it; the table of each task says beside what. "
    "step, full = 1: of training, forward to optimizer, in shares of full fine-tuning's. memory: the "
    "peak of a whole run; on a CPU what the process grew by, the network among it; 1 MB is a million bytes. "
    f"{ABSENT}: not recorded."
)


def costs(name: str, groups: Sequence[Group]) -> Table:
    """Lay out a row per setting of one task."""
    header = ["backbone", "weights", "method", "seeds", "trained", "step, full = 1", *COLUMNS]
    table = Table(name, header, legend=LEGEND)
    whole = {g.backbone: step for g in groups if g.method == REFERENCE and (step := _median(g, STEP))}
    for group in groups:
        named = [group.backbone, group.weights, label(group, table)]
        if not group.done:
            table.rows.append([*named, *_lost(group, table), *[""] * (len(header) - 4)])
            continue
        step, share = _median(group, STEP), whole.get(group.backbone)
        trained = _median(group, "trainable_params")
        beside = " " + table.note("beside other work on the machine") if any(r.busy for r in group.done) else ""
        found = [_cell(group, measurement, unit) for measurement, unit in COLUMNS.values()]
        count = ABSENT if trained is None else f"{trained:,.0f}"
        relative = significant(step / share) if step and share else ABSENT
        table.rows.append([*named, f"{len(group.done)}{beside}", count, relative, *found])
    if where := "; ".join(sorted({_where(group) for group in groups if group.done})):
        table.legend += f" Measured with {where}."
    _doubt(table, {heading: [g.values("cost", name) for g in groups] for heading, (name, _) in COLUMNS.items()})
    return table


def overview(name: str, tasks: Mapping[str, Sequence[Group]]) -> Table:
    """Cross methods with tasks: how long a step takes in shares of full fine-tuning's, and peak memory."""
    table = Table(name, ["method"], legend=OVERVIEW, words=1)
    columns: list[dict[str, list[str]]] = []
    measured: dict[str, Sequence[Sequence[float]]] = {}
    for task, groups in tasks.items():
        for backbone in sorted({g.backbone for g in groups}):
            mine = [g for g in groups if g.backbone == backbone and g.records]
            several = f" {backbone}" if len({g.backbone for g in groups}) > 1 else ""
            table.header += [f"{task}{several} step, full = 1", f"{task}{several} memory (MB)"]
            whole = next((g for g in mine if g.method == REFERENCE and _median(g, STEP)), None)
            columns.append({label(g, table): _pair(g, whole and _median(whole, STEP)) for g in mine})
            shares = [_shares(g, whole) for g in mine if g is not whole] if whole else []
            memory = [g.values("cost", MEMORY) for g in mine]
            measured |= dict(zip(table.header[-2:], (shares, memory), strict=True))
    for method in sorted({method for column in columns for method in column}):
        table.rows.append([method, *(cell for column in columns for cell in column.get(method, [ABSENT, ""]))])
    _doubt(table, measured)
    return table


def _doubt(table: Table, columns: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Add to the legend by how much the measurements of one setting differ: no cell could bear its mark."""
    told = []
    for heading, settings in columns.items():
        if found := unsteady(settings):
            middle, most = (f"{100 * share:.0f} %" for share in (statistics.median(found), max(found)))
            told.append(f"{heading} by {middle} ({most})")
    if told:
        table.legend += f" The seeds of one setting differ, median over settings (at most): {'; '.join(told)}."


def _shares(group: Group, whole: Group) -> list[float]:
    """Divide each seed's step by that of the reference with the same seed."""
    steps, others = ({r.seed: r.value("cost", STEP) for r in g.done} for g in (group, whole))
    return [step / other for seed, step in steps.items() if step and (other := others.get(seed))]


def _pair(group: Group, whole: float | None) -> list[str]:
    if not group.done:
        return [" or ".join(sorted({record.status for record in group.records})), ""]
    step = _median(group, STEP)
    return [significant(step / whole, 2) if step and whole else ABSENT, _cell(group, MEMORY, 1e-6)]


def _median(group: Group, name: str) -> float | None:
    values = group.values("cost", name)
    return statistics.median(values) if values else None


def _cell(group: Group, name: str, unit: float) -> str:
    value = _median(group, name)
    return ABSENT if value is None else significant(value * unit)


def _lost(group: Group, table: Table) -> list[str]:
    states = " or ".join(sorted({record.status for record in group.records})) or ABSENT
    why = dict.fromkeys(f"{r.status}: {r.reason or 'no reason given'}" for r in group.records)
    return [" ".join([states, *(table.note(reason) for reason in why)])]


def _where(group: Group) -> str:
    """Say what a step was, and on what machine."""
    record = group.done[0]
    budget, machine = record.config.get("budget") or {}, record.environment
    threads = f"{machine['threads']} threads" if "threads" in machine else None
    step = f"{budget.get('batch_size', 'an unknown number of')} examples a step"
    return ", ".join(filter(None, (step, budget.get("precision"), machine.get("device_name"), threads)))
