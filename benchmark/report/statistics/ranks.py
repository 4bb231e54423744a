"""Methods across tasks: ranks, outcomes against a reference, gains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from benchmark.records.configurations import WHOLE, Configuration
from benchmark.report.comparisons import Comparison, comparisons, default_configuration
from benchmark.report.statistics.estimates import LEVEL, Difference, against, estimate
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import Sample

FLOORS = ("head", "frozen")  # what the network gives without being adapted; the first that ran
CEILING = "full"


@dataclass(frozen=True)
class TaskScores:
    """The methods of a task's widest comparison, each in its default configuration."""

    task: str
    backbone: str
    members: Mapping[str, Configuration]
    samples: Mapping[str, Sample]
    several: tuple[str, ...] = ()  # methods of which that is one of several
    unclear: tuple[str, ...] = ()  # methods without one default configuration

    def metric(self) -> str:
        """Name the headline score."""
        return next((name for one in self.members.values() if (name := one.metric())), "score")


@dataclass(frozen=True)
class Rank:
    """The mean rank of a method with its 95 % interval, 1 for the best."""

    mean: float
    low: float
    high: float
    by_task: Mapping[str, float]


@dataclass(frozen=True)
class Outcomes:
    """On how many tasks a method is clearly better, tied, clearly worse."""

    win: int
    tie: int
    loss: int


def task_scores(tables: Mapping[str, Sequence[Configuration]], evidence: Evidence) -> list[TaskScores]:
    """Return for each task the comparison with most scored methods.

    On pretrained weights and all data.
    """
    chosen = []
    for task, members in tables.items():
        whole = [one for one in members if not one.control and one.part == WHOLE]
        options = [_task_scores(task, comparison, evidence) for comparison in comparisons(whole)]
        if widest := max(options, key=lambda option: len(option.samples), default=None):
            chosen.append(widest)
    return [option for option in chosen if option.samples]


def _task_scores(task: str, comparison: Comparison, evidence: Evidence) -> TaskScores:
    by_method: dict[str, list[Configuration]] = defaultdict(list)
    for one in comparison.members:
        by_method[one.method].append(one)
    chosen = {method: one for method, same in sorted(by_method.items()) if (one := default_configuration(same))}
    known = evidence.samples(comparison.members)
    samples = {method: known[one] for method, one in chosen.items() if one in known}
    several = tuple(method for method in samples if len(by_method[method]) > 1)
    unclear = tuple(sorted(by_method.keys() - chosen.keys()))
    return TaskScores(
        task, comparison.backbone, {method: chosen[method] for method in samples}, samples, several, unclear
    )


def ranks(scores: Sequence[TaskScores], draws: int = 1000) -> dict[str, Rank]:
    """Rank the methods that have a score on every task.

    It is the hull of the percentile and the basic bootstrap's. Noise pulls ranks to the middle, so the first misses the
    ends of the order; the second misses methods that are equal. What other tasks would say it cannot tell.
    """
    methods = sorted(set.intersection(*(set(task.samples) for task in scores))) if scores else []
    if len(methods) < 2:
        return {}
    random = np.random.default_rng(0)
    means = [[task.samples[m].mean() for m in methods] for task in scores]
    observed = np.array([rankdata(-np.array(row)) for row in means])
    drawn = np.mean([rankdata(-_drawn(task, methods, draws, random), axis=0) for task in scores], axis=0)
    mean, ends = observed.mean(0), np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=1)
    ends = np.clip([*ends, *(2 * mean - ends)], 1, len(methods))
    low, high = ends.min(0), ends.max(0)
    tasks = [task.task for task in scores]
    return {
        method: Rank(
            float(observed[:, i].mean()), float(low[i]), float(high[i]),
            dict(zip(tasks, observed[:, i].tolist(), strict=True)),
        )
        for i, method in enumerate(methods)
    }  # fmt: skip


def _drawn(scores: TaskScores, methods: Sequence[str], draws: int, random: np.random.Generator) -> np.ndarray:
    """Draw mean scores, [methods, draws], over test sets and seeds.

    Both are the same for all methods, whose scores go up and down together. Three seeds taken with replacement would
    vary too little: intervals then hold the truth in 77 of 100 tries. What both do together counts twice.
    """
    seeds = sorted({seed for method in methods for seed in scores.samples[method].scores})
    weights = random.standard_normal((draws, len(seeds)))
    fewest = min(len(scores.samples[method].scores) for method in methods)
    freedom = max(fewest - 1, 1)
    weights /= np.sqrt(random.chisquare(freedom, (draws, 1)) / freedom)
    picked = random.integers(1 << 31, size=draws)
    return np.array([_means(scores.samples[method], seeds, weights, picked) for method in methods])


def _means(sample: Sample, seeds: Sequence[int], weights: np.ndarray, picked: np.ndarray) -> np.ndarray:
    scores = np.array([sample.scores.get(seed, np.nan) for seed in seeds])
    number, mean = len(sample.scores), np.nanmean(scores)
    apart = np.nan_to_num(scores - mean) / np.sqrt(max(number * (number - 1), 1))
    by_seeds = weights @ apart
    if len(sample.draws) < number:
        return mean + by_seeds
    sets = np.mean(list(sample.draws.values()), axis=0)
    return mean + by_seeds + (sets - sets.mean())[picked % len(sets)]


def outcomes(scores: Sequence[TaskScores], reference: str) -> dict[str, Outcomes]:
    """Count wins, ties and losses of each method against a reference.

    With Holm's correction within each task.
    """
    by_method: dict[str, list[Difference]] = defaultdict(list)
    for task in scores:
        if reference in task.samples:
            for method, difference in against(reference, task.samples).items():
                by_method[method].append(difference)
    return {method: _count(differences) for method, differences in by_method.items()}


def _count(differences: Sequence[Difference]) -> Outcomes:
    win = sum(d.clear and d.estimate.value > 0 for d in differences)
    loss = sum(d.clear and d.estimate.value < 0 for d in differences)
    return Outcomes(win, len(differences) - win - loss, loss)


def floor(scores: TaskScores) -> str | None:
    """Name the method that is 0 on a task: the head alone, or frozen."""
    return next((method for method in FLOORS if method in scores.samples), None)


def gains(scores: TaskScores) -> dict[str, float]:
    """Scale scores from the floor (0) to full fine-tuning (1).

    Empty where full is not clearly above the floor.
    """
    bottom = floor(scores)
    span = scores.samples[CEILING].paired(scores.samples[bottom]) if bottom and CEILING in scores.samples else None
    between = estimate(span) if span else None
    if between is None or between.low is None or between.low <= 0:
        return {}
    means = {method: sample.mean() for method, sample in scores.samples.items()}
    return {method: (mean - means[bottom]) / (means[CEILING] - means[bottom]) for method, mean in means.items()}
