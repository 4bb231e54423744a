"""Output of a run on the screen: start, scores, costs, comparison."""

from __future__ import annotations

import math
import statistics
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmark.records import MAJORITY, MARK, UNTRAINED, YOURS, Record, Store, floor_notes, repeat_warnings, shipped
from benchmark.records.configurations import (
    ANY_SOURCE,
    FINGERPRINT,
    Configuration,
    configurations,
    count_seeds,
    distinguished,
    label,
)
from benchmark.records.headline import FLOOR, NOT_ABOVE

console = Console()
COSTS = {  # measurement -> (label, unit, divisor)
    "trainable_params": ("trainable parameters", "", 1),
    "seconds_per_step": ("step", "ms", 1e-3),
    "tokens_per_second": ("speed", "tokens/s", 1),
    "train_seconds": ("training", "s", 1),
    "evaluate_seconds": ("validation", "s", 1),
    "predict_seconds": ("predicting", "s", 1),
    "peak_memory_bytes": ("peak memory", "MB", 1e6),
    "checkpoint_bytes": ("adapter on disk", "kB", 1e3),
}


def say(line: str) -> None:
    """Print a line without markup, and flush it."""
    console.print(line, soft_wrap=True, markup=False, highlight=False)
    sys.stdout.flush()


def begin(names: Mapping[str, str], config: Mapping[str, Any]) -> None:
    """Print the chosen cell before anything that takes seconds."""
    nouns = ", ".join(f"{noun} {names[noun]}" for noun in ("backbone", "budget"))
    say(f"{names['method']} on {names['task']}: {nouns}, {seed(config)}")


def seed(config: Mapping[str, Any]) -> str:
    """Write the seed of a cell, and its fold where it has one."""
    fold = "" if config.get("fold") is None else f", fold {config['fold']} of {config['folds']}"
    return f"seed {config.get('seed')}{fold}"


def say_recorded(record: Record, results: str) -> None:
    """Print that a cell is already recorded, and how to run it again."""
    reason = f": {record.reason}" if record.reason else ""
    say(f"already recorded in {results}/runs as {record.run_id} ({record.status}{reason}); force=true runs it again")


def say_skipped(record: Record) -> None:
    """Print why a cell of a sweep was not run."""
    say(f"skipped {record.method} on {record.task}: {record.reason}")


def say_vacant(overrides: Sequence[str], reason: str | None) -> None:
    """Print why no trial runs at a position of a rung."""
    say(f"skipped {' '.join(overrides)}: {reason}")


def say_paused(task: str, method: str, step: int | None) -> None:
    """Print that a signal paused a run."""
    when = "before its first step" if step is None else f"after step {step}, with a checkpoint"
    say(f"paused {method} on {task} {when}; the same command continues it")


def line(record: Record) -> None:
    """Print in one line how a cell of a sweep ended."""
    metric = record.headline() or ""
    split = "valid" if record.value("test", metric) is None else "test"
    trial = f" trial {record.trial}" if record.trial else ""
    remarks = [*[UNTRAINED] * record.untrained, *floor_notes(record), *repeat_warnings(record)]
    say(
        f"{record.status} {record.method} on {record.task}, {record.backbone}, {seed(record.config)}{trial}: "
        f"{metric} {number(record.value(split, metric))} on {split} ({record.seconds():.1f} s)"
        f"{''.join(f'; {note}' for note in remarks)}"
    )


def plan(cells: Sequence[tuple[Any, Record | None]], remaining: Sequence[Any]) -> None:
    """Print the number of a sweep's cells by status, and the reasons of failures."""
    counts = Counter(record.status for _, record in cells if record)
    known = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none recorded"
    say(f"{len(cells)} cells: {known}; {len(remaining)} to run")
    for overrides, record in cells:
        if record and record.status == "failed":
            say(f"failed {' '.join(overrides)}: {record.reason}")


def show(record: Record, store: Store, path: Path | None = None) -> None:
    """Print one screen about a finished run."""
    title = f"{record.task} · {record.method} · {record.backbone} · {seed(record.config)}"
    console.print(title, style="bold", highlight=False)
    console.print(scores(record))
    for warning in repeat_warnings(record):
        console.print(warning, style="bold", soft_wrap=True, markup=False, highlight=False)
    console.print(costs(record))
    console.print(notes(record), soft_wrap=True, markup=False)
    runs = [("shipped", r) for r in shipped(record.task, "*")] + [(YOURS, r) for r in store.of(record.task, "*")]
    known = configurations(run for run in runs if (run[1].backbone, run[1].tuning) == (record.backbone, record.tuning))
    console.print(comparison(record, known))
    if difference := beside_shipped(record, known):
        say(difference)
    if path:
        say(f"recorded in {path}")
    sys.stdout.flush()


def beside_shipped(record: Record, known: Iterable[Configuration]) -> str | None:
    """Write how a run may differ from shipped ones: other data, or another processor."""
    others = [one for one in rivals(record, known, (*ANY_SOURCE, FINGERPRINT)) if one.source != YOURS]
    data = _alone(record).settings.get(FINGERPRINT)
    if others and data not in {one.settings.get(FINGERPRINT) for one in others}:
        return (
            "This data differs from that of the shipped results (other package versions?), so they are not compared. "
            "Installing with pip install -c constraints.txt gives the same data."
        )
    if moved := record.config["task"].get("across_processors"):
        most = ", ".join(f"{name} {number(value)}" for name, value in moved.items())
        return f"On another processor the score of one seed may differ by {most}: compare means over seeds."
    return None


def scores(record: Record) -> Table:
    """Make the table of final scores: a row per score, a column per split."""
    final = [m for m in record.measurements if m.step is None and m.split not in ("cost", "pretraining")]
    splits = list(dict.fromkeys(m.split for m in final))
    table = Table()
    table.add_column("score")
    for split in splits:
        table.add_column(split, justify="right")
    for name in dict.fromkeys(m.name for m in final if m.name != "selected_step" and not m.name.startswith(MAJORITY)):
        values = [record.value(split, name) for split in splits]
        style = "bold" if name == record.headline() else None
        table.add_row(name, *("" if v is None else number(v) for v in values), style=style)
    return table


def costs(record: Record) -> Table:
    """Make the table of a run's costs."""
    table = Table(show_header=False)
    cells = []
    for name, (title, unit, divisor) in COSTS.items():
        if (value := record.value("cost", name)) is not None:
            share = f" ({trainable(record):.2f} %)" if name == "trainable_params" else ""
            cells += [title, f"{value / divisor:,.0f}{share} {unit}".rstrip()]
    for start in range(0, len(cells), 4):
        table.add_row(*cells[start : start + 4])
    return table


def notes(record: Record) -> str:
    """Write the notes on a run: step, retention, counts of data, warnings."""
    step = record.value("valid", "selected_step")
    lines = [f"selected step {step:.0f} (lowest validation loss)" if step is not None else ""]
    lines += [*[UNTRAINED] * record.untrained, *floor_notes(record)]
    if (change := record.value("pretraining", "retention")) is not None:
        bare = record.value("pretraining", "loss_bare")
        lines.append(f"loss on held-out pretraining data {number(bare)} -> {number(bare + change)}")
    for split, counts in record.data.get("counts", {}).items():
        lines += [f"{split}: {count} {name.replace('_', ' ')}" for name, count in counts.items()]
    lines += [f"{name.replace('_', ' ')}: {value}" for name, value in record.data.get("reading", {}).items()]
    if chosen := record.data.get("selected"):
        lines.append(f"trial {chosen['trial']} of {chosen['trials']}, chosen by validation")
        lines += [f"{edge}: a better value may be beyond" for edge in chosen["at_edge"]]
    if size := record.data.get("size"):
        lines.append(f"{size['knob']}={size['value']} for {size['reached']:,} of {size['wanted']:,} {size['of']}")
    if idle := record.value("cost", "params_without_gradient"):
        lines.append(f"{idle:,.0f} of the trained parameters never had a gradient")
    lines += [f"no number of {what}: {reason}" for what, reason in record.data.get("missing", {}).items()]
    if unread := record.data.get("unread_weights"):
        lines.append(f"{unread:,} tensors of the checkpoint are not read")
    if unpinned := record.data.get("unpinned"):
        lines.append(f"unpinned: {', '.join(unpinned)}")
    return "; ".join(line for line in lines if line)


def comparison(record: Record, known: Iterable[Configuration]) -> Table:
    """Make the table of configurations comparable with a run, best mean first."""
    metric = record.headline() or ""
    table = Table(title=f"{metric} on test, same task, backbone and device type, same budget", title_justify="left")
    for column in ("method", "records", "seeds", metric, r"trainable \[%]", r"step \[ms]", "run"):
        left = column in ("method", "records", "run")
        table.add_column(column, justify="left" if left else "right")
    captions: dict[str, str] = {}
    members = distinguished(rivals(record, known))
    for one in sorted(members, key=lambda one: _mean(one, "test", metric) or -math.inf, reverse=True):
        this = one.source == YOURS and any(r.run_id == record.run_id for r in one.done)
        step = _mean(one, "cost", "seconds_per_step")
        bound = "≤" * any(r.busy for r in one.done)
        captions |= {MARK: f"{MARK} {UNTRAINED}"} if one.untrained else {}
        captions |= {FLOOR: f"{FLOOR} {NOT_ABOVE}"} if FLOOR in one.marks else {}
        table.add_row(
            label(one, ANY_SOURCE),
            one.source,
            count_seeds(one),
            number(_mean(one, "test", metric)) + one.marks,
            number(trainable(one.done[0])),
            "" if step is None else bound + number(1000 * step),
            "<- this" if this else "",
            style="bold" if this else None,
        )
    table.caption = "; ".join(captions.values()) or None
    return table


def rivals(
    record: Record, known: Iterable[Configuration], ignored: Collection[str] = ANY_SOURCE
) -> list[Configuration]:
    """List the finished configurations that share a run's conditions."""
    known = [*known]
    # the other folds of a run are runs of one configuration, and only equal folds are compared
    with_it = (one for one in known if any(r.run_id == record.run_id for r in one.done))
    conditions = next(with_it, _alone(record)).conditions(ignored)
    return [one for one in known if one.done and one.conditions(ignored) == conditions]


def _alone(record: Record) -> Configuration:
    [this] = configurations([(YOURS, record)])
    return this


def trainable(record: Record) -> float | None:
    """Give the trainable parameters as a percentage of the bare network's."""
    trained, all_ = record.value("cost", "trainable_params"), record.value("cost", "params")
    return None if trained is None or not all_ else 100 * trained / all_


def number(value: float | None) -> str:
    """Write a number with two decimals, or three significant digits if it is small."""
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.095 or not value else f"{value:.3g}"


def _mean(one: Configuration, split: str, name: str) -> float | None:
    values = one.values(split, name)
    return statistics.fmean(values) if values else None
