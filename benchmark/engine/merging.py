"""Cost of merging: the same predictions timed before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmark.engine.batches import mates_of, split_batches
from benchmark.engine.context import Run
from benchmark.engine.meter import Meter
from benchmark.engine.train import precision
from benchmark.errors import MergeError, story
from benchmark.records import Measurement
from benchmark.types import Features

MERGED = 1e-3  # largest difference that rounding may cause, relative to the largest logit or 1


def time_merged(run: Run, valid: Sequence[Features]) -> None:
    """Time merging; an error becomes the reason for missing measurements."""
    cell = run.cell
    try:
        first, *_ = split_batches(
            range(len(valid)), cell.budget.eval_batch_size, mates_of(cell.task, valid, run.processor)
        )
        run.result.measurements += list(merge(run, [valid[i] for i in first]))
    except Exception as error:
        run.result.data.setdefault("missing", {})["merged"] = story(error)


@torch.no_grad()
def merge(run: Run, features: Sequence[Features]) -> Iterator[Measurement]:
    """Time predictions before and after merging, which changes the network.

    Raises MergeError where the logits of one batch, in fp32, differ by more than MERGED of the largest.
    """
    cell = run.cell
    inputs = {name: t.to(run.device) for name, t in cell.task.collate(features, run.processor).items()}
    logits = {}
    for name in ("unmerged", "merged"):
        network = run.model.eval() if name == "unmerged" else cell.method.merge(run.model).eval()
        logits[name] = network(**inputs).logits.float()
        meter = Meter(run.device)
        with meter.phase("predict"), precision(run):
            cell.task.predict(network, features, run.processor)
        yield Measurement("cost", f"predict_seconds_per_example_{name}", meter.seconds["predict"] / len(features))
    difference = (logits["merged"] - logits["unmerged"]).abs().max().item()
    largest = max(1.0, logits["unmerged"].abs().max().item())
    if not difference <= MERGED * largest:  # written so that NaN raises too
        raise MergeError(f"logits of the merged network differ by {difference:.3g}, where the largest is {largest:.3g}")
