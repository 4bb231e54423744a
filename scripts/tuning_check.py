"""Comparison of successive halving with all trials run in full.

python scripts/tuning_check.py tuned=DIR full=DIR [task=T]

The two folders hold the records of
    python -m benchmark.run +sweep=tune results=TUNED ...
    python -m benchmark.run +sweep=tune trial=0,1,2,3,4,5 seed=0,1 results=FULL ...
For each method in both, it prints the trial that each chooses, the difference of their validation losses (mean over the
seeds, run in full), and the standard error of that loss over validation examples. For the latter the best trial is
trained again, since a record has only the mean.
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from pathlib import Path

from benchmark.config.compose import cell_of
from benchmark.config.trials import ranking, select
from benchmark.engine.context import Run
from benchmark.engine.data import Result, read
from benchmark.engine.train import valid_loss
from benchmark.records import Record, Store
from benchmark.report.overrides import overrides
from benchmark.saved import load
from benchmark.sweeps.execute import perform
from benchmark.sweeps.options import RunOptions


def main(arguments: list[str]) -> None:
    """Print a line per method and task."""
    given = dict(argument.split("=", 1) for argument in arguments)
    tuned, full = (Store(Path(given[name]) / "runs") for name in ("tuned", "full"))
    folders = sorted(path.relative_to(full.folder) for path in full.folder.glob(f"{given.get('task', '*')}/*"))
    print("task method: chosen by halving, best in full, gap, standard error (examples), gap / standard error, steps")
    for task, method in (folder.parts for folder in folders):
        records, known = list(full.of(task, method)), list(tuned.of(task, method))
        if not known:
            continue
        losses = dict(ranking({t: [r for r in records if r.trial == t] for t in {r.trial for r in records}}))
        choice = select(known, known[0].config, known[0].config["method"]["search"])
        best = min(losses, key=lambda trial: losses[trial])
        gap = losses.get(choice.trial, choice.loss) - losses[best]
        error, examples = standard_error(next(r for r in records if r.trial == best and r.seed == 0))
        print(
            f"{task} {method}: {choice.trial} {losses.get(choice.trial, choice.loss):.4f}, {best} {losses[best]:.4f}, "
            f"{gap:.4f}, {error:.4f} ({examples}), {gap / error:.2f}, {choice.steps}"
        )
        print("  in full:", ", ".join(f"{trial}: {loss:.4f}" for trial, loss in losses.items()))


def standard_error(record: Record) -> tuple[float, int]:
    """Train a record's cell again; compute the standard error of its validation loss."""
    cell = cell_of(overrides(record))
    with tempfile.TemporaryDirectory() as scratch:
        options = {"device": "cpu", "force": False, "retry": None, "shared": True, "attempts": 1}
        perform(cell, RunOptions(results=f"{scratch}/results", save=f"{scratch}/adapter", **options), sweeping=True)
        adapted = load(f"{scratch}/adapter")
    alone = dataclasses.replace(cell, budget=dataclasses.replace(cell.budget, eval_batch_size=1))
    valid = [cell.task.encode(example, adapted.processor, {}) for example in read(cell, Result())["valid"]]
    known = [features for features in valid if features is not None]
    # the mean is over items, so an example adds its difference from the mean, times its share of the items
    parts = [(loss_of(adapted, alone, f), items(alone, f, adapted.processor)) for f in known]
    many = sum(count for _, count in parts)
    mean = sum(loss * count for loss, count in parts) / many
    added = [(loss - mean) * count * len(parts) / many for loss, count in parts]
    return statistics.stdev(added) / len(added) ** 0.5, len(added)


def loss_of(adapted, cell, features) -> float:
    """Give the loss of one example."""
    return valid_loss(Run(cell, model=adapted.model, processor=adapted.processor), [features])


def items(cell, features, processor) -> int:
    """Count the target items of one example."""
    return cell.task.items(cell.task.collate([features], processor))


if __name__ == "__main__":
    main(sys.argv[1:])
