"""Compare two methods: python -m benchmark.compare A B [task=T] [unit=example]."""

from __future__ import annotations

import itertools
import statistics
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.command import end
from benchmark.errors import InputError, near
from benchmark.records import MARK, UNTRAINED
from benchmark.records.configurations import ANY_SOURCE, WHOLE, Configuration, differences
from benchmark.records.folds import times_folds
from benchmark.report import frame
from benchmark.report.comparisons import comparisons, tables
from benchmark.report.costs import MEMORY, STEP, Costs
from benchmark.report.statistics.estimates import LEVEL, Estimate, estimate, holm
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import FEWEST, Sample
from benchmark.report.tables.scores import METHOD
from benchmark.report.tables.table import significant
from benchmark.report.views import MEASURING, Run

USAGE = """usage: python -m benchmark.compare A B [task=T] [metric=NAME] [unit=example] [results=DIR]

Compares method A with method B for every task, budget and backbone on which both were recorded. Shows the difference
of their headline scores with its 95 % interval, paired by seed and test example, and the ratio of their parameters,
step time and memory.
  unit=group    draw groups in the bootstrap: speakers, patients, parents, tiles (the default; examples of a group are
                alike)
  unit=example  draw single examples, as if they were independent
  metric=NAME   take another score as headline; higher must be better"""
PROPER = ", proper score"
WIDTH = 100  # letters of a caption's line
OUTCOMES = ("win", "tie", "loss", "open")
UNITS = ("group", "example")
KEYS = ("task", "metric", "unit", "results")
COSTS = {"trainable_params": "parameters", STEP: "step time", MEMORY: "memory"}


@dataclass(frozen=True)
class Pair:
    """Configurations of two methods that differ in nothing else."""

    where: str  # task, budget and view, and what distinguishes it from others
    family: str  # of those that are counted, and corrected, together
    one: Configuration
    other: Configuration
    difference: Estimate
    scores: tuple[float, float]  # over the seeds that both have
    metric: str
    better: int = 1  # -1: lower is better

    def across(self) -> bool:
        """Whether one configuration is shipped and the other is the user's."""
        return self.one.source != self.other.source

    def outcome(self, p: float | None) -> str:
        """Return win, tie, loss or open for the first method."""
        if p is None:
            return "open"
        win, tie, loss, _ = OUTCOMES
        return tie if p >= 1 - LEVEL else win if self.difference.value * self.better > 0 else loss


def main(arguments: list[str]) -> int:
    """Print the comparison.

    Returns 2 for a call that makes no sense, 1 where the two are never paired.
    """
    if set(arguments) & {"-h", "--help"} or not arguments:
        print(USAGE)
        return 0 if arguments else 2
    given = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    methods = [argument for argument in arguments if "=" not in argument]
    results = Path(given.get("results", "results"))
    try:
        runs = frame.load_and_warn(results, given.get("metric"))
        check(methods, given, runs)
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    evidence = Evidence(results, by_group=given.get("unit", "group") == "group")
    paired = distinct(pairs(runs, evidence, methods[0], methods[1], given.get("task")))
    if not paired:
        print(
            f"{methods[0]} and {methods[1]} have no runs that may be compared: run both with one budget on one data set"
        )
        return 1
    show(paired, Costs(runs), *methods)
    return 0


def check(methods: Sequence[str], given: Mapping[str, str], runs: Sequence[Run]) -> None:
    """Check a call. Raises InputError."""
    if unknown := sorted(given.keys() - {*KEYS}):
        raise InputError(f"{unknown[0]}=: not known here{near(unknown[0], KEYS)}")
    if len(methods) != 2 or methods[0] == methods[1]:
        count = len(set(methods))
        raise InputError(f"two different methods are wanted, {count} given: python -m benchmark.compare lora dora")
    if (unit := given.get("unit", "group")) not in UNITS:
        raise InputError(f"unit={unit}: no such unit{near(unit, UNITS)}")
    if not runs:
        where = given.get("results", "results")
        raise InputError(f"no records in {where}: make one with python -m benchmark.run method={methods[0]} task=nmt")
    for noun, name in (*(("method", m) for m in methods), *([("task", given["task"])] if "task" in given else [])):
        known = {getattr(record, noun) for _, record in runs}
        if name not in known:
            raise InputError(f"no record of {noun} {name!r} in {given.get('results', 'results')}{near(name, known)}")


def pairs(runs: list[Run], evidence: Evidence, first: str, second: str, task: str | None) -> Iterator[Pair]:
    """Pair the configurations of two methods that may be compared."""
    for (name, budget), members in tables([run for run in runs if task in (None, run[1].task)]).items():
        if budget == MEASURING:
            continue
        both = [c for c in comparisons(members) if {first, second} <= c.methods]
        for comparison, proper in itertools.product(both, (False, True)):
            samples = evidence.samples(comparison.members, proper)
            ones, others = ([c for c in samples if c.method == method] for method in (first, second))
            for one, other in itertools.product(ones, others):
                if made := pair((one, samples[one]), (other, samples[other]), proper):
                    family = f"{budget or 'no budget'}{', part of the data' * (one.part != WHOLE)}"
                    yield replace(made, where=f"{name} {budget}".strip(), family=family + PROPER * proper)


def pair(one: tuple[Configuration, Sample], other: tuple[Configuration, Sample], proper: bool) -> Pair | None:
    """Subtract one configuration from another; None without common seeds."""
    (first, sample), (second, beside) = one, other
    both = sample.paired(beside)
    if both is None:
        return None
    means = [statistics.fmean(side.scores[seed] for seed in both.scores) for side in (sample, beside)]
    metric = (first.proper() if proper else first.metric()) or ""
    return Pair("", "", first, second, estimate(both), (means[0], means[1]), metric, sample.scale.better)


def distinct(paired: Iterable[Pair]) -> list[Pair]:
    """Drop repeated pairs of runs, and name what distinguishes rows of a table."""
    # the record itself: a cell that was run again has the same run_id in another source
    once = {(p.metric, *(id(r) for r in (*p.one.records, *p.other.records))): p for p in paired}
    within = {_runs(side) for p in once.values() if not p.across() for side in (p.one, p.other)}
    shown = [p for p in once.values() if not (p.across() and {_runs(p.one), _runs(p.other)} <= within)]
    by_table: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for one in shown:
        by_table[one.where, one.one.weights].append(one)
    named = []
    for members in by_table.values():
        varied = [texts for _, texts in differences([side for p in members for side in (p.one, p.other)])]
        for p, one, other in zip(members, varied[::2], varied[1::2], strict=True):
            named.append(replace(p, where=", ".join([p.where, *_names(p, one, other)])))
    return named


def _runs(one: Configuration) -> tuple[int, ...]:
    return tuple(map(id, one.records))


def _names(paired: Pair, one: Sequence[str], other: Sequence[str]) -> Iterable[str]:
    """Join what distinguishes two configurations, with the method's name."""
    sides = ((paired.one.method, one, other), (paired.other.method, other, one))
    names = (
        f"{method} {text}" if text.startswith(ANY_SOURCE) and text not in beside else text.removeprefix("method.")
        for method, texts, beside in sides
        for text in texts
    )
    return dict.fromkeys(names)


def show(paired: Sequence[Pair], costs: Costs, first: str, second: str) -> None:
    """Print a row per pair, counts of outcomes, and captions."""
    table = Table(title=f"{first} less {second}", title_justify="left", box=None, pad_edge=False)
    for column in ("task", "backbone", "metric"):
        table.add_column(column, overflow="fold", min_width=len("reference_tuned") if column == "task" else None)
    for column in (first, second, "difference", "95 %", "p (Holm)", "seeds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for column in COSTS.values():
        table.add_column(column, justify="right", no_wrap=True)
    families: dict[str, dict[int, float | None]] = defaultdict(dict)
    for number, one in enumerate(paired):
        families[one.family][number] = one.difference.p
    adjusted = {number: p for members in families.values() for number, p in holm(members).items()}
    outcomes = [one.outcome(adjusted.get(number)) for number, one in enumerate(paired)]
    for number, (one, outcome) in enumerate(zip(paired, outcomes, strict=True)):
        table.add_row(*row(one, adjusted.get(number), outcome), *ratios(one, costs))
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    for family, members in families.items():
        counts = Counter(outcomes[number] for number in members)
        shown = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
        many = f"{len(members)} comparison{'s' * (len(members) > 1)}"
        print(f"{family}: {shown} in {many} of {first} with {second}")
    print("\n".join(textwrap.fill(text, WIDTH) for text in captions(paired, first, second)))


def captions(paired: Sequence[Pair], first: str, second: str) -> Iterator[str]:
    """Explain the words and marks of the table that is shown."""
    yield "tie: no clear difference; p is corrected (Holm) for the comparisons of one line above."
    yield f"open: no test, because answers are not stored or test examples form fewer than {FEWEST} groups."
    if any(one.better < 0 for one in paired):
        yield "proper score: computed from the same answers. Lower is better, so a win is the lower score."
    yield METHOD
    yield f"Costs: {first} divided by {second}. ~: measured beside other work, or measurements overlap."
    if any(one.one.folds for one in paired):
        yield "x 5 folds: a seed's score is the mean over its folds; test examples of all folds are drawn together."
    if any(one.one.untrained or one.other.untrained for one in paired):
        yield f"{MARK}: at least one seed is {UNTRAINED}"
    if any(one.difference.seeds == 1 for one in paired):
        yield "With one seed, the interval covers other test examples, not other seeds."


def row(paired: Pair, p: float | None, outcome: str) -> list[str]:
    """Write one pair."""
    one, difference = paired.one, paired.difference
    digits = 2 if max(map(abs, paired.scores)) >= 10 else 4
    sides = zip(paired.scores, (one, paired.other), strict=True)
    scores = [f"{score:.{digits}f}{side.untrained}" for score, side in sides]
    low, high = difference.low, difference.high
    interval = "-" if low is None else f"{low:+.{digits}f} to {high:+.{digits}f}"
    shown = "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    seeds = times_folds(difference.seeds, one.folds)
    numbers = [f"{difference.value:+.{digits}f}", interval, shown, seeds, outcome]
    started = f"{one.backbone}, random weights" if one.control else one.backbone
    return [paired.where, started, paired.metric, *scores, *numbers]


def ratios(paired: Pair, costs: Costs) -> Iterator[str]:
    """Divide the costs of the two; mark shared measurements as rough."""
    for name in COSTS:
        one, other = costs.of([paired.one, paired.other], name)
        known = one is not None and other is not None and other.value
        if not known:
            yield "-"
            continue
        rough = one.shared or other.shared or (one.low < other.high and other.low < one.high)
        yield f"{'~' * rough}{significant(one.value / other.value)} x"


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
