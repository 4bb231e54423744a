"""Base of methods that train a few entries of weights: W + D, D sparse."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from safetensors import safe_open
from torch import nn
from torch.nn.utils import parametrize

from benchmark.methods.fitted import fitted_head
from benchmark.methods.native import Part
from benchmark.methods.weights import Rewrite, Rewriting

if TYPE_CHECKING:
    from pathlib import Path

    from benchmark.cell import Cell


Weight = parametrize.ParametrizationList  # with the frozen weight as `original`, and a Rewrite as first entry


class Entries(Part):
    """Trained change of some entries of a matrix; `index` counts row by row."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(number))
        self.register_buffer("index", torch.arange(number))
        self.trial: nn.Module | None = None  # replaces the entries while they are selected

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        if self.trial is not None:
            return self.trial(matrix)
        change = torch.zeros(matrix.numel(), dtype=self.values.dtype, device=matrix.device)
        return matrix + change.index_copy(0, self.index, self.values).view_as(matrix).to(matrix.dtype)

    def choose(self, index: torch.Tensor) -> None:
        """Replace the entries by others, with zero change."""
        self.values = nn.Parameter(torch.zeros(len(index)).to(self.values))
        self.index = index.to(self.index)


@dataclass(frozen=True, kw_only=True)
class Sparse(Rewriting):
    """Method that trains a fixed number of entries, those of the highest scores."""

    calibrates: ClassVar[bool] = True

    density: float  # share of entries that are trained
    batches: int  # for the scores

    def conflict(self, cell: Cell) -> str | None:
        if not 0 < self.density <= 1:
            return f"method.density={self.density}: a share above 0 and up to 1 wanted"
        if self.batches < 1:
            return f"method.batches={self.batches}: must be at least 1"
        return super().conflict(cell)

    def change(self, matrix: torch.Tensor) -> Part:
        return Entries(max(1, round(self.density * matrix.numel())))

    @abstractmethod
    def scores(
        self, model: nn.Module, weights: list[Weight], batches: Iterator[dict[str, Any]], cell: Cell
    ) -> list[torch.Tensor]:
        """Compute a score for every entry of each weight, as a matrix."""

    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        model.eval()  # so that neither dropout nor running statistics change the selection
        weights = list(sparse(model).values())
        with fitted_head(model, batches, cell):
            scores = [score.flatten().float() for score in self.scores(model, weights, batches, cell)]
        number = sum(len(weight[0].change.values) for weight in weights)
        best = torch.cat(scores).topk(number).indices.sort().values
        start = 0
        for weight, score in zip(weights, scores, strict=True):
            inside = best[(best >= start) & (best < start + len(score))]
            weight[0].change.choose(inside - start)
            start += len(score)
        release(model)

    def load(self, model: nn.Module, path: Path) -> nn.Module:
        """Resize the entries of each weight to those of the file, then load it."""
        with safe_open(path, "pt") as file:
            counts = {name: file.get_slice(name).get_shape()[0] for name in file.keys() if name.endswith(".index")}  # noqa: SIM118
        for name, weight in sparse(model).items():
            number = counts.get(f"{name}.parametrizations.weight.0.change.index", 0)
            weight[0].change.choose(torch.arange(number))
        release(model)
        return super().load(model, path)


def sparse(model: nn.Module) -> dict[str, Weight]:
    """Find the weights with sparse changes, by module."""
    weights = {name: module.parametrizations.weight for name, module in model.named_modules() if is_rewritten(module)}
    return {name: weight for name, weight in weights.items() if isinstance(weight[0].change, Entries)}


def matrix_of(weight: Weight, tensor: torch.Tensor) -> torch.Tensor:
    """View a tensor of a weight's shape as outputs x inputs."""
    return tensor.T if weight[0].transposed else tensor.flatten(1)


def is_rewritten(module: nn.Module) -> bool:
    """Say whether a module's weight has a Rewrite."""
    return parametrize.is_parametrized(module, "weight") and isinstance(module.parametrizations.weight[0], Rewrite)


def release(model: nn.Module) -> None:
    """Remove the changes of weights without any selected entry."""
    for name, weight in sparse(model).items():
        if not len(weight[0].change.values):
            parametrize.remove_parametrizations(model.get_submodule(name), "weight", leave_parametrized=False)
