"""Methods across tasks: ranks, outcomes against a reference and gains, none of which averages unlike metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from benchmark.report.evidence import Evidence
from benchmark.report.groups import ANY_SOURCE, WHOLE, Group
from benchmark.report.meant import meant
from benchmark.report.samples import Sample
from benchmark.report.statistics import LEVEL, Difference, against, estimate

FLOORS = ("head", "frozen")  # what the network gives without being adapted; the first that ran
CEILING = "full"


@dataclass(frozen=True)
class Board:
    """The methods compared on one task and pretrained backbone, each in the setting that is meant by its name."""

    task: str
    backbone: str
    groups: Mapping[str, Group]
    samples: Mapping[str, Sample]
    several: tuple[str, ...] = ()  # methods of which that is one of several
    unclear: tuple[str, ...] = ()  # methods of which no setting is the one that is meant


@dataclass(frozen=True)
class Rank:
    """A method's mean rank over all boards, 1 for the best, with its 95 % interval and its ranks by task."""

    mean: float
    low: float
    high: float
    by_task: Mapping[str, float]


@dataclass(frozen=True)
class Outcomes:
    """On how many boards a method is clearly above a reference, not told apart from it, clearly below."""

    win: int
    tie: int
    loss: int


def boards(tasks: Mapping[str, Sequence[Group]], evidence: Evidence) -> list[Board]:
    """Give a board per task: of its backbones and conditions those under which most methods have a score."""
    found = []
    for task, groups in tasks.items():
        done = [group for group in groups if group.done and not group.control and group.part == WHOLE]
        sides: dict[tuple, list[Group]] = {}
        for group in done:
            sides.setdefault(group.shared(ANY_SOURCE), []).append(group)
        options = [_board(task, sides[side], evidence) for side in sorted(sides)]
        if board := max(options, key=lambda b: len(b.samples), default=None):
            found.append(board)
    return [board for board in found if board.samples]


def _board(task: str, groups: Sequence[Group], evidence: Evidence) -> Board:
    by_method: dict[str, list[Group]] = {}
    for group in groups:
        by_method.setdefault(group.method, []).append(group)
    chosen = {method: found for method, its in sorted(by_method.items()) if (found := meant(its))}
    known = {id(groups[place]): sample for place, sample in evidence.beside(groups).items()}
    samples = {method: known[id(group)] for method, group in chosen.items() if id(group) in known}
    several = tuple(method for method in samples if len(by_method[method]) > 1)
    unclear = tuple(sorted(by_method.keys() - chosen.keys()))
    groups_ = {method: chosen[method] for method in samples}
    return Board(task, groups[0].backbone, groups_, samples, several, unclear)


def ranks(boards: Sequence[Board], draws: int = 1000) -> dict[str, Rank]:
    """Rank the methods that have a score on every board; the interval is over seeds and test examples of these boards.

    It is the hull of the percentile and the basic bootstrap's. Noise pulls ranks to the middle, so the first misses the
    ends of the order; the second misses methods that are equal. What other tasks would say it cannot tell.
    """
    methods = sorted(set.intersection(*(set(board.samples) for board in boards))) if boards else []
    if len(methods) < 2:
        return {}
    random = np.random.default_rng(0)
    means = [[np.mean(list(board.samples[m].scores.values())) for m in methods] for board in boards]
    observed = np.array([rankdata(-np.array(row)) for row in means])
    drawn = np.mean([rankdata(-_drawn(board, methods, draws, random), axis=0) for board in boards], axis=0)
    mean, ends = observed.mean(0), np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    ends = np.clip([*ends, *(2 * mean - ends)], 1, len(methods))
    low, high = ends.min(0), ends.max(0)
    tasks = [board.task for board in boards]
    return {
        method: Rank(
            float(observed[:, i].mean()), float(low[i]), float(high[i]),
            dict(zip(tasks, observed[:, i].tolist(), strict=True)),
        )
        for i, method in enumerate(methods)
    }  # fmt: skip


def _drawn(board: Board, methods: Sequence[str], draws: int, random: np.random.Generator) -> np.ndarray:
    """Draw mean scores, [methods, draws]: of drawn test sets and, as Student's t has it, of other seeds.

    Both are the same for all methods, whose scores go up and down together. Three seeds taken with replacement would
    vary too little: intervals then hold the truth in 77 of 100 tries. What both do together counts twice.
    """
    seeds = sorted({seed for method in methods for seed in board.samples[method].scores})
    weights = random.standard_normal((draws, len(seeds)))
    fewest = min(len(board.samples[method].scores) for method in methods)
    freedom = max(fewest - 1, 1)
    weights /= np.sqrt(random.chisquare(freedom, (draws, 1)) / freedom)
    picked = random.integers(1 << 31, size=draws)
    return np.array([_means(board.samples[method], seeds, weights, picked) for method in methods])


def _means(sample: Sample, seeds: Sequence[int], weights: np.ndarray, picked: np.ndarray) -> np.ndarray:
    scores = np.array([sample.scores.get(seed, np.nan) for seed in seeds])
    number, mean = len(sample.scores), np.nanmean(scores)
    apart = np.nan_to_num(scores - mean) / np.sqrt(max(number * (number - 1), 1))
    by_seeds = weights @ apart
    if len(sample.draws) < number:
        return mean + by_seeds
    sets = np.mean(list(sample.draws.values()), axis=0)
    return mean + by_seeds + (sets - sets.mean())[picked % len(sets)]


def outcomes(boards: Sequence[Board], reference: str) -> dict[str, Outcomes]:
    """Count for each method the boards it wins, ties and loses against a reference (Holm's correction within each)."""
    found: dict[str, list[Difference]] = {}
    for board in boards:
        if reference in board.samples:
            for method, difference in against(reference, board.samples).items():
                found.setdefault(method, []).append(difference)
    return {method: _counted(differences) for method, differences in found.items()}


def _counted(differences: Sequence[Difference]) -> Outcomes:
    win = sum(d.clear and d.estimate.value > 0 for d in differences)
    loss = sum(d.clear and d.estimate.value < 0 for d in differences)
    return Outcomes(win, len(differences) - win - loss, loss)


def floor(board: Board) -> str | None:
    """Name what 0 means on a board: the linear probe, or where the head is not new the untouched network."""
    return next((method for method in FLOORS if method in board.samples), None)


def gains(board: Board) -> dict[str, float]:
    """Place each method between the floor (0) and full fine-tuning (1); empty where full is not clearly above it."""
    bottom = floor(board)
    span = board.samples[CEILING].paired(board.samples[bottom]) if bottom and CEILING in board.samples else None
    between = estimate(span) if span else None
    if between is None or between.low is None or between.low <= 0:
        return {}
    means = {method: float(np.mean(list(sample.scores.values()))) for method, sample in board.samples.items()}
    return {method: (mean - means[bottom]) / (means[CEILING] - means[bottom]) for method, mean in means.items()}
