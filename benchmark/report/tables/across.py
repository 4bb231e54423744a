"""Tables over all tasks of a budget: ranks, and their certainty."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmark.report.statistics import ranks as over
from benchmark.report.statistics.estimates import Needed, estimate, needed, split
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.ranks import Outcomes, Rank, TaskScores
from benchmark.report.statistics.standings import REFERENCES
from benchmark.report.tables.table import ABSENT, Table, significant

POINTS = dict.fromkeys(  # of 100; of others a hundredth
    ("bleu", "chrf", "chrf++", "exact_match", "extracted_match", "rouge_l"), 1.0
)

RANKING = (
    "mean rank: over all tasks, among the methods that have a score on each of them; 1 is best. 95 %: confidence "
    "interval over seeds and test examples of these tasks; it does not cover other tasks. against lora, against full: "
    "number of tasks on which the method is clearly better / without a clear difference / clearly worse (paired test, "
    "Holm's correction within a task). gain: 0 is the head alone, or the frozen network where no head is new; 1 is "
    f"full fine-tuning; above 1 is better than that. {ABSENT}: no score, or full fine-tuning is not clearly above 0. "
    "Unlike metrics are never averaged."
)
CERTAINTY = (
    "What explains the differences between scores. method, seed, rest: shares of the variance (two-way analysis of "
    "variance over the seeds that every method has; 0 % where chance alone explains as much). half width: half the "
    "95 % interval, median over methods. told apart: pairs of methods with a clear difference (paired test, Holm's "
    "correction over all pairs). seeds for a point: seeds with which a paired test on these test examples finds a "
    "difference of 1 BLEU, or of 0.01 in other metrics, in four of five tries; none: these examples are too few, with "
    "any number of seeds. examples for a point: examples that would be needed with any number of seeds. Both hold for "
    "two methods that vary as the methods here do on average."
)


def ranking(budget: str, scores: Sequence[TaskScores], ranks: Mapping[str, Rank]) -> Table:
    """Lay out a row per method, best mean rank first."""
    gains = {task.task: over.gains(task) for task in scores}
    against = {name: outcomes for name in REFERENCES if (outcomes := over.outcomes(scores, name))}
    header = ["method", "tasks", "mean rank", "95 %", *(f"against {name}" for name in against)]
    table = Table(_name("ranking", budget), [*header, *(f"gain {task}" for task in gains)], legend=RANKING, names=1)
    methods = sorted({method for task in scores for method in task.samples})
    for method in sorted(methods, key=lambda m: (ranks[m].mean if m in ranks else math.inf, m)):
        rank = ranks.get(method)
        cells = [method, str(sum(method in task.samples for task in scores))]
        cells += [f"{rank.mean:.1f}", f"{rank.low:.1f} to {rank.high:.1f}"] if rank else [ABSENT] * 2
        cells += [_outcomes(outcomes.get(method)) for outcomes in against.values()]
        cells += [f"{gain[method]:.2f}" if method in gain else ABSENT for gain in gains.values()]
        table.rows.append(cells)
    for task in scores:
        if task.unclear:
            table.note(f"left out on {task.task}, because they have several settings there: {', '.join(task.unclear)}")
        if task.several:
            chosen = "the setting nearest to the defaults stands for each method with several"
            table.note(f"on {task.task} {chosen}: {', '.join(task.several)}")
    return table


def _outcomes(outcomes: Outcomes | None) -> str:
    return f"{outcomes.win} / {outcomes.tie} / {outcomes.loss}" if outcomes else ABSENT


def certainty(budget: str, scores: Sequence[TaskScores], evidence: Evidence) -> Table:
    """Lay out a row per task: the share of the seed in the variance."""
    header = ["task", "backbone", "metric", "methods", "method", "seed", "rest", "half width", "told apart"]
    header += ["seeds for a point", "test examples", "examples for a point"]
    table = Table(_name("certainty", budget), header, legend=CERTAINTY)
    for task in scores:
        if len(task.samples) > 1:
            named = [task.task, task.backbone, task.metric(), str(len(task.samples))]
            table.rows.append([*named, *_certainty(task, evidence)])
    return table


def _certainty(task: TaskScores, evidence: Evidence) -> list[str]:
    shares = split(task.samples)
    intervals = {method: estimate(sample) for method, sample in task.samples.items()}
    halves = [(e.high - e.low) / 2 for e in intervals.values() if e.low is not None and e.high is not None]
    tested = {method: sample for method, sample in task.samples.items() if intervals[method].low is not None}
    return [
        *(f"{100 * shares[part]:.0f} %" if shares else ABSENT for part in ("method", "seed", "rest")),
        significant(statistics.median(halves)) if halves else ABSENT,
        _distinguished(evidence.ties(tested)) if len(tested) > 1 else ABSENT,
        *_needed(needed(task.samples, POINTS.get(task.metric(), 0.01)), task),
    ]


def _needed(needs: Needed | None, task: TaskScores) -> list[str]:
    sizes = sorted({str(sample.size) for sample in task.samples.values() if sample.size})
    if needs is None:
        return [ABSENT, " or ".join(sizes) or ABSENT, ABSENT]
    return [str(needs.seeds or "none"), " or ".join(sizes), f"{needs.examples:,}"]


def _distinguished(letters: Mapping[str, str]) -> str:
    pairs = [(one, other) for one in letters for other in letters if one < other]
    apart = sum(not set(letters[one]) & set(letters[other]) for one, other in pairs)
    return f"{apart} of {len(pairs)}"


def _name(what: str, budget: str) -> str:
    return "_".join(filter(None, (what, budget)))
