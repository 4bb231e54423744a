"""run(): load, count the bare network, attach, fit, evaluate, account."""

from __future__ import annotations

import hashlib
import json
import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.batches import batches, in_order
from benchmark.meter import Meter
from benchmark.progress import Watch
from benchmark.records import Measurement, thin
from benchmark.train import Encoded, fit, precision
from benchmark.types import Bad, Cell, Example, Features, Prediction, Splits, Unusable


@dataclass
class Result:
    """What a run found out, as far as it came."""

    data: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    examples: list[dict[str, Any]] = field(default_factory=list)


def read(cell: Cell, result: Result) -> Splits:
    """Read the data, note its fingerprint, and leave what this cell looks at, which may be a part of each split.

    All are drawn by the examples' own ids, so that no method moves them. Raises Unusable where a split is empty.
    """
    splits = usable(cell, cell.task.splits(), result)
    for name, examples in splits.items():
        if not examples:
            raise Unusable(f"split {name} of task {cell.names.get('task')} has no examples (data.{name})")
    budget = cell.budget
    most = {name: budget.max_valid if name == "valid" else budget.max_test for name in splits if name != "train"}
    used = {**splits, "train": share(cell, splits["train"])} | {
        name: sorted(splits[name], key=lambda e: draw(e.id))[:number] for name, number in most.items() if number
    }
    result.data |= {
        "metric": cell.task.metric,
        "fingerprint": fingerprint(splits),
        "sample": fingerprint(used),
        "sizes": {name: len(examples) for name, examples in used.items()},
    }
    if unpinned := [*cell.task.unpinned(), *cell.backbone.unpinned()]:
        result.data["unpinned"] = unpinned
    return used


def usable(cell: Cell, splits: Splits, result: Result) -> Splits:
    """Drop and count examples that cannot be used, if the task allows it. Raises Unusable, naming the first one."""
    bad = {name: [e.source.reason for e in split if isinstance(e.source, Bad)] for name, split in splits.items()}
    reasons = [reason for found in bad.values() for reason in found]
    if not reasons:
        return splits
    if not cell.task.skips_bad():
        more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
        raise Unusable(f"{reasons[0]}{more}: mend it, or leave such rows out by task.skip_bad=true")
    counts = result.data.setdefault("counts", {})
    for name, found in bad.items():
        if found:
            counts.setdefault(name, {})["bad_examples"] = len(found)
    return {name: [e for e in split if not isinstance(e.source, Bad)] for name, split in splits.items()}


def share(cell: Cell, train: Sequence[Example]) -> Sequence[Example]:
    """Draw the cell's share of the training examples, of each class alike; smaller shares lie within larger ones."""
    if cell.fraction is None:
        return train
    seed = cell.seed if cell.seed_sample is None else cell.seed_sample
    strata: dict[str | None, list[Example]] = {}
    for example in train:
        strata.setdefault(cell.task.stratum(example), []).append(example)
    chosen = set()
    for examples in strata.values():
        drawn = sorted(examples, key=lambda e: draw(f"{seed} {e.id}"))
        chosen |= {e.id for e in drawn[: math.ceil(cell.fraction * len(drawn))]}
    return [e for e in train if e.id in chosen]


def draw(text: str) -> bytes:
    """Give a text its place in a random order that is the same for ever."""
    return hashlib.sha256(text.encode()).digest()


def fingerprint(splits: Splits) -> str:
    """Hash every example of every split, in order."""
    digest = hashlib.sha256()
    for name, examples in splits.items():
        for example in examples:
            row = [name, example.id, example.source, example.targets]
            digest.update(json.dumps(row, default=_content).encode() + b"\n")
    return digest.hexdigest()[:16]


def _content(value: Any) -> str:
    """Stand for an array by what is in it."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
    return str(value)


def run(cell: Cell, splits: Splits, device: str, watch: Watch, result: Result, save: Path | None = None) -> None:
    """Run a cell, filling the result as it goes, so that a failure leaves what was known before it."""
    meter = Meter(device, cell.budget.max_seconds)
    seed_everything(cell.seed)
    head = cell.task.head(cell.kind, splits["train"])
    if head.kind.new_head:
        result.data["head"] = {name: value for name, value in asdict(head).items() if name != "kind"}
    with meter.phase("load"):
        model, processor = cell.backbone.load(cell.budget, head)
    result.measurements.append(Measurement("cost", "params", sum(p.numel() for p in model.parameters())))
    bare = recall(cell, model, device)
    counts = result.data.setdefault("counts", {})
    encoded = {name: encode(cell, splits[name], processor, counts, name) for name in ("train", "valid")}
    learnt = Encoded(*([f for f in encoded[name] if f is not None] for name in ("train", "valid")))
    for name, examples in (("train", learnt.train), ("valid", learnt.valid)):
        if not examples:
            raise Unusable(f"split {name}: all {len(splits[name])} examples are empty after tokenisation")
    with meter.phase("attach"):
        seed_everything(cell.seed)  # what a backbone's loading drew must not move a method's initialisation
        model = cell.method.attach(model, cell).to(device)
    if cell.method.calibrates:
        with meter.phase("calibrate"):
            cell.method.calibrate(model, calibration(cell, learnt.train, processor, device))
    result.modules = cell.method.modules(model)
    result.measurements += sizes(model)
    train(model, cell, learnt, processor, meter, watch, result)
    for name in splits:
        if name != "train":
            features = encoded.get(name) or encode(cell, splits[name], processor, counts, name)
            answers = predict(model, cell, features, processor, meter, watch, name)
            targets = [e.targets for e in splits[name]]
            scores = cell.task.score(answers, targets)
            result.measurements += [Measurement(name, key, value) for key, value in scores.items()]
            if name == "test":
                result.signatures = cell.task.signatures(targets)
            if name != "valid":
                result.examples += rows(name, splits[name], answers)
    if bare is not None:
        adapted = recall(cell, model, device)
        result.measurements += [
            Measurement("pretraining", "loss_bare", bare),
            Measurement("pretraining", "loss", adapted),
            Measurement("pretraining", "retention", adapted - bare),
        ]
    result.measurements.append(Measurement("cost", "checkpoint_bytes", saved(model, cell, save)))
    result.measurements += meter.measurements()
    if cell.method.mergeable:
        result.measurements += merging(model, cell, encoded["valid"], processor, device)


def calibration(cell: Cell, train: Sequence[Features], processor: Any, device: str) -> Iterator[dict[str, Any]]:
    """Collate training batches for ever, in an order of their own: every method that calibrates sees the same."""
    for chosen in batches([cell.task.length(f) for f in train], cell.budget.batch_size, cell.seed):
        batch = cell.task.collate([train[i] for i in chosen], processor)
        yield {name: tensor.to(device) for name, tensor in batch.items()}


@torch.no_grad()
def merging(
    model: nn.Module, cell: Cell, features: Sequence[Features | None], processor: Any, device: str
) -> Iterator[Measurement]:
    """Time the same predictions before and after merging; the network is another one afterwards."""
    known = [f for f in features if f is not None][: cell.budget.eval_batch_size]
    for name in ("unmerged", "merged"):
        network = model if name == "unmerged" else cell.method.merge(model).eval()
        meter = Meter(device)
        with meter.phase("predict"), precision(cell, torch.device(device)):
            cell.task.predict(network, known, processor)
        yield Measurement("cost", f"predict_seconds_per_example_{name}", meter.seconds["predict"] / len(known))


@torch.no_grad()
def recall(cell: Cell, model: nn.Module, device: str) -> float | None:
    """Measure what the network still knows of its pretraining; in fp32, whatever the budget says."""
    return cell.backbone.recall(model.to(device).eval())


def seed_everything(seed: int) -> None:
    """Seed every generator that a library may draw from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def encode(
    cell: Cell, examples: Sequence[Example], processor: Any, counts: dict[str, Any], split: str
) -> list[Features | None]:
    """Encode a split; what was cut or empty is counted under its name."""
    counter: Counter[str] = Counter()
    encoded = [cell.task.encode(example, processor, counter) for example in examples]
    if counter:
        counts[split] = dict(counter)
    return encoded


def sizes(model: nn.Module) -> list[Measurement]:
    """Count what is trained; parameters of a new head are counted apart."""
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    head = sum(n for name, n in trained.items() if ".new_head." in f".{name}")
    return [
        Measurement("cost", "trainable_params", sum(trained.values())),
        Measurement("cost", "head_params", head),
    ]


def train(
    model: nn.Module, cell: Cell, data: Encoded, processor: Any, meter: Meter, watch: Watch, result: Result
) -> None:
    """Fit, and keep the loss curves, thinned; those of a run that breaks tell how it came to it."""
    curves: dict[str, list[Measurement]] = {"train": [], "valid": []}

    def steps() -> Iterator[Measurement]:
        for point in fit(model, cell, data, processor, meter):
            curves[point.split].append(point)
            if point.split == "train":
                yield point
            else:
                watch.note(f"valid loss {point.value:.3f}")

    try:
        for point in watch.track(steps(), "train", cell.budget.steps):
            if point.step % 10 == 0:
                watch.note(f"loss {point.value:.3f}, valid {curves['valid'][-1].value:.3f}")
    finally:
        result.measurements += [*thin(curves["train"]), *thin(curves["valid"])]
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
) -> list[Prediction]:
    """Answer every example of a split, in its order."""
    model.eval()
    device = next(model.parameters()).device
    answers: list[Prediction] = [cell.task.nothing() for _ in features]
    known = [i for i, f in enumerate(features) if f is not None]
    chunks = in_order([cell.task.length(features[i]) for i in known], cell.budget.eval_batch_size)
    for chunk in watch.track(chunks, f"predict {split}", len(chunks)):
        places = [known[i] for i in chunk]
        with meter.phase("predict"), precision(cell, device):
            batch = cell.task.predict(model, [features[i] for i in places], processor)
        meter.predicted += len(places)
        meter.check()
        for place, answer in zip(places, batch, strict=True):
            answers[place] = answer
    return answers


def rows(split: str, examples: Sequence[Example], answers: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Put each answer beside its target: enough to compute every score again."""
    return [
        {"split": split, "id": example.id, "target": list(example.targets), **answer}
        for example, answer in zip(examples, answers, strict=True)
    ]


def saved(model: nn.Module, cell: Cell, save: Path | None) -> int:
    """Write the adapter, for good or to weigh it, and return the bytes of its files."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = save or Path(scratch)
        cell.method.save(model, folder)
        return sum(f.stat().st_size for f in folder.rglob("*.safetensors"))
