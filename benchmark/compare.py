"""Two methods head to head: python -m benchmark.compare A B [task=T] [results=DIR]."""

from __future__ import annotations

import itertools
import statistics
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmark.errors import near
from benchmark.records import MARK, UNTRAINED
from benchmark.report import frame
from benchmark.report.configurations import ANY_SOURCE, WHOLE, Group, differences, grouped
from benchmark.report.costs import MEMORY, STEP, Costs
from benchmark.report.statistics.estimates import LEVEL, Estimate, estimate, holm
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.statistics.samples import FEWEST, Sample
from benchmark.report.tables.scores import METHOD, significant
from benchmark.report.views import MEASURING

USAGE = """usage: python -m benchmark.compare A B [task=T] [results=DIR]

Shows for every task, budget and backbone on which both methods were recorded how far A is from B: headline score,
paired by seed and by test example, with its 95 % interval; and how A's parameters, time and memory relate to B's."""
PROPER = ", proper score"
OUTCOMES = ("win", "tie", "loss", "open")
COSTS = {"trainable_params": "parameters", STEP: "step time", MEMORY: "memory"}


@dataclass(frozen=True)
class Meeting:
    """The two methods where everything else is the same."""

    place: str  # task, budget and view, and what else tells it from others
    family: str  # of those that are counted, and corrected, together
    one: Group
    other: Group
    difference: Estimate
    scores: tuple[float, float]  # over the seeds that both have
    metric: str
    better: int = 1  # -1: lower is better

    def across(self) -> bool:
        """Whether one is shipped and the other your own: of interest where either has none of its own kind to meet."""
        return self.one.settings.get("source") != self.other.settings.get("source")

    def outcome(self, p: float | None) -> str:
        """Say who won, from the first method's side, by a corrected p value."""
        if p is None:
            return "open"
        win, tie, loss, _ = OUTCOMES
        return tie if p >= 1 - LEVEL else win if self.difference.value * self.better > 0 else loss


def main(arguments: list[str]) -> int:
    """Print the comparison; the exit status is 2 for a call that makes no sense, 1 where the two never meet."""
    if set(arguments) & {"-h", "--help"} or not arguments:
        print(USAGE)
        return 0 if arguments else 2
    methods = [word for word in arguments if "=" not in word]
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    if unknown := sorted(given.keys() - {"task", "results"}):
        return refuse(f"{unknown[0]}=: not known here{near(unknown[0], ('task', 'results'))}")
    if len(methods) != 2 or methods[0] == methods[1]:
        return refuse(
            f"two different methods are wanted, {len(set(methods))} given: python -m benchmark.compare lora dora"
        )
    results = Path(given.get("results", "results"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = frame.load(results)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if not runs:
        return refuse(f"no records in {results}: make one with python -m benchmark.run method={methods[0]} task=nmt")
    for noun, said in (*(("method", m) for m in methods), *([("task", given["task"])] if "task" in given else [])):
        known = {getattr(record, noun) for _, record in runs}
        if said not in known:
            return refuse(f"no record of {noun} {said!r} in {results}{near(said, known)}")
    found = apart(meetings(runs, Evidence(results), methods[0], methods[1], given.get("task")))
    if not found:
        print(f"{methods[0]} and {methods[1]} were never recorded under the same settings: run both, then ask again")
        return 1
    show(found, Costs(runs), *methods)
    return 0


def refuse(reason: str) -> int:
    """Say in one line what is wrong with a call."""
    print(f"refused: {reason}", file=sys.stderr)
    return 2


def meetings(runs: list[frame.Run], evidence: Evidence, first: str, second: str, task: str | None) -> Iterator[Meeting]:
    """Pair the settings of two methods that agree in all but what belongs to a method."""
    for (name, budget), groups in grouped([run for run in runs if task in (None, run[1].task)]).items():
        if budget == MEASURING:
            continue
        sides = [{g.shared(ANY_SOURCE) for g in groups if g.method == m and g.done} for m in (first, second)]
        beside = [g for g in groups if g.shared(ANY_SOURCE) in sides[0] & sides[1]]
        for proper in (False, True):
            known = [(beside[place], sample) for place, sample in evidence.beside(beside, proper).items()]
            ones, others = ([pair for pair in known if pair[0].method == m] for m in (first, second))
            for one, other in itertools.product(ones, others):
                if found := met(one, other, proper):
                    family = f"{budget or 'no budget'}{', part of the data' * (one[0].part != WHOLE)}"
                    yield replace(found, place=f"{name} {budget}".strip(), family=family + PROPER * proper)


def met(one: tuple[Group, Sample], other: tuple[Group, Sample], proper: bool) -> Meeting | None:
    """Hold two settings against each other; None where more than the method differs, or nothing can be paired."""
    (mine, first), (its, second) = one, other
    both = first.paired(second) if mine.shared(ANY_SOURCE) == its.shared(ANY_SOURCE) else None
    if both is None:
        return None
    means = [statistics.fmean(sample.scores[seed] for seed in both.scores) for sample in (first, second)]
    metric = (mine.proper() if proper else mine.metric()) or ""
    return Meeting("", "", mine, its, estimate(both), (means[0], means[1]), metric, first.scale.better)


def apart(found: Iterable[Meeting]) -> list[Meeting]:
    """Leave each pair of runs once, a default that tuning chose as tuned; say what tells rows of a place apart."""
    # the record itself: a cell that was run again has the same run_id in another source
    pairs = {(m.metric, *(id(r) for r in (*m.one.records, *m.other.records))): m for m in found}
    within = {id(group) for m in pairs.values() if not m.across() for group in (m.one, m.other)}
    own = {pair: m for pair, m in pairs.items() if not (m.across() and {id(m.one), id(m.other)} <= within)}
    places: dict[tuple[str, str], list[Meeting]] = {}
    for meeting in own.values():
        places.setdefault((meeting.place, meeting.one.weights), []).append(meeting)
    told = []
    for members in places.values():
        varied = [words for _, words in differences([group for m in members for group in (m.one, m.other)])]
        for m, one, other in zip(members, varied[::2], varied[1::2], strict=True):
            told.append(replace(m, place=", ".join([m.place, *_words(m, one, other)])))
    return told


def _words(meeting: Meeting, one: Sequence[str], other: Sequence[str]) -> Iterable[str]:
    """Join what tells two settings from others; what is not the same of both, with the name of whose it is."""
    sides = ((meeting.one.method, one, other), (meeting.other.method, other, one))
    words = (
        f"{method} {word}" if word.startswith(ANY_SOURCE) and word not in its else word.removeprefix("method.")
        for method, mine, its in sides
        for word in mine
    )
    return dict.fromkeys(words)


def show(found: Sequence[Meeting], costs: Costs, first: str, second: str) -> None:
    """Print a row per meeting, and who won how often."""
    table = Table(title=f"{first} less {second}", title_justify="left", box=None, pad_edge=False)
    for column in ("task", "backbone", "metric"):
        table.add_column(column, overflow="fold", min_width=len("reference_tuned") if column == "task" else None)
    for column in (first, second, "difference", "95 %", "p (Holm)", "seeds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for column in COSTS.values():
        table.add_column(column, justify="right", no_wrap=True)
    families = {m.family: {str(i): n.difference.p for i, n in enumerate(found) if n.family == m.family} for m in found}
    adjusted = {place: p for members in families.values() for place, p in holm(members).items()}
    outcomes = [m.outcome(adjusted.get(str(i))) for i, m in enumerate(found)]
    for i, (meeting, outcome) in enumerate(zip(found, outcomes, strict=True)):
        table.add_row(*row(meeting, adjusted.get(str(i)), outcome), *ratios(meeting, costs))
    Console(width=160 if not sys.stdout.isatty() else None).print(table)
    for family, members in families.items():
        counts = Counter(outcomes[int(place)] for place in members)
        told = ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name])
        many = f"{len(members)} comparison{'s' * (len(members) > 1)}"
        print(f"{family}: {told} in {many} of {first} with {second}")
    print("tie: not told apart, p corrected (Holm) for the comparisons of its line; open: no test without predictions,")
    print(f"or where test examples come in fewer than {FEWEST} groups")
    if any(m.better < 0 for m in found):
        print("proper score: of the same answers, lower is better; a win is the lower one")
    print(METHOD)
    print(f"costs: {first} over {second}, ~ where others were at work, or measurements overlap")
    if any(m.one.untrained or m.other.untrained for m in found):
        print(f"{MARK}: at least one seed is {UNTRAINED}")
    if any(m.difference.seeds == 1 for m in found):
        print("with one seed an interval tells what other test examples would do, not what another seed would")


def row(meeting: Meeting, p: float | None, outcome: str) -> list[str]:
    """Write one meeting."""
    one, found = meeting.one, meeting.difference
    digits = 2 if max(map(abs, meeting.scores)) >= 10 else 4
    sides = zip(meeting.scores, (one, meeting.other), strict=True)
    scores = [f"{score:.{digits}f}{group.untrained}" for score, group in sides]
    interval = "-" if found.low is None else f"{found.low:+.{digits}f} to {found.high:+.{digits}f}"
    shown = "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"
    told = [f"{found.value:+.{digits}f}", interval, shown, str(found.seeds), outcome]
    started = f"{one.backbone}, random weights" if one.control else one.backbone
    return [meeting.place, started, meeting.metric, *scores, *told]


def ratios(meeting: Meeting, costs: Costs) -> Iterator[str]:
    """Divide the costs of the two; rough is what was measured beside other work, or once more, once less."""
    for name in COSTS:
        one, other = costs.of([meeting.one, meeting.other], name)
        known = one is not None and other is not None and other.value
        if not known:
            yield "-"
            continue
        rough = one.shared or other.shared or (one.low < other.high and other.low < one.high)
        yield f"{'~' * rough}{significant(one.value / other.value)} x"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
