"""Advise on a method from the records: python -m benchmark.advise task=T."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.advise import planned, sentences
from benchmark.command import end
from benchmark.config import registry
from benchmark.errors import InputError, near
from benchmark.report import frame, runnable
from benchmark.report.choice import COSTS, Candidate, Limit, best, candidates, judged, options
from benchmark.report.costs import Costs
from benchmark.report.overrides import setting
from benchmark.report.statistics.evidence import Evidence
from benchmark.report.tables.table import ABSENT
from benchmark.report.views import Run

USAGE = """usage: python -m benchmark.advise task=T [max_memory_gb=8] [max_params=1e6] [mergeable=true] [examples=500]
                                  [backbone=B] [budget=P] [view=V] [metric=NAME] [results=DIR] [plugins=DIR]

Which method for me? Answers from the records of a task: which method to try, which tie with it, which are clearly
worse. Shows the methods that no other beats in score and parameters, memory or time, and the command to run each.
  max_memory_gb  most peak memory of a run, in 1e9 bytes
  max_params     most trainable parameters, with those of a new head
  mergeable      true: only methods that merge into the weights of the network
  examples       prefer runs with about so many training examples
  backbone       the pretrained network; that of the task unless given
  budget         one that is recorded; the one with most evidence unless given
  view           how methods got their settings: defaults, tuned, sized or trials
  metric         another score as headline; higher must be better"""
LIMITS = {  # key -> the cost it limits, and the unit of the key in that of the cost
    "max_memory_gb": ("peak_memory_bytes", 1e9),
    "max_params": ("trainable_params", 1.0),
}
KEYS = ("task", *LIMITS, "mergeable", "examples", "backbone", "budget", "view", "metric", "results")
WIDTH = 100
Line = str | list[str] | list[Candidate]  # a sentence, the overrides of a command, or the rows of the table


@dataclass(frozen=True)
class Request:
    """The arguments of a call."""

    task: str
    backbone: str
    limits: tuple[Limit, ...] = ()
    examples: int | None = None
    budget: str | None = None
    view: str | None = None
    results: Path = Path("results")
    metric: str | None = None


def main(arguments: list[str]) -> int:
    """Print advice.

    Returns 2 for a call that is refused, 1 where no record can give advice.
    """
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    try:
        request = read(registry.use(arguments))
        runs = frame.load_and_warn(request.results, request.metric)
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    lines = list(answer(request, runs))
    show(lines, [] if request.results == Request.results else [f"results={request.results}"])
    return 0 if any(isinstance(line, list) and isinstance(line[0], Candidate) for line in lines) else 1


def read(arguments: Sequence[str]) -> Request:
    """Read a call. Raises InputError."""
    given: dict[str, str] = {}
    for argument in arguments:
        key, _, value = argument.partition("=")
        if not value:
            raise InputError(f"{argument}: an argument is KEY=VALUE, as in task=nmt{near(key, KEYS)}")
        if key not in KEYS:
            raise InputError(f"{key}=: not known here{near(key, KEYS)}")
        if key in given:
            raise InputError(f"{key}={value}: {key}={given[key]} is given before it, one of them is wanted")
        given[key] = value
    if "task" not in given:
        raise InputError(f"task=? is missing{near('', runnable.names('task'))}")
    choices = {noun: runnable.names(noun) for noun in ("task", "backbone", "budget")}
    choices |= {"view": list(sentences.VIEWS), "mergeable": ["true", "false"]}
    for noun, known in choices.items():
        if noun in given and given[noun] not in known:
            raise InputError(f"{noun}={given[noun]}: no such {noun}{near(given[noun], known)}")
    default = runnable.described("task", given["task"])["backbone"]
    backbone = given.get("backbone", default)
    if runnable.domain(backbone) != runnable.domain(default):
        fitting = [name for name in choices["backbone"] if runnable.domain(name) == runnable.domain(default)]
        raise InputError(f"backbone={backbone}: does not read what task {given['task']} gives{near(backbone, fitting)}")
    limits = [Limit(key, cost, number(key, given[key]), unit) for key, (cost, unit) in LIMITS.items() if key in given]
    limits += [Limit("mergeable")] if given.get("mergeable") == "true" else []
    examples = math.ceil(number("examples", given["examples"])) if "examples" in given else None
    results = Path(given.get("results", "results"))
    chosen = (given.get(key) for key in ("budget", "view"))
    return Request(given["task"], backbone, tuple(limits), examples, *chosen, results, given.get("metric"))


def number(key: str, text: str) -> float:
    """Read a positive number. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise InputError(f"{key}={text}: a positive number is wanted, as in {key}=8 or {key}=1e6")
    return value


def answer(request: Request, runs: list[Run]) -> Iterator[Line]:
    """Yield the lines of an answer to a request."""
    here = [run for run in runs if run[1].task == request.task]
    able = runnable.capable(request.backbone)
    refused, ran = (
        {r.method for _, r in here if r.backbone == request.backbone and r.status == status}
        for status in ("skipped", "done")
    )
    running = sorted(({name for name, can in able.items() if can.runs} - refused) | ran)
    known = options(here, request.backbone)
    view = sentences.VIEWS[request.view][0] if request.view else None
    wanted = [one for one in known if request.budget in (None, one.budget) and view in (None, one.view)]
    title = f"{request.task} on {request.backbone} ({', '.join(runnable.networks(request.backbone))}): "
    title += f"{len(running)} of {len(able.keys() | set(running))} methods can run."
    if not wanted:
        yield title
        if not runs:
            yield f"No records in {request.results}{'.' if request.results.is_dir() else ': there is no such folder.'}"
        yield from sentences.nothing(request.task, request.backbone, runs, best(known))
        if not known:
            chosen = [f"{noun}={name}" for noun in ("task", "backbone", "budget") if (name := getattr(request, noun))]
            yield from planned.fitting(chosen, request.limits, {name for name in able if able[name].merges}, running)
        return
    chosen = best(wanted, request.examples)[0]
    every = candidates(chosen, Evidence(request.results), able, Costs(here))
    fitting = judged([pair for pair in every if all(limit.fits(pair[0]) for limit in request.limits)])
    yield sentences.headline(fitting) if fitting else "No recorded method keeps within the limits."
    yield title
    others = [one for one in best(known) if one is not chosen]
    yield from sentences.grounds(chosen, len(every), request.examples, others)
    yield from sentences.limited(request.limits, [one for one, _ in every], fitting)
    if fitting:
        shown = list(filter(sentences.shown, fitting))
        yield shown
        yield "least for: every setting that fits and scores higher needs clearly more of it."
        yield "To run them:"
        yield from (["-m"] * bool(one.configuration.folds) + setting(one.configuration.done[0]) for one in shown)
        yield from sentences.thin(chosen, fitting, known)
    yield from sentences.unrecorded(chosen, running, known)


def show(lines: Sequence[Line], more: list[str]) -> None:
    """Print advice; more is added to every command."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)
    for line in lines:
        if isinstance(line, str):
            console.print(Text(clean(line)))
        elif isinstance(line[0], Candidate):
            console.print("", table(line), "", sep="\n")
        else:
            print(command([*line, *more]))


def table(rows: Sequence[Candidate]) -> Table:
    """Lay out candidates with their scores and costs."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    metric = (rows[0].configuration.metric() or "score").replace("_", " ")  # so that a long one wraps
    most = max(abs(one.estimate.value) for one in rows)
    for column in ("method", metric, "95 %", "seeds", "", "trained", "memory", "step", "least for"):
        drawn.add_column(column, justify="left" if column in ("method", "least for") else "right", overflow="fold")
    for one in rows:
        low, high = one.estimate.low, one.estimate.high
        interval = ABSENT if low is None else f"{sentences.score(low, most)} to {sentences.score(high, most)}"
        value = sentences.score(one.estimate.value, most) + one.configuration.marks
        cells = [one.name, value, interval, str(one.estimate.seeds), one.verdict]
        cells += [sentences.amount(one.costs.get(name), name) for name in COSTS]
        drawn.add_row(*(Text(clean(cell)) for cell in [*cells, ", ".join(map(sentences.SHORT.get, one.least))]))
    return drawn


def command(overrides: Sequence[str]) -> str:
    """Write a command in lines that end with a backslash."""
    lines = ["  python -m benchmark.run"]
    for override in (shlex.quote(clean(override)) for override in overrides):
        if len(lines[-1]) + len(override) + 3 > WIDTH:
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {override}"
    return "\n".join(lines)


def clean(text: str) -> str:
    """Replace control characters, so that no record steers the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
