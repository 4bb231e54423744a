"""What merging gains: the same predictions timed before and after, of a network that stays the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.engine.batches import mates_of, parted
from benchmark.engine.data import Result
from benchmark.engine.meter import Meter
from benchmark.engine.train import precision
from benchmark.errors import MergeError, story
from benchmark.records import Measurement
from benchmark.types import Features

MERGED = 1e-3  # of the largest logit, or of 1: what rounding may move by merging


def time_merged(
    model: nn.Module, cell: Cell, valid: Sequence[Features], processor: Any, device: str, result: Result
) -> None:
    """Time merging, after all else: what it raises is why these measurements are missing, and fails no run."""
    try:
        first, *_ = parted(range(len(valid)), cell.budget.eval_batch_size, mates_of(cell.task, valid, processor))
        result.measurements += list(merging(model, cell, [valid[i] for i in first], processor, device))
    except Exception as error:
        result.data["missing"] = {"merged": story(error)}


@torch.no_grad()
def merging(
    model: nn.Module, cell: Cell, known: Sequence[Features], processor: Any, device: str
) -> Iterator[Measurement]:
    """Time the same predictions before and after merging; the network is another one afterwards.

    Raises MergeError where the logits of one batch, in fp32, differ by more than MERGED of the largest.
    """
    inputs = {name: t.to(device) for name, t in cell.task.collate(known, processor).items()}
    logits = {}
    for name in ("unmerged", "merged"):
        network = model.eval() if name == "unmerged" else cell.method.merge(model).eval()
        logits[name] = network(**inputs).logits.float()
        meter = Meter(device)
        with meter.phase("predict"), precision(cell, torch.device(device)):
            cell.task.predict(network, known, processor)
        yield Measurement("cost", f"predict_seconds_per_example_{name}", meter.seconds["predict"] / len(known))
    off = (logits["merged"] - logits["unmerged"]).abs().max().item()
    largest = max(1.0, logits["unmerged"].abs().max().item())
    if not off <= MERGED * largest:  # so that no number is refused too
        raise MergeError(f"logits of the merged network differ by {off:.3g}, where the largest is {largest:.3g}")
