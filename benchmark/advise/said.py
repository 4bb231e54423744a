"""Advice in words: from which records, what fits, what to run, and what is too thin to rest on."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from benchmark.advise.others import also, brief, count, seeds
from benchmark.advise.shown import SHORT, UNITS, Command, Line, Row, amount, score
from benchmark.records import MARK, UNTRAINED, Record
from benchmark.report import runnable
from benchmark.report.boards import ENOUGH, LIKE, Board, best
from benchmark.report.choice import Candidate, Limit, fronts, versus_best
from benchmark.report.costs import STEP, unsteady
from benchmark.report.frame import Run
from benchmark.report.overrides import setting
from benchmark.report.runnable import Capable
from benchmark.report.tables.scores import significant
from benchmark.report.views import CHOSEN, DEFAULTS, SIZED, TUNED

LISTED = 12  # names, then their number alone
VIEWS = {  # what one asks for -> the view, in words
    "defaults": (DEFAULTS, "the authors' defaults"),
    "tuned": (TUNED, "the best of each method's tuning trials"),
    "sized": (SIZED, "methods brought to one size"),
    "trials": (CHOSEN, "trials that somebody named"),
}


def title(task: str, backbone: str, running: Sequence[str], able: Mapping[str, Capable]) -> str:
    """Say what was asked, and how many methods can be the answer."""
    networks = runnable.networks(backbone)
    several = f"any of {', '.join(networks)}; counted is what runs on all" if len(networks) > 1 else networks[0]
    known = len(able.keys() | set(running))
    return f"{task} on {backbone} ({several}): {len(running)} of {known} methods can run."


def nothing(task: str, backbone: str, asked: str, runs: Sequence[Run], known: Sequence[Board]) -> Iterator[Line]:
    """Say that there is no record to go by, what is nearest, and how to make some."""
    if known:
        yield f"No evidence: nothing is recorded there under {asked}, but {'; '.join(map(brief, known))}."
        return
    yield "No evidence: no final run that tells of a score is recorded there."
    finals = [r for _, r in runs if r.status == "done" and not r.config.get("phase")]
    if elsewhere := sorted({r.backbone for r in finals if r.task == task and r.backbone != backbone}):
        yield f"{task} is recorded on {', '.join(elsewhere)}: ask with backbone={elsewhere[0]}."
    if near := runnable.alike(task, {r.task for r in finals}):
        runs_there = count(Counter(r.task for r in finals)[near[0]], "run")
        yield f"The nearest task is {near[0]}, {runs_there}; what leads there need not lead here:"
        yield Command((f"task={near[0]}",), module="python -m benchmark.advise")
    hub = not (runnable.STORED / runnable.described("backbone", backbone)["checkpoint"]).is_dir()
    place = (f"task={task}", f"backbone={backbone}", *(["budget=long"] if hub else []))
    yield "To make records: tune on valid, then run the best trials with three seeds each:"
    yield from (Command((f"+sweep={step}", "+sweep=core", *place)) for step in ("tune", "final"))


def grounds(board: Board, found: Sequence[Candidate], examples: int | None, others: Sequence[Board]) -> Iterator[Line]:
    """Say on which records the advice rests, and which others there are."""
    budget = board.records()[0].config.get("budget") or {}
    spent = f" ({budget['steps']} steps of {budget['batch_size']} examples)" if "steps" in budget else ""
    machines = sorted({str(r.environment.get("device_name")) for r in board.records()})
    size = f"{board.examples:,}" if board.examples else "an unknown number of"
    yield (
        f"Evidence: budget {board.budget}{spent}, {VIEWS[view(board)][1]}, {size} training examples; "
        f"{count(len(found), 'setting')}, {seeds(board)}; measured on {', '.join(machines)}."
    )
    yield from also(board, others)
    if examples and (far := board.distance(examples)) > LIKE:
        yield (
            f"Nothing is recorded on about {examples:,} examples: the nearest evidence has {board.examples:,}, "
            f"{significant(far, 2)} times as {'many' if board.examples > examples else 'few'}. Another may lead there."
        )


def view(board: Board) -> str:
    """Name the view of a board as one asks for it."""
    return next(name for name, (view, _) in VIEWS.items() if view == board.view)


def asked(board: Board, wanted: Sequence[Board]) -> str:
    """Give the words that lead to a board, as few as are needed among those that are asked for."""
    words = f"examples={board.examples}"
    if best(wanted, board.examples)[0] is board:
        return words
    return f"budget={board.budget} view={view(board)} {words}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", and {more} more" if more > 0 else "")


def limited(
    limits: Sequence[Limit], found: Sequence[Candidate], kept: Sequence[Candidate], board: Board
) -> Iterator[Line]:
    """Say what each limit excluded; where nothing is left, what came nearest."""
    if limits and not kept:
        yield "Nothing that is recorded keeps within the limits."
    for limit in limits:
        out = [c for c in found if not limit.fits(c)]
        line = f"{limit} excludes {len(out)} of {len(found)}"
        if out and not kept:
            alone = [c for c in out if all(other.fits(c) for other in limits if other is not limit)]
            nearest = min(alone or out, key=lambda c: (limit.excess(c), -c.estimate.value))
            has = amount(nearest.costs[limit.cost], limit.cost) if limit.cost else "cannot be merged"
            line += f"; the nearest miss is {nearest.name}: {has}, score {score(nearest.estimate.value)}"
        yield f"{line}."
        if limit.cost and (unknown := [c for c in found if limit.cost not in c.costs]):
            yield (
                f"The {SHORT[limit.cost]} of {len(unknown)} of {len(found)} is not known: their runs shared a process "
                "with earlier ones. They are not excluded; this measures it:"
            )
            where, tuned = board.records()[0], ["trial=selected"] * (board.view == TUNED)
            yield Command(("+sweep=cost", f"task={where.task}", f"backbone={where.backbone}", *tuned))


def recommended(kept: Sequence[Candidate]) -> Iterator[Line]:
    """Lay out the fronts, the best first, with a command each; then what ties with the best."""
    rows = ranked(kept)
    shown = [row for row in rows if row.least or row.against == "best"]
    yield ""
    yield from shown
    yield "Least for size, memory or step: all that fits and scores higher takes clearly more of it."
    if tied := [short(row.candidate) for row in rows if row.against == "tied" and row not in shown]:
        yield f"Tied with the best as well, by a paired test over {len(kept)} settings: {_listed(tied)}."
    yield from ("", "To run them:")
    for row in shown:
        yield Command(tuple(setting(row.candidate.group.done[0])), knobs(row.candidate.group.done[0]))


def ranked(kept: Sequence[Candidate]) -> list[Row]:
    """Judge every candidate, the best first."""
    differences, members = versus_best(kept), fronts(kept)
    rows = []
    for place, candidate in enumerate(kept):
        found = differences.get(place)
        verdict = "worse" if found and found.clear else "tied" if found and found.p is not None else "open"
        least = tuple(SHORT[cost] for cost, front in members.items() if candidate in front)
        rows.append(Row(candidate, verdict if place else "best", least))
    return rows


def short(candidate: Candidate) -> str:
    """Name a method, and the trial that its command needs."""
    trial = candidate.group.done[0].config.get("trial")
    return candidate.name + (f" trial={trial}" if trial else "")


def knobs(record: Record) -> str:
    """Tell the values that a drawn trial has."""
    method = record.config.get("method") or {}
    known = {name: method.get(name) for name in method.get("search") or {}} if record.config.get("trial") else {}
    return ", ".join(f"{name} {value:g}" for name, value in known.items() if isinstance(value, int | float))


def thin(board: Board, kept: Sequence[Candidate], known: Sequence[Board]) -> Iterator[Line]:
    """Say what these records do not show."""
    few = [c for c in kept if c.estimate.seeds < ENOUGH]
    verdicts = [row.against for row in ranked(kept)[1:]]
    yield ""
    if few:
        yield (
            f"Thin: {len(few)} of {len(kept)} have fewer than {ENOUGH} seeds; with one, an interval tells what other "
            "test examples would do, not what another seed would."
        )
    if blind := [c for c in kept if not c.estimate.examples]:
        yield f"Thin: {len(blind)} of {len(kept)} have no stored predictions, so no interval and no test."
    if unlearnt := [c.name for c in kept if c.group.untrained]:
        yield f"Thin ({MARK}): {_listed(unlearnt)}: at least one seed is {UNTRAINED}."
    if not verdicts:
        yield "Thin: one setting that is recorded fits; it is compared with nothing."
    elif "worse" not in verdicts:
        yield f"Thin: no test tells any of the {len(kept)} from the best; choose by cost."
    if len({b.budget for b in known}) == 1:
        yield "Thin: one budget is recorded; with more steps another may lead."
    costs = [(name, cost) for c in kept for name, cost in c.costs.items() if name in UNITS]
    again = {SHORT[name]: unsteady((c.low, c.high) for n, c in costs if n == name) for name in SHORT}
    if shares := [f"{100 * statistics.median(found):.0f} % in {name}" for name, found in again.items() if found]:
        yield f"Measurements of one setting differ by {' and '.join(shares)} (median): less than that tells nothing."
    if bounds := {SHORT.get(name, "") for name, cost in costs if cost.shared}:
        rough = "; who is least for step is as rough" * (SHORT[STEP] in bounds)
        yield f"≤: measured while others were at work on the machine, an upper bound{rough}."
    if apart := sorted({SHORT[name] for name, cost in costs if cost.apart}):
        yield f"Measured by themselves (+sweep=cost, its own examples a step): {', '.join(apart)}."
    if lost := sorted({f"{g.method} ({r.reason})" for g in board.lost for r in g.records if r.status == "failed"}):
        yield f"Failed there: {'; '.join(lost)}."


def place_of(board: Board) -> tuple[str, ...]:
    """Give the words that all settings of a board share."""
    own = ("method", "trial", *(["size_of"] if board.view != SIZED else []))
    return tuple(w for w in setting(board.records()[0]) if w.lstrip("+").partition("=")[0].partition(".")[0] not in own)


def again(methods: Iterable[str], board: Board, *more: str, tune: bool = False) -> Iterator[Command]:
    """Give the commands that record methods as a board has the others, with three seeds; without names, all."""
    names, place = ",".join(methods), (*place_of(board), *more)
    if board.view != TUNED:
        grid = ("-m", f"method={names}") if names else ("+sweep=defaults",)
        yield Command((*grid, *place, "seed=0,1,2"))
        return
    for step in ("tune", "final") if tune else ("final",):
        yield Command((f"+sweep={step}", *([f"method={names}"] if names else []), *place))


def more(board: Board, kept: Sequence[Candidate], examples: int | None) -> Iterator[Line]:
    """Give the commands that would make the evidence less thin."""
    rows = [row for row in ranked(kept) if row.least and row.against != "worse"]
    methods = dict.fromkeys(row.candidate.group.method for row in rows)
    if any(c.estimate.seeds < ENOUGH for c in kept):
        yield from ("", "More seeds of those above:")
        yield from again(methods, board)
    if examples and board.distance(examples) > LIKE and examples < board.examples:
        yield from ("", f"The same on about {examples:,} examples:")
        place = [w for w in place_of(board) if not w.startswith("fraction=")]
        whole = board.examples / (board.records()[0].config.get("fraction") or 1)
        yield Command(("-m", f"method={','.join(methods)}", *place, f"fraction={examples / whole:.2g}", "seed=0,1,2"))


def unrecorded(board: Board, running: Sequence[str], known: Sequence[Board]) -> Iterator[Line]:
    """Name the methods that can run and are not on the board, and how to record them."""
    on = {group.method for group in (*board.groups, *board.lost)}
    beside = {group.method for other in known for group in other.groups}
    if missing := [method for method in running if method not in on]:
        never = [method for method in missing if method not in beside]
        yield ""
        yield (
            f"{count(len(missing), 'method')} can run, not recorded under this setting "
            f"({len(never)} under none): {_listed(missing)}."
        )
        yield from again(missing if len(missing) <= LISTED else (), board, tune=True)
