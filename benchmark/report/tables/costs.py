"""Tables of runs that measure costs; they have no scores."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmark.records.configurations import Configuration, count_seeds
from benchmark.records.folds import fold_of
from benchmark.report.costs import MEMORY, STEP, unsteady
from benchmark.report.tables.table import ABSENT, Table, label, reasons, significant, states

REFERENCE = "full"  # a step is given in shares of its
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
    "Costs of training and answering, from runs that measure them (median over seeds). A note marks runs beside other "
    "work on the machine, as far as their records know. step: one training step, forward pass to optimizer; step, "
    "full = 1: relative to full fine-tuning. answer: one example, in batches; a longer text takes longer. merged: with "
    "the adapter merged into the network. Memory on a CPU is the growth of the process, network included; 1 MB is a "
    f"million bytes. So few steps give no meaningful scores; none are shown. {ABSENT}: not recorded."
)
OVERVIEW = (
    "Costs of training, from runs that measure them (median over seeds). The table of each task names other work on "
    "the machine. step, full = 1: one training step, forward pass to optimizer, relative to full fine-tuning. memory: "
    "the peak of a whole run; on a CPU the growth of the process, network included; 1 MB is a million bytes. "
    f"{ABSENT}: not recorded."
)


def costs(name: str, members: Sequence[Configuration]) -> Table:
    """Lay out a row per configuration of one task."""
    header = ["backbone", "weights", "method", "seeds", "trained", "step, full = 1", *COLUMNS]
    table = Table(name, header, legend=LEGEND)
    full = {one.backbone: step for one in members if one.method == REFERENCE and (step := _median(one, STEP))}
    for one in members:
        named = [one.backbone, one.weights, label(one, table)]
        if not one.done:
            lost = " ".join([states(one) or ABSENT, *map(table.note, reasons(one))])
            table.rows.append([*named, lost, *[""] * (len(header) - 4)])
            continue
        step, share = _median(one, STEP), full.get(one.backbone)
        trained = _median(one, "trainable_params")
        beside = " " + table.note("beside other work on the machine") if any(r.busy for r in one.done) else ""
        count = ABSENT if trained is None else f"{trained:,.0f}"
        relative = significant(step / share) if step and share else ABSENT
        cells = [_cell(one, measurement, unit) for measurement, unit in COLUMNS.values()]
        table.rows.append([*named, f"{count_seeds(one)}{beside}", count, relative, *cells])
    if machines := "; ".join(sorted({_machine(one) for one in members if one.done})):
        table.legend += f" Measured with {machines}."
    _add_spread(
        table, {heading: [one.values("cost", name) for one in members] for heading, (name, _) in COLUMNS.items()}
    )
    return table


def overview(name: str, tasks: Mapping[str, Sequence[Configuration]]) -> Table:
    """Cross methods with tasks: relative step time and peak memory."""
    table = Table(name, ["method"], legend=OVERVIEW, names=1)
    columns: list[dict[str, list[str]]] = []
    measured: dict[str, Sequence[Sequence[float]]] = {}
    for task, members in tasks.items():
        for backbone in sorted({one.backbone for one in members}):
            run = [one for one in members if one.backbone == backbone and one.records]
            several = f" {backbone}" if len({one.backbone for one in members}) > 1 else ""
            table.header += [f"{task}{several} step, full = 1", f"{task}{several} memory (MB)"]
            full = next((one for one in run if one.method == REFERENCE and _median(one, STEP)), None)
            columns.append({label(one, table): _pair(one, full and _median(full, STEP)) for one in run})
            shares = [_shares(one, full) for one in run if one is not full] if full else []
            memory = [one.values("cost", MEMORY) for one in run]
            measured |= dict(zip(table.header[-2:], (shares, memory), strict=True))
    for method in sorted({method for column in columns for method in column}):
        table.rows.append([method, *(cell for column in columns for cell in column.get(method, [ABSENT, ""]))])
    _add_spread(table, measured)
    return table


def _add_spread(table: Table, columns: Mapping[str, Sequence[Sequence[float]]]) -> None:
    """Add to the legend by how much the seeds of a configuration differ."""
    spreads = []
    for heading, values in columns.items():
        if shares := unsteady(values):
            middle, most = (f"{100 * share:.0f} %" for share in (statistics.median(shares), max(shares)))
            spreads.append(f"{heading} by {middle} ({most})")
    if spreads:
        table.legend += f" The seeds of one setting differ, median over settings (at most): {'; '.join(spreads)}."


def _shares(one: Configuration, full: Configuration) -> list[float]:
    """Divide each seed's step by that of the reference with the same seed."""
    steps, others = ({(r.seed, fold_of(r)): r.value("cost", STEP) for r in side.done} for side in (one, full))
    return [step / other for seed, step in steps.items() if step and (other := others.get(seed))]


def _pair(one: Configuration, full: float | None) -> list[str]:
    if not one.done:
        return [states(one), ""]
    step = _median(one, STEP)
    return [significant(step / full, 2) if step and full else ABSENT, _cell(one, MEMORY, 1e-6)]


def _median(one: Configuration, name: str) -> float | None:
    values = one.values("cost", name)
    return statistics.median(values) if values else None


def _cell(one: Configuration, name: str, unit: float) -> str:
    value = _median(one, name)
    return ABSENT if value is None else significant(value * unit)


def _machine(one: Configuration) -> str:
    """Write the size of a step, and the machine."""
    record = one.done[0]
    budget, machine = record.config.get("budget") or {}, record.environment
    threads = f"{machine['threads']} threads" if "threads" in machine else None
    step = f"{budget.get('batch_size', 'an unknown number of')} examples a step"
    return ", ".join(filter(None, (step, budget.get("precision"), machine.get("device_name"), threads)))
