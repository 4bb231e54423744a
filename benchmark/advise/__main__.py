"""Which method for me: python -m benchmark.advise task=T [limits] [backbone=B] [budget=P] [results=DIR]."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.advise import others, said, shown
from benchmark.config import registry
from benchmark.errors import InputError, near
from benchmark.report import frame, runnable
from benchmark.report.boards import best, boards, wider
from benchmark.report.choice import Candidate, Limit, candidates
from benchmark.report.costs import Costs
from benchmark.report.statistics.evidence import Evidence

USAGE = """usage: python -m benchmark.advise task=T [max_memory_gb=8] [max_params=1e6] [mergeable=true] [examples=500]
                                  [backbone=B] [budget=P] [view=V] [results=DIR] [plugins=DIR]

Which method for me? From the records of a task, the methods that run on the backbone (its own unless given) and keep
within the limits: those that no other beats in score and parameters, memory or time; those that tie with the best;
what each costs; and the command to run it. Prefers evidence on about so many training examples. Says what is thin.
  max_memory_gb  peak memory of a run, in 1e9 bytes     max_params  trainable parameters, a new head among them
  mergeable      into the bare network's own weights    budget      one of those recorded, else the best recorded
  view           defaults, tuned, sized or trials: how the methods of a budget got their knobs"""
LIMITS = {  # key -> the cost it limits, and the unit of the key in that of the cost
    "max_memory_gb": ("peak_memory_bytes", 1e9),
    "max_params": ("trainable_params", 1.0),
}
KEYS = ("task", *LIMITS, "mergeable", "examples", "backbone", "budget", "view", "results")


@dataclass(frozen=True)
class Wish:
    """What was asked."""

    task: str
    backbone: str
    limits: tuple[Limit, ...] = ()
    examples: int | None = None
    budget: str | None = None
    view: str | None = None
    results: Path = Path("results")

    def allows(self, candidate: Candidate) -> bool:
        """Whether a candidate keeps within all limits."""
        return all(limit.fits(candidate) for limit in self.limits)


def main(arguments: list[str]) -> int:
    """Print advice; the exit status is 2 for a call that makes no sense, 1 where there is nothing to advise from."""
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    try:
        wish = read(registry.use(arguments))
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = frame.load(wish.results)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    lines = [placed(line, wish.results) for line in answer(wish, runs)]
    shown.show(lines)
    return 0 if any(isinstance(line, shown.Row) for line in lines) else 1


def read(arguments: Sequence[str]) -> Wish:
    """Read a call. Raises InputError."""
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise InputError(f"{word}: a word is KEY=VALUE, as in task=nmt{near(key, KEYS)}")
        if key not in KEYS:
            raise InputError(f"{key}=: not known here{near(key, KEYS)}")
    given: dict[str, str] = {}
    for key, _, value in (word.partition("=") for word in arguments):
        if key in given:
            raise InputError(f"{key}={value}: {key}={given[key]} is said before it, one of them is wanted")
        given[key] = value
    if "task" not in given:
        raise InputError(f"task=? is missing{near('', runnable.names('task'))}")
    for noun in ("task", "backbone", "budget"):
        if noun in given and given[noun] not in runnable.names(noun):
            raise InputError(f"{noun}={given[noun]}: no such {noun}{near(given[noun], runnable.names(noun))}")
    task, own = given["task"], runnable.described("task", given["task"])["backbone"]
    backbone = given.get("backbone", own)
    if runnable.domain(backbone) != runnable.domain(own):
        fitting = [name for name in runnable.names("backbone") if runnable.domain(name) == runnable.domain(own)]
        raise InputError(f"backbone={backbone}: does not read what task {task} gives{near(backbone, fitting)}")
    if (view := given.get("view")) not in (None, *said.VIEWS):
        raise InputError(f"view={view}: no such view{near(view, said.VIEWS)}")
    limits = [Limit(key, cost, number(key, given[key]), unit) for key, (cost, unit) in LIMITS.items() if key in given]
    if given.get("mergeable", "false").lower() not in ("true", "false"):
        raise InputError(f"mergeable={given['mergeable']}: true or false is wanted")
    if given.get("mergeable", "").lower() == "true":
        limits.append(Limit("mergeable"))
    examples = round(number("examples", given["examples"])) if "examples" in given else None
    if examples == 0:
        raise InputError(f"examples={given['examples']}: at least 1 is wanted")
    results = Path(given.get("results", "results"))
    return Wish(task, backbone, tuple(limits), examples, given.get("budget"), view, results)


def number(key: str, text: str) -> float:
    """Read a positive number. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{key}={text}: a positive number is wanted, as in {key}=8 or {key}=1e6")
    return value


def placed(line: shown.Line, results: Path) -> shown.Line:
    """Have a command read and write the records that the advice is from."""
    if not isinstance(line, shown.Command) or results == Wish.results:
        return line
    return replace(line, words=(*line.words, f"results={results}"))


def answer(wish: Wish, runs: list[frame.Run]) -> Iterator[shown.Line]:
    """Say what the records tell about a wish, line by line."""
    mine = [run for run in runs if run[1].task == wish.task]
    able = runnable.capable(wish.backbone)
    refused = {r.method for _, r in mine if r.backbone == wish.backbone and r.status == "skipped"}
    ran = {r.method for _, r in mine if r.backbone == wish.backbone and r.status == "done"}
    running = sorted(({name for name, can in able.items() if can.runs} - refused) | ran)
    yield said.title(wish.task, wish.backbone, running, able)
    known = boards(mine, wish.backbone)
    wanted = [b for b in known if wish.budget in (None, b.budget) and wish.view in (None, said.view(b))]
    ordered = best(wanted, wish.examples)
    if not ordered:
        if not runs:
            yield f"No records in {wish.results}{'.' if wish.results.is_dir() else ': there is no such folder.'}"
        asked = [f"{key}={value}" for key, value in (("budget", wish.budget), ("view", wish.view)) if value]
        yield from said.nothing(wish.task, wish.backbone, " ".join(asked), runs, best(known))
        return
    board = ordered[0]
    evidence = Evidence(wish.results)
    found = candidates(board, evidence, able, Costs(mine))
    kept = [candidate for candidate in found if wish.allows(candidate)]
    yield from said.grounds(board, found, wish.examples, [other for other in best(known) if other is not board])
    if other := wider(board, wanted):
        there = [c for c in candidates(other, evidence, able, Costs(mine)) if wish.allows(c)]
        yield from others.more_methods(board, other, there, said.asked(other, wanted))
    yield from said.limited(wish.limits, found, kept, board)
    if kept:
        yield from said.recommended(kept)
        yield from said.thin(board, kept, known)
        yield from said.more(board, kept, wish.examples)
    yield from said.unrecorded(board, running, known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
