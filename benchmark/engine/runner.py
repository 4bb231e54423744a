"""Measurement of a cell: load, attach, train, predict, score, costs."""

from __future__ import annotations

import copy
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.engine.batches import batches, in_order, mates_of, split_batches
from benchmark.engine.context import Run
from benchmark.engine.merging import time_merged
from benchmark.engine.optimiser import in_head
from benchmark.engine.sharding import shard
from benchmark.engine.train import Encoded, fit, precision
from benchmark.errors import InputError
from benchmark.records import MAJORITY, Measurement, lower_is_better, thin
from benchmark.types import TUNE, Example, Features, Head, Prediction, Splits


def measure(run: Run, splits: Splits) -> None:
    """Adapt and measure a cell's network; fill `run.result`."""
    cell, result, group = run.cell, run.result, run.group
    seed_everything(cell.seed_of("init"))
    head = cell.task.head(cell.kind, splits["train"])
    if head.kind.new_head:
        result.data["head"] = {name: value for name, value in asdict(head).items() if name != "kind"}
    with run.meter.phase("load"):
        run.model, run.processor = load(run, head)
    if unread := sum(getattr(module, "unread_weights", 0) for module in run.model.modules()):
        result.data["unread_weights"] = unread
    result.measurements.append(Measurement("cost", "params", sum(p.numel() for p in run.model.parameters())))
    bare = None
    if cell.phase != TUNE:
        bare = run.reuse.get("bare", ("backbone",), lambda: pretraining_loss(run), cell.kind, run.device)
    encoded = encode(run, splits)
    examples = trainable(encoded)
    attach(run, examples)
    result.modules = cell.method.modules(run.model)
    result.measurements += sizes(run.model)
    with curves(run) as keep:
        for point in fit(run, examples):
            keep(point)
    group.agree(p for p in run.model.parameters() if p.requires_grad)
    for name in (name for name in splits if name != "train"):
        answered = slice(cell.budget.max_test)  # also of valid, whose loss covers all: answering takes much longer
        score(run, name, splits[name][answered], predict(run, encoded[name][answered], name))
        score_constant(run, name, splits["train"], [e.targets for e in splits[name][answered]])
    if bare is not None:
        adapted = pretraining_loss(run)
        losses = {"loss_bare": bare, "loss": adapted, "retention": adapted - bare}
        result.measurements += [Measurement("pretraining", key, value) for key, value in losses.items()]
    result.measurements.append(Measurement("cost", "checkpoint_bytes", save(run)))
    run.meter.join(group.gather(run.meter.ledger()))
    result.measurements += run.meter.measurements()
    trained = any(p.requires_grad for p in run.model.parameters())
    if trained and cell.method.mergeable and cell.phase != TUNE and not cell.budget.shard:  # shards cannot be merged
        time_merged(run, examples.valid)


def seed_everything(seed: int) -> None:
    """Seed every generator that a library may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def load(run: Run, head: Head) -> tuple[nn.Module, Any]:
    """Load the bare network and its processor, or copy one loaded for an earlier cell."""
    cell = run.cell
    model, processor = run.reuse.get(
        "network", ("backbone", "budget"), lambda: cell.load(head), head, cell.seed_of("init")
    )
    return (model if run.reuse.values is None else copy.deepcopy(model)), processor


@torch.no_grad()
def pretraining_loss(run: Run) -> float | None:
    """Measure the loss on held-out pretraining data, always in fp32."""
    return run.cell.backbone.pretraining_loss(run.model.to(run.device).eval())


def encode(run: Run, splits: Splits) -> dict[str, list[Features | None]]:
    """Encode every split, counting what was cut or empty.

    Raises InputError where a split cannot be read.
    """
    task, data = run.cell.task, run.result.data

    def encode_all() -> tuple[dict[str, list[Features | None]], dict[str, Counter[str]]]:
        counted: dict[str, Counter[str]] = {name: Counter() for name in splits}
        features = {n: [task.encode(e, run.processor, counted[n]) for e in split] for n, split in splits.items()}
        for name, encoded in features.items():
            task.sum_up(counted[name])
            mates = Counter(mates_of(task, [f for f in encoded if f is not None], run.processor))
            if alone := sum(count == 1 for mate, count in mates.items() if mate is not None):
                counted[name]["examples_padded_with_no_other"] = alone
        return features, counted

    encoded, counted = run.reuse.get("encoded", ("task", "backbone", "budget"), encode_all, data.get("sample"))
    counts = data.setdefault("counts", {})
    for name, counter in counted.items():
        if reason := task.unreadable(counter, len(splits[name])):
            raise InputError(f"split {name}: {reason}: choose another backbone")
        if counter:
            counts[name] = counts.get(name, {}) | counter
    return encoded


def trainable(encoded: dict[str, list[Features | None]]) -> Encoded:
    """Select the examples for training. Raises InputError where a split has none."""
    examples = Encoded(*([f for f in encoded[name] if f is not None] for name in ("train", "valid")))
    for name, split in (("train", examples.train), ("valid", examples.valid)):
        if not split:
            raise InputError(f"split {name}: all {len(encoded[name])} examples are empty after tokenisation")
    return examples


def attach(run: Run, examples: Encoded) -> None:
    """Attach and calibrate the method; seed each process differently."""
    cell = run.cell
    with run.meter.phase("attach"):
        seed_everything(cell.seed_of("init"))  # so that random draws of loading do not change the initialisation
        pretrained = set(run.model.parameters())
        run.model = cell.method.attach(run.model, cell)
        if cell.method.calibrates or not cell.budget.shard:
            run.model = run.model.to(run.device)
    if cell.method.calibrates:
        with run.meter.phase("calibrate"):
            cell.method.calibrate(run.model, calibration(run, examples.train), cell)
    shard(run, pretrained)
    if run.group.rank:
        seed_everything(cell.seed_of("init") + run.group.rank)  # other dropout masks than the first process


def calibration(run: Run, train: Sequence[Features]) -> Iterator[dict[str, Any]]:
    """Yield collated training batches without end, in the same order for every method."""
    cell, processor = run.cell, run.processor
    mates, size = mates_of(cell.task, train, processor), cell.budget.batch_size
    for chosen in batches([cell.task.length(f) for f in train], size, cell.seed_of("order")):
        for part in split_batches(chosen, size, mates):
            batch = cell.task.collate([train[i] for i in part], processor)
            yield {name: tensor.to(run.device) for name, tensor in batch.items()}


def sizes(model: nn.Module) -> list[Measurement]:
    """Count trained parameters, and those of a new head among them."""
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    head = sum(n for name, n in trained.items() if in_head(name))
    return [
        Measurement("cost", "trainable_params", sum(trained.values())),
        Measurement("cost", "head_params", head),
    ]


@contextmanager
def curves(run: Run) -> Iterator[Callable[[Measurement], None]]:
    """Record the points of training, thinned; also where training fails."""
    points: dict[str, list[Measurement]] = {"train": [], "valid": [], "cost": []}
    try:
        with run.watch.count("train", run.cell.last) as count:

            def keep(point: Measurement) -> None:
                points[point.split].append(point)
                if point.split == "train":
                    count(f"loss {point.value:.3f}, valid {points['valid'][-1].value:.3f}")

            yield keep
    finally:
        run.result.measurements += [*thin(points["train"]), *thin(points["valid"]), *points["cost"]]
    best = min(points["valid"], key=lambda point: point.value)
    run.result.measurements += [best._replace(step=None), Measurement("valid", "selected_step", best.step)]


@torch.no_grad()
def predict(run: Run, features: Sequence[Features | None], split: str) -> list[Prediction]:
    """Answer every example of a split, in its order."""
    run.model.eval()
    task, budget = run.cell.task, run.cell.budget
    answers: list[Prediction] = [task.nothing() for _ in features]
    readable, answered = [i for i, f in enumerate(features) if f is not None], {}
    read = [features[i] for i in readable]
    chunks = in_order([task.length(f) for f in read], budget.eval_batch_size, mates_of(task, read, run.processor))
    for chunk in run.watch.track(chunks, f"predict {split}", len(chunks)):
        chosen = [readable[i] for i in chunk]
        # A sharded network is gathered at every token, so all processes generate the same tokens together.
        part = chosen if budget.shard else run.group.share(chosen)
        with run.meter.phase("predict"), precision(run):
            batch = task.predict(run.model, [features[i] for i in part], run.processor) if part else []
        run.meter.predicted += len(chosen)
        run.meter.check()
        if run.pause:
            run.pause.check(run.group)
        answered |= zip(part, batch, strict=True)
    for i, answer in (pair for part in run.group.gather(list(answered.items())) for pair in part):
        answers[i] = answer
    return answers


def score(run: Run, split: str, examples: Sequence[Example], answers: Sequence[Prediction]) -> None:
    """Score a split's answers, and store the answers of a test."""
    task, result = run.cell.task, run.result
    targets = [e.targets for e in examples]
    result.measurements += [Measurement(split, key, value) for key, value in task.score(answers, targets).items()]
    if task.missing:
        result.data["missing"] = {**task.missing}
    if split == "test":
        result.signatures = task.signatures(targets)
    if split != "valid":
        result.examples += rows(split, examples, answers)


def score_constant(run: Run, split: str, train: Sequence[Example], targets: Sequence[tuple[Any, ...]]) -> None:
    """Score one answer for every example of a split: a run that is not above it has learnt nothing of use."""
    task, result = run.cell.task, run.result
    if constant := task.constant(train, targets):
        result.data["majority"] = constant.answer
        scores = {name: value for name, value in constant.scores.items() if not lower_is_better(name)}
        result.measurements += [Measurement(split, MAJORITY + name, value) for name, value in scores.items()]


def rows(split: str, examples: Sequence[Example], answers: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Combine each answer with its target and group, to recompute scores."""
    return [
        {"split": split, "id": example.id, "target": list(example.targets)}
        | ({} if example.group is None else {"group": example.group})
        | answer
        for example, answer in zip(examples, answers, strict=True)
    ]


def save(run: Run) -> int:
    """Save the adapter, temporarily if no folder is given; return its size in bytes."""
    with tempfile.TemporaryDirectory() as scratch:
        run.cell.method.save(run.model, Path(scratch))
        if run.save and run.group.first:
            shutil.copytree(scratch, run.save, dirs_exist_ok=True)
        return sum(f.stat().st_size for f in Path(scratch).rglob("*.safetensors"))
