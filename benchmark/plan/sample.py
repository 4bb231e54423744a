"""Largest batch that a task permits, as shapes on the meta device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmark.cell import Cell
from benchmark.errors import InputError
from benchmark.types import Head, Input, Kind

CLASSES = 2  # of a new head, unless the call says otherwise
CHARACTERS = 30  # of a transcript's alphabet, likewise
Batch = dict[str, torch.Tensor]


def labels_of(kind: Kind, given: int | None) -> int:
    """Count a new head's classes or characters: those given, or an assumption; 0 where there are none."""
    if not kind.new_head or kind in (Kind.REGRESS, Kind.RERANK):
        return 0
    return given or (CHARACTERS if kind == Kind.CTC else CLASSES)


def head_of(cell: Cell, labels: int | None) -> Head:
    """Describe the head with so many classes or characters."""
    names = tuple(map(str, range(labels_of(cell.kind, labels))))
    return Head(cell.kind, labels=names, pair=getattr(cell.task, "pair", False))


def sample(cell: Cell, model: nn.Module, size: int) -> Batch:
    """Make a batch of so many of the largest examples of a task, without padding."""
    rows = 2 * size if getattr(cell.task, "pair", False) else size * (_candidates(cell) or 1)
    with torch.device("meta"):
        return {**INPUTS[cell.task.reads](cell, model, rows), **ANSWERS[cell.kind](cell, model, size)}


def _candidates(cell: Cell) -> int:
    """Count the candidates of a query that a step reads; 0 where an example has none."""
    return cell.task.train_candidates if cell.kind == Kind.RERANK else 0


def loss_of(kind: Kind, model: nn.Module, batch: Batch) -> torch.Tensor:
    """Compute the loss; CTC's has shapes that depend on values, so the sum of its log-probabilities stands for it."""
    output = model(**batch)
    return output.logits.log_softmax(-1).sum() if kind == Kind.CTC else output.loss


def _source(cell: Cell) -> float:
    """Ask for the size of the largest input. Raises InputError where the task does not say it."""
    if not (size := cell.task.largest(cell.kind)[0]):
        raise InputError(f"task {cell.names.get('task')} does not say how large its inputs are (Task.largest)")
    return size


def _text(cell: Cell, model: nn.Module, rows: int) -> Batch:
    target = cell.task.largest(cell.kind)[1] if cell.kind == Kind.CAUSAL_LM else 0  # read as one sequence
    return _tokens(rows, int(_source(cell)) + target)


def _protein(cell: Cell, model: nn.Module, rows: int) -> Batch:
    network = _headed(model)
    return _tokens(rows, int(_source(cell)) + network.before + network.after)


def _image(cell: Cell, model: nn.Module, rows: int) -> Batch:
    return {"pixels": torch.empty(rows, *_headed(model).encoder.pretrained_cfg["input_size"])}


def _sound(cell: Cell, model: nn.Module, rows: int) -> Batch:
    config = (_headed(model) if cell.kind.new_head else model).config
    if hasattr(config, "num_mel_bins") and hasattr(config, "max_source_positions"):  # a spectrogram of fixed length
        columns = 2 * config.max_source_positions
        spectrogram = torch.empty(rows, config.num_mel_bins, columns)
        return {"input_features": spectrogram, "attention_mask": _ones(rows, columns)}
    samples = math.floor(_source(cell) * cell.backbone.rate)
    return {"input_values": torch.empty(rows, samples), "attention_mask": _ones(rows, samples)}


def _tokens(rows: int, length: int) -> Batch:
    return {"input_ids": _ones(rows, length), "attention_mask": _ones(rows, length)}


def _ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape, dtype=torch.long)


def _headed(model: nn.Module) -> Any:
    """Find the network with a new head inside of what a method has wrapped around it."""
    return next(module for module in model.modules() if hasattr(module, "new_head") and hasattr(module, "kind"))


INPUTS: dict[Input, Callable[[Cell, nn.Module, int], Batch]] = {
    Input.TEXT: _text,
    Input.PROTEIN: _protein,
    Input.IMAGE: _image,
    Input.AUDIO: _sound,
}
ANSWERS: dict[Kind, Callable[[Cell, nn.Module, int], Batch]] = {
    Kind.CAUSAL_LM: lambda cell, model, size: {"labels": _ones(size, int(sum(cell.task.largest(cell.kind))))},
    Kind.SEQ2SEQ: lambda cell, model, size: {"labels": _ones(size, cell.task.largest(cell.kind)[1])},
    Kind.CLASSIFY: lambda cell, model, size: {"labels": _ones(size)},
    Kind.REGRESS: lambda cell, model, size: {"labels": torch.empty(size)},
    Kind.MULTILABEL: lambda cell, model, size: {
        "labels": torch.empty(size, _headed(model).new_head.project.out_features)
    },
    Kind.RERANK: lambda cell, model, size: {"labels": torch.ones(size, _candidates(cell))},
    Kind.TAG: lambda cell, model, size: {"labels": _ones(size, int(_source(cell)))},
    Kind.CTC: lambda cell, model, size: {},
}
