"""Comparison of the loop's step time with a hand-written loop.

python scripts/step_time.py [steps=60] [method=lora task=nmt ...]

Both train the same method on the same batches in one process, alternating step by step. The result is the ratio of the
medians. A step includes the batch, both passes, the update and bookkeeping.
"""

from __future__ import annotations

import copy
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmark.config.compose import cell_of
from benchmark.engine.batches import batches
from benchmark.engine.context import Run
from benchmark.engine.runner import seed_everything
from benchmark.engine.train import Encoded, fit

WARM = 10  # steps left out


def main(arguments: list[str]) -> None:
    """Run both loops in turn and print the medians and their ratio."""
    given = dict(a.partition("=")[::2] for a in arguments)
    steps = int(given.pop("steps", 60))
    overrides = {"method": "lora", "task": "nmt", **given, "budget.steps": str(steps), "budget.evaluations": "1"}
    cell = cell_of([f"{key}={value}" for key, value in overrides.items()])
    seed_everything(cell.seed)
    splits = cell.task.splits()
    model, processor = cell.backbone.load(cell.budget, cell.task.head(cell.kind, splits["train"]))
    train, valid = (
        [f for example in part if (f := cell.task.encode(example, processor, Counter()))]
        for part in (splits["train"], splits["valid"][:8])
    )
    ours, theirs = (cell.method.attach(copy.deepcopy(model), cell) for _ in range(2))
    loop = fit(Run(cell, model=ours, processor=processor), Encoded(train, valid))
    next(loop)  # the validation before the first step
    hand = by_hand(theirs, cell, train, processor)
    seconds: tuple[list[float], list[float]] = ([], [])
    for step in range(steps):
        for which in (0, 1) if step % 2 else (1, 0):
            started = time.perf_counter()
            next((loop, hand)[which])
            seconds[which].append(time.perf_counter() - started)
    ours, reference = (1000 * statistics.median(s[WARM:]) for s in seconds)
    print(f"loop {ours:.1f} ms, by hand {reference:.1f} ms, ratio {ours / reference:.3f} ({steps - WARM} steps each)")


def by_hand(model: torch.nn.Module, cell, train: list, processor) -> Iterator[None]:
    """Train with a minimal loop."""
    budget = cell.budget
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=cell.lr, weight_decay=budget.weight_decay)
    warm = budget.warmup * budget.steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda s: (s + 1) / (warm + 1) if s < warm else 0.5 + 0.5 * math.cos(math.pi * (s - warm) / budget.steps),
    )
    model.train()
    for chosen in batches([cell.task.length(f) for f in train], budget.batch_size, cell.seed):
        batch = cell.task.collate([train[i] for i in chosen], processor)
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, budget.clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        yield


if __name__ == "__main__":
    main(sys.argv[1:])
