"""run(): load, count the bare network, attach, fit, evaluate, account."""

from __future__ import annotations

import copy
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.engine.batches import batches, in_order, mates_of, parted
from benchmark.engine.checkpoint import Pause
from benchmark.engine.data import Result
from benchmark.engine.distributed import here
from benchmark.engine.merging import time_merged
from benchmark.engine.meter import Meter
from benchmark.engine.optimiser import in_head
from benchmark.engine.progress import Watch
from benchmark.engine.reuse import Reuse
from benchmark.engine.sharding import sharded
from benchmark.engine.train import Encoded, fit, precision
from benchmark.errors import InputError
from benchmark.records import Measurement, thin
from benchmark.types import TUNE, Example, Features, Head, Prediction, Splits


def run(
    cell: Cell,
    splits: Splits,
    device: str,
    watch: Watch,
    result: Result,
    save: Path | None = None,
    reuse: Reuse | None = None,
    pause: Pause | None = None,
) -> None:
    """Run a cell, filling the result as it goes, so that a failure leaves what was known before it."""
    # one clock decides for all processes, so that they stop together
    reuse, meter = reuse or Reuse(), Meter(device, cell.budget.max_seconds if here().first else None)
    seed_everything(cell.seed_of("init"))
    head = cell.task.head(cell.kind, splits["train"])
    if head.kind.new_head:
        result.data["head"] = {name: value for name, value in asdict(head).items() if name != "kind"}
    with meter.phase("load"):
        model, processor = network(cell, head, reuse)
    result.measurements.append(Measurement("cost", "params", sum(p.numel() for p in model.parameters())))
    bare = None
    if cell.phase != TUNE:
        bare = reuse.get("bare", ("backbone",), lambda: recall(cell, model, device), cell.kind, device)
    encoded = encoding(cell, splits, processor, result, reuse)
    learnt = learnable(encoded)
    model = attached(model, cell, learnt, processor, device, meter)
    result.modules = cell.method.modules(model)
    result.measurements += sizes(model)
    train(model, cell, learnt, processor, meter, watch, result, pause)
    here().agree(p for p in model.parameters() if p.requires_grad)
    for name in splits:
        if name != "train":
            answered = slice(cell.budget.max_test)  # of valid as well: it has its loss, and answers take much longer
            answers = predict(model, cell, encoded[name][answered], processor, meter, watch, name, pause)
            scored(cell, name, splits[name][answered], answers, result)
    if bare is not None:
        adapted = recall(cell, model, device)
        measured = {"loss_bare": bare, "loss": adapted, "retention": adapted - bare}
        result.measurements += [Measurement("pretraining", key, value) for key, value in measured.items()]
    weight = saved(model, cell, save if here().first else None)
    result.measurements.append(Measurement("cost", "checkpoint_bytes", weight))
    meter.join(here().gather(meter.ledger()))
    result.measurements += meter.measurements()
    trained = any(p.requires_grad for p in model.parameters())
    if trained and cell.method.mergeable and cell.phase != TUNE and not cell.budget.shard:  # pieces take nothing in
        time_merged(model, cell, learnt.valid, processor, device, result)


def learnable(encoded: dict[str, list[Features | None]]) -> Encoded:
    """Leave what training may see, without what came out empty. Raises InputError where nothing is left."""
    learnt = Encoded(*([f for f in encoded[name] if f is not None] for name in ("train", "valid")))
    for name, examples in (("train", learnt.train), ("valid", learnt.valid)):
        if not examples:
            raise InputError(f"split {name}: all {len(encoded[name])} examples are empty after tokenisation")
    return learnt


def attached(model: nn.Module, cell: Cell, learnt: Encoded, processor: Any, device: str, meter: Meter) -> nn.Module:
    """Attach the method, calibrate it where it wants that, and leave each process with its own randomness."""
    with meter.phase("attach"):
        seed_everything(cell.seed_of("init"))  # what loading drew must not move a method's initialisation
        pretrained = set(model.parameters())
        model = cell.method.attach(model, cell)
        if cell.method.calibrates or not cell.budget.shard:
            model = model.to(device)
    if cell.method.calibrates:
        with meter.phase("calibrate"):
            cell.method.calibrate(model, calibration(cell, learnt.train, processor, device), cell)
    model = sharded(model, pretrained, cell, device)
    if here().rank:
        seed_everything(cell.seed_of("init") + here().rank)  # dropout masks of its own
    return model


def scored(cell: Cell, name: str, examples: Sequence[Example], answers: Sequence[Prediction], result: Result) -> None:
    """Score a split's answers, and keep those of a test."""
    targets = [e.targets for e in examples]
    scores = cell.task.score(answers, targets)
    result.measurements += [Measurement(name, key, value) for key, value in scores.items()]
    if name == "test":
        result.signatures = cell.task.signatures(targets)
    if name != "valid":
        result.examples += rows(name, examples, answers)


def calibration(cell: Cell, train: Sequence[Features], processor: Any, device: str) -> Iterator[dict[str, Any]]:
    """Collate training batches for ever, in an order of their own: every method that calibrates sees the same."""
    mates, size = mates_of(cell.task, train, processor), cell.budget.batch_size
    for chosen in batches([cell.task.length(f) for f in train], size, cell.seed_of("order")):
        for part in parted(chosen, size, mates):
            batch = cell.task.collate([train[i] for i in part], processor)
            yield {name: tensor.to(device) for name, tensor in batch.items()}


@torch.no_grad()
def recall(cell: Cell, model: nn.Module, device: str) -> float | None:
    """Measure what the network still knows of its pretraining; in fp32, whatever the budget says."""
    return cell.backbone.recall(model.to(device).eval())


def seed_everything(seed: int) -> None:
    """Seed every generator that a library may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def network(cell: Cell, head: Head, reuse: Reuse) -> tuple[nn.Module, Any]:
    """Load the bare network; where it is kept for other cells, give a copy of it."""
    model, processor = reuse.get(
        "network", ("backbone", "budget"), lambda: cell.backbone.load(cell.budget, head), head, cell.seed_of("init")
    )
    return (model if reuse.kept is None else copy.deepcopy(model)), processor


def encoding(
    cell: Cell, splits: Splits, processor: Any, result: Result, reuse: Reuse
) -> dict[str, list[Features | None]]:
    """Encode every split; what was cut or empty is counted."""

    def encode() -> tuple[dict[str, list[Features | None]], dict[str, Counter[str]]]:
        counted: dict[str, Counter[str]] = {name: Counter() for name in splits}
        made = {n: [cell.task.encode(e, processor, counted[n]) for e in split] for n, split in splits.items()}
        for name, encoded in made.items():
            mates = Counter(mates_of(cell.task, [f for f in encoded if f is not None], processor))
            if alone := sum(count == 1 for mate, count in mates.items() if mate is not None):
                counted[name]["examples_padded_with_no_other"] = alone
        return made, counted

    encoded, counted = reuse.get("encoded", ("task", "backbone", "budget"), encode, result.data.get("sample"))
    counts = result.data.setdefault("counts", {})
    for name, counter in counted.items():
        if reason := cell.task.unreadable(counter, len(splits[name])):
            raise InputError(f"split {name}: {reason}: choose another backbone")
        if counter:
            counts[name] = counts.get(name, {}) | counter
    return encoded


def sizes(model: nn.Module) -> list[Measurement]:
    """Count what is trained; parameters of a new head are counted apart."""
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    head = sum(n for name, n in trained.items() if in_head(name))
    return [
        Measurement("cost", "trainable_params", sum(trained.values())),
        Measurement("cost", "head_params", head),
    ]


def train(
    model: nn.Module,
    cell: Cell,
    data: Encoded,
    processor: Any,
    meter: Meter,
    watch: Watch,
    result: Result,
    pause: Pause | None = None,
) -> None:
    """Fit, and keep the loss curves, thinned; those of a run that breaks tell how it came to it."""
    curves: dict[str, list[Measurement]] = {"train": [], "valid": [], "cost": []}

    def steps() -> Iterator[Measurement]:
        for point in fit(model, cell, data, processor, meter, pause):
            curves[point.split].append(point)
            if point.split == "train":
                yield point
            elif point.split == "valid":
                watch.note(f"valid loss {point.value:.3f}")

    try:
        for point in watch.track(steps(), "train", cell.last):
            if point.step % 10 == 0:
                watch.note(f"loss {point.value:.3f}, valid {curves['valid'][-1].value:.3f}")
    finally:
        result.measurements += [*thin(curves["train"]), *thin(curves["valid"]), *curves["cost"]]
    best = min(curves["valid"], key=lambda point: point.value)
    result.measurements += [best._replace(step=None), Measurement("valid", "selected_step", best.step)]


@torch.no_grad()
def predict(
    model: nn.Module,
    cell: Cell,
    features: Sequence[Features | None],
    processor: Any,
    meter: Meter,
    watch: Watch,
    split: str,
    pause: Pause | None = None,
) -> list[Prediction]:
    """Answer every example of a split, in its order."""
    model.eval()
    device = next(model.parameters()).device
    answers: list[Prediction] = [cell.task.nothing() for _ in features]
    known, said = [i for i, f in enumerate(features) if f is not None], {}
    read = [features[i] for i in known]
    mates = mates_of(cell.task, read, processor)
    chunks = in_order([cell.task.length(f) for f in read], cell.budget.eval_batch_size, mates)
    for chunk in watch.track(chunks, f"predict {split}", len(chunks)):
        whole = [known[i] for i in chunk]
        # a network in pieces is gathered at every word: all processes say the same words together
        places = whole if cell.budget.shard else here().share(whole)
        with meter.phase("predict"), precision(cell, device):
            batch = cell.task.predict(model, [features[i] for i in places], processor) if places else []
        meter.predicted += len(whole)
        meter.check()
        if pause:
            pause.check()
        for place, answer in zip(places, batch, strict=True):
            said[place] = answer
    for place, answer in (pair for part in here().gather(list(said.items())) for pair in part):
        answers[place] = answer
    return answers


def rows(split: str, examples: Sequence[Example], answers: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Put each answer beside its target: enough to compute every score again, and to draw the groups that there are."""
    return [
        {"split": split, "id": example.id, "target": list(example.targets)}
        | ({} if example.group is None else {"group": example.group})
        | answer
        for example, answer in zip(examples, answers, strict=True)
    ]


def saved(model: nn.Module, cell: Cell, save: Path | None) -> int:
    """Write the adapter, for good or to weigh it, and return the bytes of its files."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = save or Path(scratch)
        cell.method.save(model, folder)
        return sum(f.stat().st_size for f in folder.rglob("*.safetensors"))
