"""Tables over all tasks of a budget: who ranks where, and how sure that is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from benchmark.report import domains
from benchmark.report.domains import Board, Rank
from benchmark.report.evidence import Evidence
from benchmark.report.standings import REFERENCES
from benchmark.report.statistics import Needed, estimate, needed, split
from benchmark.report.tables import ABSENT, Table, significant

POINTS = {"bleu": 1.0}  # one point on a metric's scale; on the others, that end at 1, a hundredth

RANKING = (
    "mean rank: over the tasks, 1 is best, among the methods that have a score on every one of them; 95 %: over seeds "
    "and test examples of these tasks, not over other tasks. Against lora and full: tasks where a method is clearly "
    "above / not told apart / clearly below (paired as in the tasks' tables, Holm's correction within a task). gain: "
    "0 is the head alone, or the frozen network where no head is new, 1 is full fine-tuning; beyond 1 it is better "
    f"than that. {ABSENT}: no score, or, of a gain, full fine-tuning is not clearly above 0. No mean over unlike "
    "metrics is shown."
)
CERTAINTY = (
    "What the order of methods rests on. share of method, seed, rest: of the variance of scores (components of a "
    "two-way analysis of variance over the seeds that every method has; 0 % where chance alone does as much). half "
    "width: median over methods of half the 95 % interval. told apart: pairs that a paired test tells apart (Holm's "
    "correction over all pairs). seeds for a point: with which a paired test finds a difference of 1 BLEU, or of 0.01 "
    "in other metrics, in four of five tries on this test set, between two methods that vary as here do on average; "
    "none: with any number of seeds these test examples are too few. examples for a point: as many would be needed "
    "with any number of seeds."
)


def ranking(budget: str, boards: Sequence[Board], ranks: Mapping[str, Rank]) -> Table:
    """Lay out a row per method, best mean rank first."""
    gains = {board.task: domains.gains(board) for board in boards}
    against = {name: found for name in REFERENCES if (found := domains.outcomes(boards, name))}
    header = ["method", "tasks", "mean rank", "95 %", *(f"against {name}" for name in against)]
    table = Table(_named("ranking", budget), [*header, *(f"gain {task}" for task in gains)], legend=RANKING, words=1)
    methods = sorted({method for board in boards for method in board.samples})
    for method in sorted(methods, key=lambda m: (ranks[m].mean if m in ranks else math.inf, m)):
        rank = ranks.get(method)
        shown = [f"{rank.mean:.1f}", f"{rank.low:.1f} to {rank.high:.1f}"] if rank else [ABSENT] * 2
        told = [_outcomes(found.get(method)) for found in against.values()]
        placed = [f"{of[method]:.2f}" if method in of else ABSENT for of in gains.values()]
        table.rows.append([method, str(sum(method in b.samples for b in boards)), *shown, *told, *placed])
    for board in boards:
        if board.unclear:
            table.note(f"left out on {board.task}, since they have several settings there: {', '.join(board.unclear)}")
        if board.several:
            told = "the setting as it is shipped stands for methods with several"
            table.note(f"on {board.task} {told}: {', '.join(board.several)}")
    return table


def _outcomes(found: domains.Outcomes | None) -> str:
    return f"{found.win} / {found.tie} / {found.loss}" if found else ABSENT


def certainty(budget: str, boards: Sequence[Board], evidence: Evidence) -> Table:
    """Lay out a row per task: what the seed does beside the method."""
    header = ["task", "backbone", "metric", "methods", "method", "seed", "rest", "half width", "told apart"]
    header += ["seeds for a point", "test examples", "examples for a point"]
    table = Table(_named("certainty", budget), header, legend=CERTAINTY)
    for board in boards:
        if len(board.samples) > 1:
            metric = _metric(board)
            table.rows.append(
                [board.task, board.backbone, metric, str(len(board.samples)), *_sure(board, metric, evidence)]
            )
    return table


def _sure(board: Board, metric: str, evidence: Evidence) -> list[str]:
    shares = split(board.samples)
    shown = [f"{100 * shares[part]:.0f} %" if shares else ABSENT for part in ("method", "seed", "rest")]
    intervals = {method: estimate(sample) for method, sample in board.samples.items()}
    halves = [(e.high - e.low) / 2 for e in intervals.values() if e.low is not None and e.high is not None]
    tested = {method: sample for method, sample in board.samples.items() if intervals[method].low is not None}
    return [
        *shown,
        significant(statistics.median(halves)) if halves else ABSENT,
        _told_apart(evidence.ties(tested)) if len(tested) > 1 else ABSENT,
        *_wanted(needed(board.samples, POINTS.get(metric, 0.01)), board),
    ]


def _wanted(found: Needed | None, board: Board) -> list[str]:
    sizes = sorted({str(sample.size) for sample in board.samples.values() if sample.size})
    if found is None:
        return [ABSENT, " or ".join(sizes) or ABSENT, ABSENT]
    return [str(found.seeds or "none"), " or ".join(sizes), f"{found.examples:,}"]


def _told_apart(letters: Mapping[str, str]) -> str:
    pairs = [(one, other) for one in letters for other in letters if one < other]
    apart = sum(not set(letters[one]) & set(letters[other]) for one, other in pairs)
    return f"{apart} of {len(pairs)}"


def _named(what: str, budget: str) -> str:
    return "_".join(filter(None, (what, budget)))


def _metric(board: Board) -> str:
    return next((name for group in board.groups.values() if (name := group.metric())), "score")
