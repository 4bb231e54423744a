"""Started by torchrun as one of several processes.

together.py FOLDER       run the cells that FOLDER/cells.json names; the first process writes what came out
together.py broken WORDS the command, in which the second process breaks at the second look at a batch
"""

import json
import sys
from pathlib import Path

import torch
from factories import run_cell

from benchmark import run
from benchmark.config.compose import cell_of
from benchmark.engine import distributed, runner, train


class Unweighted(distributed.Group):
    """Takes the mean of its processes' means, whatever each of them counted."""

    def sum(self, *numbers):
        counts = all(isinstance(n, int) for n in numbers)
        return [n * self.size for n in numbers] if counts else super().sum(*numbers)


def held(model):
    """The part of a network's numbers that this process keeps."""
    here = sum((p.to_local() if hasattr(p, "to_local") else p).numel() for p in model.parameters())
    return here / sum(p.numel() for p in model.parameters())


def cells(folder):
    group, shard, kept = distributed.join("cpu"), runner.shard, []

    def noting(run, pretrained):
        shard(run, pretrained)
        kept.append(held(run.model))

    runner.shard = noting
    for name, words in json.loads((folder / "cells.json").read_text()).items():
        kind = Unweighted if name == "unweighted" else distributed.Group
        result = run_cell(cell_of(words), save=folder / name, group=kind(group.rank, group.size, group.device))
        seeds = group.gather(torch.initial_seed())
        if group.first:
            found = [result.measurements, result.examples, result.modules, kept[-1], seeds]
            (folder / name / "result.json").write_text(json.dumps(found))


def broken(words):
    local_batch, calls = train.local_batch, []

    def breaking(run, part):
        calls.append(part)
        if len(calls) == 2 and not run.group.first:
            raise MemoryError("no room for this batch")
        return local_batch(run, part)

    train.local_batch = breaking
    return run.main(words)


if __name__ == "__main__":
    sys.exit(broken(sys.argv[2:]) if sys.argv[1] == "broken" else cells(Path(sys.argv[1])))
