"""The table of a task and budget: scores, intervals and costs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.records import MARK, UNTRAINED, Record
from benchmark.records.configurations import Configuration, count_seeds
from benchmark.records.folds import fold_of, lacking
from benchmark.records.headline import FLOOR, NOT_ABOVE
from benchmark.report.costs import FP32, MEMORY, STEP, Cost, Costs
from benchmark.report.statistics.bootstrap import SCORES
from benchmark.report.statistics.samples import FEWEST
from benchmark.report.statistics.standings import REFERENCES, Standings
from benchmark.report.tables.table import ABSENT, Table, label, reasons, significant, states

COSTS = [
    "seeds", "trials", "trainable %", "without head %", "stored %", "step (ms)", "memory (MB)", "checkpoint (MB)",
]  # fmt: skip
BESIDE = (("test", "perplexity"), ("pretraining", "retention"))  # what stands beside the headline score
METHOD = (
    "Intervals and tests use Student's t. The variance between seeds is estimated from all methods of a comparison "
    "(empirical Bayes after limma, Smyth 2004); with fewer than four methods, each pair has its own. The test averages "
    "over the uncertainty of that variance. The variance over test examples comes from a paired bootstrap (1,000 "
    "draws) of groups (speakers, patients, parents, tiles), or of examples without groups."
)
PROPER = (
    " {}: a proper score of the same answers; lower is better. It has an interval, ties and differences as the "
    "headline score has."
)
LEGEND = (
    "Scores are those of the test splits: mean ± sample standard deviation over seeds. Higher is better, except for "
    "perplexity and where stated. "
    "95 %: confidence interval of the mean over seeds and test examples. With one seed it covers examples alone, "
    f"unless other methods show how seeds vary. {ABSENT} †: no interval, because answers are not stored. "
    f"{ABSENT} ‡: no interval, because the test examples form fewer than {FEWEST} groups. "
    "tied: settings that share a letter show no clear difference in a paired test over seeds and examples (Holm's "
    "correction over all pairs); they differ in their method alone. less lora, less full: mean difference from that "
    "method under the same conditions (of several settings, the one nearest to its defaults); * marks a clear "
    "difference after Holm's correction over the settings compared. These are fewer than all pairs, so a difference "
    "may be clear where a letter is shared. " + METHOD + " "
    "retention: loss on held-out pretraining data after training minus before; 0 means that nothing is forgotten. "
    "trainable %: share of the network's parameters, with a new head; without head %: the same without it. stored %: "
    "size of the adapter's file, counted in fp32 parameters. Costs are medians over seeds; 1 MB is a million bytes. "
    f"Memory is not known for runs that shared a process with earlier ones. {ABSENT}: not recorded."
)
APART = (
    " {}: from separate runs that measure costs (budget=cost, which has another number of examples a step). All other "
    "columns: from the runs that gave the scores."
)
RUNS = "runs"
FOLDS = (
    " x 5 folds: the score of a seed is the mean over its folds, and every example is in the test of one of them. Test "
    "examples of all folds are drawn together. Seeds that lack a fold are left out; a setting that lacks a fold is "
    "compared with none that has it."
)
UNLEARNT = f" {MARK} at least one seed is {UNTRAINED}."
UNDRAWN = " {}: † too, because no bootstrap over test examples is made for this score."
AT_FLOOR = f" {FLOOR} {NOT_ABOVE}: that of most training examples scores as much or more."
SHARED = " ≤: an upper bound, measured beside other work on the machine."


def table(
    name: str,
    groups: Sequence[Configuration],
    standing: Standings | None = None,
    costs: Costs | None = None,
    proper: Standings | None = None,
) -> Table:
    """Lay out a row per configuration, with headline and proper score."""
    standing, proper, costs = standing or {}, proper or {}, costs or Costs()
    splits = sorted({split for g in groups for r in g.done for split, _ in r.finals if split.startswith("test")})
    others = [column for column in BESIDE if any(g.values(*column) for g in groups)]
    columns = [(split, None) for split in splits] + others
    named = [f"{split} {name or _headline(groups, split)}".removeprefix("pretraining ") for split, name in columns]
    values = [[g.values(split, name or g.metric(split) or "") for g in groups] for split, name in columns]
    scores = [_aligned(column) for column in values]
    sure = [_Stands("", standing, _decimals(values[0]) if values else 0), *_proper(groups, proper)]
    headers = [*named[:1], *(column for one in sure for column in one.header()), *named[1:]]
    result = Table(name, ["backbone", "weights", "method", *headers, *COSTS], legend=LEGEND)
    priced = list(zip(costs.of(groups, STEP), costs.of(groups, MEMORY), strict=True))
    known = [cost for pair in priced for cost in pair if cost]
    result.legend += "".join(PROPER.format(one.name) for one in sure[1:])
    result.legend += _apart(priced) + SHARED * any(cost.shared for cost in known)
    result.legend += explain_marks(groups) + FOLDS * any(group.folds for group in groups)
    if (metric := _headline(groups, "test")) not in (*SCORES, "score"):
        result.legend += UNDRAWN.format(metric)
    for row, group in enumerate(groups):
        beside = [cell for one in sure for cell in one.cells(row, group, result)]
        cells = [
            *(column[row] + group.marks for column in scores[:1]),
            *beside,
            *(column[row] for column in scores[1:]),
        ]
        ended = _outcome(group, cells, priced[row], result)
        result.rows.append([group.backbone, group.weights, label(group, result), *ended])
    return result


def explain_marks(groups: Iterable[Configuration]) -> str:
    """Explain the marks that stand behind scores."""
    marks = "".join(group.marks for group in groups)
    return UNLEARNT * (MARK in marks) + AT_FLOOR * (FLOOR in marks)


def _headline(groups: Sequence[Configuration], split: str) -> str:
    """Name the score that all settings show of a split."""
    metrics = {metric for group in groups if (metric := group.metric(split))}
    return metrics.pop() if len(metrics) == 1 else "score"


def _apart(priced: Sequence[Sequence[Cost | None]]) -> str:
    """Write which costs come from runs that measure costs."""
    columns = zip(("step", "memory"), zip(*priced, strict=True), strict=False)
    names = " and ".join(name for name, costs in columns if any(cost and cost.apart for cost in costs))
    return APART.format(names.capitalize()) if names else ""


def _outcome(group: Configuration, scores: list[str], costs: Sequence[Cost | None], result: Table) -> list[str]:
    """Fill the cells after the name: numbers, or why there are none."""
    if not group.done and group.records:
        return [f"{states(group)} {''.join(map(result.note, reasons(group)))}"] + [""] * (len(scores) + len(COSTS) - 1)
    seeds = count_seeds(group) if group.records else ABSENT
    if lost := [r for r in group.records if r.status != "done"]:
        seeds += f" of {len(group.records)}" + f" {RUNS}" * bool(group.folds)
    notes = [f"{_named(r)} {r.status}: {r.reason or 'no reason given'}" for r in lost] + lacking(group.done)
    seeds += " " * bool(notes) + "".join(map(result.note, notes))
    step, memory = (cost_cell(cost, unit) for cost, unit in zip(costs, (1e3, 1e-6), strict=True))
    stored = group.values("cost", "checkpoint_bytes")
    size = significant(statistics.median(stored) * 1e-6) if stored else ABSENT
    machines = costs[0].machines if costs[0] else ()
    many = " " + result.note(f"costs from different machines: {', '.join(machines)}") if len(machines) > 1 else ""
    trials = {r.data["selected"]["trials"] for r in group.done if "selected" in r.data}
    tuned = "/".join(map(str, sorted(trials))) or ABSENT
    return [*scores, seeds, tuned, *_shares(group), step + many, memory, size]


def _named(run: Record) -> str:
    fold = fold_of(run)
    return f"seed {run.seed}" if fold is None else f"seed {run.seed}, fold {fold}"


@dataclass(frozen=True)
class _Stands:
    """The columns of interval, ties and differences of one score."""

    name: str  # of a proper score
    standing: Standings
    decimals: int
    scores: Sequence[str] = ()  # a proper score's cells

    def compared(self) -> list[str]:
        """Name the methods that others are compared with."""
        return [m for m in REFERENCES if any(m in s.versus for s in self.standing.values())]

    def header(self) -> list[str]:
        """Name the columns."""
        columns = ["95 %", "tied", *(f"less {method}" for method in self.compared())]
        return [f"test {self.name}", *(f"{self.name} {column}" for column in columns)] if self.name else columns

    def cells(self, row: int, group: Configuration, result: Table) -> list[str]:
        """Write interval, ties and differences of a configuration."""
        score, standing = list(self.scores[row : row + 1]), self.standing.get(group)
        if standing is None:
            return score + [ABSENT] * (2 + len(self.compared()))
        low, high = standing.estimate.low, standing.estimate.high
        interval = ABSENT if low is None or high is None else f"{low:.{self.decimals}f} to {high:.{self.decimals}f}"
        interval += " †" * (not standing.estimate.examples) + " ‡" * standing.estimate.few
        why = f" {result.note(standing.undecided)}" if standing.undecided else ""
        distances = [standing.versus.get(method) for method in self.compared()]
        less = [f"{d.estimate.value:+.{self.decimals}f}{'*' * d.clear}" if d else ABSENT for d in distances]
        return [*score, interval, (standing.tied or ABSENT) + why, *less]


def _proper(groups: Sequence[Configuration], standing: Standings) -> list[_Stands]:
    """Give the columns of the proper score, none where no run has it."""
    name = next((proper for group in groups if (proper := group.proper())), "")
    values = [group.values("test", name) for group in groups]
    return [_Stands(name, standing, _decimals(values), _aligned(values))] if any(values) else []


def _aligned(column: list[list[float]]) -> list[str]:
    """Write the means of a column with equal decimals."""
    decimals = _decimals(column)
    return [_spread(values, decimals) for values in column]


def _decimals(column: list[list[float]]) -> int:
    return 2 if max((abs(value) for values in column for value in values), default=0) >= 10 else 4


def _spread(values: list[float], decimals: int) -> str:
    if not values:
        return ABSENT
    shown = [statistics.fmean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]
    return " ± ".join(f"{v:.{decimals}f}" if abs(v) < 1e6 else f"{v:.2e}" for v in shown)


def _shares(group: Configuration) -> list[str]:
    """Return percentages of the network: trained, without head, stored."""
    trained, head, stored, total = (
        statistics.median(values) if (values := group.values("cost", name)) else None
        for name in ("trainable_params", "head_params", "checkpoint_bytes", "params")
    )
    counts = (trained, None if trained is None else trained - (head or 0), None if stored is None else stored / FP32)
    return [significant(100 * count / total) if total and count is not None else ABSENT for count in counts]


def cost_cell(cost: Cost | None, unit: float) -> str:
    """Write a cost in another unit; one measured beside others is an upper bound."""
    return ABSENT if cost is None else f"{'≤' * cost.shared}{significant(cost.value * unit)}"
