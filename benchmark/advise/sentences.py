"""The sentences of an advice."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmark.config.overrides import key_of
from benchmark.records import MARK, UNTRAINED
from benchmark.records.headline import FLOOR, NOT_ABOVE
from benchmark.report import runnable
from benchmark.report.choice import COSTS, ENOUGH, LIKE, Candidate, Limit, distance
from benchmark.report.comparisons import Comparison
from benchmark.report.costs import Cost, unsteady
from benchmark.report.overrides import setting
from benchmark.report.tables.table import ABSENT, significant
from benchmark.report.views import CHOSEN, DEFAULTS, SIZED, TUNED, Run

METHODS = ("method", "trial", "size_of")  # overrides that belong to one method
LISTED = 12  # names, then their number alone
UNITS = {"peak_memory_bytes": (1e6, "MB"), "seconds_per_step": (1e-3, "ms")}
SHORT = dict(zip(COSTS, ("size", "memory", "step"), strict=True))
VIEWS = {  # name in a call -> the view, in words
    "defaults": (DEFAULTS, "the authors' defaults"),
    "tuned": (TUNED, "the best of each method's tuning trials"),
    "sized": (SIZED, "methods brought to one size"),
    "trials": (CHOSEN, "trials that somebody named"),
}


def headline(judged: Sequence[Candidate]) -> str:
    """Say in one sentence what to try."""
    parts = [f"Try {judged[0].name}"]
    for verdict, text in (("tied", "tied with"), ("open", "not tested against"), ("worse", "clearly worse:")):
        if names := [one.name for one in judged if one.verdict == verdict]:
            parts.append(f"{text} {listed(names)}")
    return "; ".join(parts) + "."


def grounds(chosen: Comparison, number: int, examples: int | None, others: Sequence[Comparison]) -> Iterator[str]:
    """Name the records behind the advice, and other comparisons."""
    budget = chosen.records[0].config.get("budget") or {}
    steps, size = budget.get("steps"), budget.get("batch_size")
    spent = f" ({steps} steps of {size} examples)" if steps and size else ""
    machines = sorted({str(record.environment.get("device_name")) for record in chosen.records})
    view = next(text for view, text in VIEWS.values() if view == chosen.view)
    yield (
        f"Evidence: budget {chosen.budget}{spent}, {view}, "
        f"{chosen.examples:,} training examples; {count(number, 'setting')}, {seeds(chosen)}; measured on "
        f"{', '.join(machines)}."
    )
    if others:
        yield f"Also recorded: {'; '.join(map(brief, others))} (choose with budget=, view=, examples=)."
    if examples and (far := distance(chosen, examples)) > LIKE:
        yield (
            f"No run has about {examples:,} training examples. The nearest has {chosen.examples:,}, "
            f"{significant(far, 2)} times {'more' if chosen.examples > examples else 'fewer'}: "
            "another method may lead there."
        )


def limited(limits: Sequence[Limit], every: Sequence[Candidate], fitting: Sequence[Candidate]) -> Iterator[str]:
    """Write what each limit excludes, and the nearest miss if none is left."""
    for limit in limits:
        out = [one for one in every if not limit.fits(one)]
        line = f"{limit} excludes {len(out)} of {len(every)}"
        if out and not fitting:
            alone = [one for one in out if all(other.fits(one) for other in limits if other is not limit)]
            nearest = min(alone or out, key=lambda one: (limit.excess(one), -one.estimate.value))
            has = amount(nearest.costs[limit.cost], limit.cost) if limit.cost else "cannot be merged"
            line += f"; the nearest miss is {nearest.name}: {has}, score {score(nearest.estimate.value)}"
        yield f"{line}."
        if limit.cost and (unknown := [one for one in every if limit.cost not in one.costs]):
            yield (
                f"The {SHORT[limit.cost]} of {len(unknown)} of {len(every)} is not known: their runs shared a process "
                "with earlier ones. They are not excluded. +sweep=cost measures it."
            )


def thin(chosen: Comparison, judged: Sequence[Candidate], known: Sequence[Comparison]) -> Iterator[str]:
    """Write what is missing in the evidence."""
    if few := [one for one in judged if one.estimate.seeds < ENOUGH]:
        yield (
            f"Thin: {len(few)} of {len(judged)} have fewer than {ENOUGH} seeds. With one seed, the interval covers "
            "other test examples, not other seeds. To run more seeds of those above:"
        )
        yield from to_record(sorted({one.configuration.method for one in judged if shown(one)}), chosen)
    if blind := [one for one in judged if not one.estimate.examples]:
        yield f"Thin: {len(blind)} of {len(judged)} have no stored answers, so no interval and no test."
    if untrained := [one.name for one in judged if one.configuration.untrained]:
        yield f"Thin ({MARK}): {listed(untrained)}: at least one seed is {UNTRAINED}."
    if low := [one.name for one in judged if FLOOR in one.configuration.marks]:
        yield f"Thin ({FLOOR}): {listed(low)}: {NOT_ABOVE}."
    if len(judged) > 1 and all(one.verdict != "worse" for one in judged):
        yield f"Thin: none of the {len(judged)} is clearly worse than the best; choose by cost."
    if len({one.budget for one in known}) == 1:
        yield "Thin: one budget is recorded; with more steps another method may lead."
    costs = [(SHORT[name], cost) for one in judged for name, cost in one.costs.items() if name in UNITS]
    spreads = {name: unsteady((c.low, c.high) for n, c in costs if n == name) for name in SHORT.values()}
    if spread := [f"{100 * statistics.median(shares):.0f} % in {name}" for name, shares in spreads.items() if shares]:
        yield f"Measurements of one setting differ by {' and '.join(spread)} (median): ignore smaller differences."
    if any(cost.shared for _, cost in costs):
        yield "≤: an upper bound, measured beside other work on the machine."
    if apart := sorted({name for name, cost in costs if cost.apart}):
        yield f"Measured in separate runs (+sweep=cost, another number of examples a step): {', '.join(apart)}."
    if lost := sorted({f"{g.method} ({r.reason})" for g in chosen.lost for r in g.records if r.status == "failed"}):
        yield f"Failed there: {'; '.join(lost)}."


def unrecorded(chosen: Comparison, running: Sequence[str], known: Sequence[Comparison]) -> Iterator[str | list[str]]:
    """Name the methods that can run but are not recorded, with commands."""
    here = {one.method for one in (*chosen.members, *chosen.lost)}
    if not (missing := [method for method in running if method not in here]):
        return
    never = set(missing) - {method for other in known for method in other.methods}
    yield ""
    yield (
        f"{count(len(missing), 'method')} can run but are not recorded here ({len(never)} nowhere): {listed(missing)}."
    )
    yield from to_record(missing, chosen, ("tune", "final"))


def to_record(methods: Sequence[str], chosen: Comparison, steps: Sequence[str] = ("final",)) -> Iterator[list[str]]:
    """Yield the overrides that record methods as the comparison was recorded.

    With three seeds each; of more than LISTED methods, those of the whole sweep.
    """
    shared = [o for o in setting(chosen.records[0]) if key_of(o).partition(".")[0] not in METHODS]
    names = [f"method={','.join(methods)}"] if len(methods) <= LISTED else []
    if chosen.view == TUNED:
        yield from ([f"+sweep={step}", *names, *shared] for step in steps)
    else:
        yield [*(["-m", *names] if names else ["+sweep=defaults"]), *shared, "seed=0,1,2"]


def shown(one: Candidate) -> bool:
    """Whether a candidate stands in the table."""
    return bool(one.least) or one.verdict == "best"


def nothing(task: str, backbone: str, runs: Sequence[Run], known: Sequence[Comparison]) -> Iterator[str | list[str]]:
    """Write that there is no record, what is nearest, and how to make some."""
    if known:
        yield f"No evidence: no run has that budget and view. Recorded are {'; '.join(map(brief, known))}."
        return
    yield (
        f"No evidence: there is no finished run of {task} on {backbone} with a test score. Tuning trials and the "
        "budgets cost and smoke do not count."
    )
    finals = [record for _, record in runs if record.status == "done" and not record.config.get("phase")]
    if elsewhere := sorted({r.backbone for r in finals if r.task == task and r.backbone != backbone}):
        yield f"{task} is recorded on {', '.join(elsewhere)}: ask with backbone={elsewhere[0]}."
    if near := runnable.alike(task, {record.task for record in finals}):
        there = count(Counter(record.task for record in finals)[near[0]], "run")
        yield f"The nearest task is {near[0]}, {there}; to see what leads there, ask with task={near[0]}."
    hub = not (runnable.STORED / runnable.described("backbone", backbone)["checkpoint"]).is_dir()
    shared = [f"task={task}", f"backbone={backbone}", *(["budget=long"] if hub else [])]
    yield "To make records: tune on validation, then run the best trials with three seeds each:"
    yield from ([f"+sweep={step}", "+sweep=core", *shared] for step in ("tune", "final"))


def brief(one: Comparison) -> str:
    """Name a comparison in a few words."""
    name = " ".join(filter(None, (one.budget or "no budget", one.view)))
    return f"{name} ({count(len(one.methods), 'method')}, {seeds(one)}, {one.examples:,} examples)"


def seeds(one: Comparison) -> str:
    """Write how many seeds, and folds, the members of a comparison have."""
    least, most = (pick(len(member.rounds) for member in one.members) for pick in (min, max))
    folds = max(len(member.folds) for member in one.members)
    shown = count(most, "seed") if least == most else f"{least} to {most} seeds"
    return f"{shown} of {count(folds, 'fold')}" if folds else shown


def count(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Join at most LISTED names."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f", and {more} more" if more > 0 else "")


def score(value: float, largest: float | None = None) -> str:
    """Write a headline score with the decimals of the largest beside it."""
    return f"{value:.2f}" if abs(largest or value) >= 10 else f"{value:.3f}"


def amount(cost: Cost | None, name: str) -> str:
    """Write a cost with its unit; ≤ marks an upper bound."""
    if cost is None:
        return ABSENT
    if name not in UNITS:
        return f"{cost.value:,.0f}"
    unit, word = UNITS[name]
    return f"{'≤' * cost.shared}{significant(cost.value / unit)} {word}"
