"""Time a report on many synthetic records.

python scripts/many_records.py 1000 DIR

python scripts/many_records.py N DIR [predictions=0.2] [make=true] [build=true] [leave=statistics,figures]

DIR/published/reference gets the records, DIR the report. predictions: share of final runs with answers; leave: parts of
the report that are left out. Scores are an effect of the method with noise.
"""

from __future__ import annotations

import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmark.identity import run_id
from benchmark.records import Measurement, Record
from benchmark.records.answers import pack  # the store itself waits for the disk after every file
from benchmark.report import __main__ as report
from benchmark.report import comparisons, frame, material
from benchmark.report.figures.drawing import press
from benchmark.report.published import verdicts
from benchmark.report.statistics import ranks
from benchmark.report.tables import across, overview, scores

METRICS = ("accuracy", "spearman", "macro_f1", "bleu")
PHASES = [("tune", trial, 0) for trial in range(4)] + [(None, trial, seed) for trial in (0, 2) for seed in range(3)]
TEST = 80  # examples
PARTS: dict[str, list[tuple[Any, str]]] = {  # timed parts, and the functions that the report calls for them
    "load": [(frame, "load")],
    "frames": [(frame, "tidy"), (frame, "measurements"), (frame, "write")],
    "configurations": [(comparisons, "tables")],
    "statistics": [
        (material, "standings"),
        *((ranks, name) for name in ("task_scores", "ranks")),
        *((across, name) for name in ("ranking", "certainty")),
        (verdicts, "table"),
    ],
    "tables": [(scores, "table"), (overview, "overview")],
    "figures": [(press, "every"), (press, "publish")],
    "page": [(report.site, "write")],
}


def cells(number: int) -> Iterator[tuple[str, str, float | None, str | None, int, int]]:
    """Yield `number` cells: first more methods, then fractions, then tasks."""
    methods = min(max(number // 50, 2), 80)
    fractions = min(max(number // (50 * methods), 1), 5)
    tasks = -(-number // (len(PHASES) * methods * fractions))
    grid = itertools.product(range(tasks), range(methods), [None, 0.5, 0.2, 0.1, 0.05][:fractions], PHASES)
    for task, method, fraction, (phase, trial, seed) in itertools.islice(grid, number):
        yield f"task_{task:02d}", f"method_{method:02d}", fraction, phase, trial, seed


def record(cell: tuple[str, str, float | None, str | None, int, int]) -> Record:
    """Make a run of realistic size; one in twenty is skipped or failed."""
    task, method, fraction, phase, trial, seed = cell
    index, rank = int(task[5:]), int(method[7:])
    config = {
        "task": {"name": task, "_target_": "tasks.some.Task", "description": "Synthetic.", "version": 1}
        | {"data": {"_target_": "tasks.some.Data", "train": 400, "valid": 40, "test": TEST}},
        "method": {"name": method, "_target_": "benchmark.methods.some.Method", "description": "Synthetic."}
        | {"lr": 0.001 * (1 + trial), "search": {"lr": {"low": 1e-4, "high": 1e-2}}, "sized_by": "rank", "rank": rank},
        "backbone": {"name": f"backbone_{index:02d}", "description": "Synthetic.", "weights": "pretrained"},
        "budget": {"name": "reference", "steps": 120, "batch_size": 8, "precision": "fp32", "evaluations": 3},
        "seed": seed,
        "fraction": fraction,
        "phase": phase,
        "trial": trial or None,
    }
    chance = random.Random(f"{task} {method} {fraction} {phase} {trial} {seed}")
    status = "skipped" if rank % 25 == 24 else "failed" if chance.random() < 0.02 else "done"
    score = 0.4 + rank / 400 + (trial == 2) * 0.02 + chance.gauss(0, 0.02)
    metric = METRICS[index % len(METRICS)]
    sizes = {"train": round(400 * (fraction or 1)), "valid": 40, "test": TEST}
    data = {"metric": metric, "fingerprint": f"print {task}", "sample": f"{task} {fraction}", "sizes": sizes}
    if phase is None and trial:
        data["selected"] = {"trial": trial, "loss": score, "trials": 4, "seeds": [0], "at_edge": []}
    return Record(
        run_id=run_id(config),
        task=task,
        method=method,
        backbone=f"backbone_{index:02d}",
        seed=seed,
        status=status,
        reason=None if status == "done" else f"{method} does not fit",
        created="2026-01-01T00:00:00+00:00",
        config=config,
        data=data if status == "done" else {},
        modules=[
            f"model.layers.{i}.attention.{name}" for i in range(6) for name in ("query", "key", "value", "output")
        ],
        signatures={"bleu": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0"} if metric == "bleu" else {},
        environment={"device": "cpu", "device_name": "synthetic", "commit": "0" * 40, "threads": 1}
        | {"versions": {f"package_{i}": "1.0.0" for i in range(30)}},
        measurements=tuple(measure(chance, metric, score, phase, rank)) if status == "done" else (),
    )


def measure(chance: random.Random, metric: str, score: float, phase: str | None, rank: int) -> Iterator[Measurement]:
    """Measure a hundred numbers: two curves, scores and costs."""
    scale = 100 if metric == "bleu" else 1
    for step in range(1, 61):
        yield Measurement("train", "loss", 2 / step + chance.random(), 2 * step)
    for step in (40, 80, 120):
        yield Measurement("valid", "loss", 1 / step + chance.random(), step)
    yield Measurement("valid", "loss", 2 - score)
    for split in ("valid",) if phase else ("valid", "test", "test/shift"):
        yield Measurement(split, metric, scale * (score + chance.gauss(0, 0.01)))
        yield from (Measurement(split, f"score_{i}", chance.random()) for i in range(3))
    yield from (
        Measurement("cost", f"{name}_seconds", chance.random()) for name in ("load", "attach", "train", "predict")
    )
    yield Measurement("cost", "params", 1e6)
    yield Measurement("cost", "trainable_params", 1000.0 * (rank + 1) ** 1.5)
    yield from (Measurement("cost", name, 1e6 * chance.random()) for name in ("peak_memory_bytes", "checkpoint_bytes"))
    yield from (Measurement("cost", f"cost_{i}", chance.random()) for i in range(10))
    yield Measurement("cost", "seconds_per_step", 0.01 * (1 + chance.random()))


def answers(run: Record) -> Iterator[dict[str, Any]]:
    """Yield answers of about the record's score."""
    chance = random.Random(run.run_id)
    metric = run.data["metric"]
    score = run.value("test", metric) or 0.0
    for i in range(TEST):
        row: dict[str, Any] = {"split": "test", "id": f"{run.task} {i}"}
        right = chance.random() < score / (100 if metric == "bleu" else 1)
        if metric == "spearman":
            yield row | {"target": [i / TEST], "prediction": i / TEST + chance.gauss(0, 0.5)}
        elif metric == "bleu":
            yield row | {"target": [f"a b c d {i}"], "prediction": f"a b c d {i if right else 'x'}"}
        else:
            yield row | {"target": ["abc"[i % 3]], "prediction": "abc"[(i + (not right)) % 3]}


def make(number: int, folder: Path, share: float) -> None:
    """Write the records below a folder, as a store does."""
    for run in map(record, cells(number)):
        parent = folder / run.task / run.method
        parent.mkdir(parents=True, exist_ok=True)
        (parent / f"{run.run_id}.json").write_text(run.to_json(), encoding="utf-8")
        final = run.status == "done" and not run.config["phase"]
        if final and random.Random(f"kept {run.run_id}").random() < share:
            (parent / f"{run.run_id}.examples.jsonl.gz").write_bytes(pack(answers(run)))


def watch_parts(spent: dict[str, list[float]], left: list[str]) -> None:
    """Wrap the functions of every part, to add up wall and processor seconds."""

    def watch(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            started = time.perf_counter(), time.process_time()
            try:
                return function(*args, **named)
            finally:
                for position, (now, then) in enumerate(
                    zip((time.perf_counter(), time.process_time()), started, strict=True)
                ):
                    spent.setdefault(part, [0.0, 0.0])[position] += now - then

        return call

    for part, functions in PARTS.items():
        for module, name in functions:
            setattr(module, name, (lambda *_: {}) if part in left else watch(part, getattr(module, name)))
    report.main = watch("all", report.main)


def main(arguments: list[str]) -> int:
    """Make the records, then time the report twice: without and with a cache."""
    number, folder = int(arguments[0]), Path(arguments[1])
    options = dict(word.split("=", 1) for word in arguments[2:])
    if options.get("make", "true") == "true":
        make(number, folder / "published/reference", float(options.get("predictions", "0.2")))
    if options.get("build", "true") != "true":
        return 0
    spent: dict[str, list[float]] = {}
    watch_parts(spent, options.get("leave", "").split(","))
    for run in ("cold", "warm"):
        spent.clear()
        report.main([f"results={folder}"])
        for part, (wall, busy) in spent.items():
            print(f"{run}  {part:<12}{wall:8.2f} s wall {busy:8.2f} s of the processor")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
