"""Tables over all tasks of a budget: who ranks where, how sure that is, and what composite scores would say."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy.stats import kendalltau

from benchmark.report import domains
from benchmark.report.costs import MEMORY, Costs
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
COMPOSITES = (
    "Scores that others make of quality and cost, for comparison with their boards; here nothing rests on them. PPT: "
    "score x exp(-log10(trainable / 10 million + 1)) (V-PETL Bench). PSCP: score x (1 + trainable / 500 million)^-1 x "
    "(1 + GB / 94)^-1 (PEFT-Bench, without its factor for floating point operations, which no record has; only where "
    "memory is known). In brackets the rank. tau: Kendall's, between the order by plain score, or by the same with "
    "constants a hundred times smaller, and the order shown."
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


def composites(budget: str, boards: Sequence[Board], costs: Costs) -> Table:
    """Lay out PPT and PSCP per task, each with its rank."""
    table = Table(_named("composites", budget), ["method"], legend=COMPOSITES, words=1)
    columns: list[dict[str, str]] = []
    for board in boards:
        scores = _scores(board, costs)
        for name, compose in (("PPT", _ppt), ("PSCP", _pscp)):
            known = {m: parts for m, parts in scores.items() if name == "PPT" or not math.isnan(parts[-1])}
            if len(known) < 2:
                continue
            shown, strict = ({m: compose(*parts, scale) for m, parts in known.items()} for scale in (1.0, 0.01))
            table.header.append(f"{board.task} {name}")
            columns.append(_placed(shown))
            plain = {method: score for method, (score, *_) in known.items()}
            tau = f"tau {_tau(plain, shown)} with plain score, {_tau(strict, shown)} with smaller constants"
            table.note(f"{board.task} {name}: {tau}")
    for method in sorted({method for column in columns for method in column}):
        table.rows.append([method, *(column.get(method, ABSENT) for column in columns)])
    return table


def _scores(board: Board, costs: Costs) -> dict[str, tuple[float, float, float]]:
    """Give each method's score, trainable parameters and peak memory in bytes, NaN where that is not known."""
    groups = list(board.groups.values())
    known = zip(board.groups, *(costs.of(groups, name) for name in ("trainable_params", MEMORY)), strict=True)
    return {
        method: (
            statistics.fmean(board.samples[method].scores.values()),
            trained.value,
            memory.value if memory else math.nan,
        )
        for method, trained, memory in known
        if trained
    }


def _ppt(score: float, trainable: float, memory: float, scale: float) -> float:
    """Xin et al. 2024 (V-PETL Bench); their C of ten million, times scale."""
    return score * math.exp(-math.log10(trainable / (1e7 * scale) + 1))


def _pscp(score: float, trainable: float, memory: float, scale: float) -> float:
    """Belanec et al. 2025 (PEFT-Bench) with exponents of one; their constants times scale."""
    return score / (1 + trainable / (5e8 * scale)) / (1 + memory / (94e9 * scale))


def _placed(values: Mapping[str, float]) -> dict[str, str]:
    order = sorted(values.values(), reverse=True)
    return {method: f"{significant(value)} ({order.index(value) + 1})" for method, value in values.items()}


def _tau(one: Mapping[str, float], other: Mapping[str, float]) -> str:
    tau = kendalltau([*one.values()], [*other.values()]).statistic
    return ABSENT if math.isnan(tau) else f"{tau:.2f}"


def _named(what: str, budget: str) -> str:
    return "_".join(filter(None, (what, budget)))


def _metric(board: Board) -> str:
    return next((name for group in board.groups.values() if (name := group.metric())), "score")
