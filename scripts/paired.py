"""Compare two methods on the same examples: python scripts/paired.py TASK A B [results=DIR] [backbone=B] [unit=group].

A and B are methods, `lora@random` is LoRA on random weights. The difference of the test score is averaged over the
seeds that both have; its 95 % interval is a bootstrap over seeds and test examples that computes the score anew from
the stored answers. With unit=group it draws groups (speakers, parents, tiles) in place of examples, since those of one
group are alike; that reads the task's data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.records import Record, Store, sources  # noqa: E402
from benchmark.saved import task_of  # noqa: E402
from benchmark.sweeps.screen import key  # noqa: E402

DRAWS = 1000


def main(arguments: list[str]) -> None:
    """Print the difference and its interval."""
    task, one, other = (a for a in arguments if "=" not in a)
    given = dict(a.split("=", 1) for a in arguments if "=" in a)
    stores = list(sources(Path(given.get("results", "results"))).values())
    sides = [side(stores, task, name, given.get("backbone")) for name in (one, other)]
    seeds = sorted(sides[0].keys() & sides[1].keys())
    if not seeds:
        raise SystemExit(f"no seed of {task} has a finished record of both {one} and {other}: run them first")
    first = sides[0][seeds[0]][0]
    metric = given.get("metric", first.data["metric"])
    found = task_of(first)
    pairs = [[slim(found, metric, part[seed][1]) for part in sides] for seed in seeds]
    units = list(range(len(pairs[0][0])))
    if given.get("unit") == "group":
        groups = {e.id: e.group for e in found.splits()["test"]}
        units = [groups[row["id"]] for row in pairs[0][0]]
    mean, low, high = interval(found, metric, pairs, units)
    print(
        f"{task} {first.backbone} test {metric}: {one} - {other} = {mean:+.4f} [{low:+.4f}, {high:+.4f}] "
        f"({len(seeds)} seeds, {len(set(units))} {given.get('unit', 'example')}s, {DRAWS} draws)"
    )


def side(stores: Sequence[Store], task: str, name: str, backbone: str | None) -> dict[int, tuple[Record, list[dict]]]:
    """Find the records of one side by seed, with their test answers."""
    method, _, weights = name.partition("@")
    found, settings = {}, {}
    for store in stores:
        for record in store.records():
            config = record.config.get("backbone") or {}
            right = (record.task, record.method, config.get("weights")) == (task, method, weights or "pretrained")
            if right and record.status == "done" and backbone in (None, record.backbone):
                rows = [row for row in store.examples(record) if row["split"] == "test"]
                found[record.seed] = (record, rows)
                settings[key(record)] = record.backbone
    if len(settings) > 1:
        raise SystemExit(
            f"{name}: records of {len(settings)} settings ({', '.join(sorted(set(settings.values())))}) cannot be one "
            "side: give backbone=B, or results=DIR with the runs of one setting alone"
        )
    return found


def interval(
    task: object, metric: str, pairs: list[list[list[dict]]], units: Sequence[object]
) -> tuple[float, float, float]:
    """Resample seeds and, alike for all of them, units of examples; return the difference and its percentiles."""
    for ours, theirs in pairs:
        if [row["id"] for row in ours] != [row["id"] for row in theirs]:
            raise SystemExit("the two sides answered different examples: their data differs")
    rng = np.random.default_rng(0)

    def difference(seeds: Sequence[int], places: Sequence[int]) -> float:
        return float(
            np.mean(
                [score(task, metric, pairs[s][0], places) - score(task, metric, pairs[s][1], places) for s in seeds]
            )
        )

    members = [[i for i, unit in enumerate(units) if unit == one] for one in dict.fromkeys(units)]
    count, size = len(pairs), len(members)
    draws = [
        difference(rng.integers(count, size=count), [i for m in rng.integers(size, size=size) for i in members[m]])
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(draws, [2.5, 97.5])
    return difference(range(count), range(len(units))), float(low), float(high)


def slim(task: object, metric: str, rows: list[dict]) -> list[dict]:
    """Leave probabilities out where the score does not need them: ranking them takes most of the time."""
    without = [{**row, "probabilities": {}} for row in rows]
    scores = task.score(without, [tuple(row["target"]) for row in rows])
    return without if metric in scores else rows


def score(task: object, metric: str, rows: list[dict], places: Sequence[int]) -> float:
    """Compute one score of the chosen examples."""
    chosen = [rows[i] for i in places]
    return task.score(chosen, [tuple(row["target"]) for row in chosen])[metric]


if __name__ == "__main__":
    main(sys.argv[1:])
