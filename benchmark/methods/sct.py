"""Salient channel tuning (Zhao et al. 2024, arXiv 2309.08513).

x_I + A x_I + b after each attention, I by the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.layers import modules_with, width_of
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import Kind

if TYPE_CHECKING:
    from benchmark.cell import Cell

NORMS_LAST = ("wav2vec2", "hubert", "wavlm")  # unless their configuration says do_stable_layer_norm


class Salient(Part):
    """Linear map of selected channels of the residual state; see calibrate()."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        # the paper draws the map with a deviation of 0.02; zero starts from the bare network, as all methods do
        self.map = nn.Linear(channels, channels)
        for zero in (self.map.weight, self.map.bias):
            nn.init.zeros_(zero)
        self.register_buffer("index", torch.arange(channels))
        self.width = width
        self.observe: Any = None  # function of the state that calibrate() sets
        self.added: torch.Tensor | None = None  # change, from the norm to the end of the block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.map(x[..., self.index])
        return torch.zeros(x.shape, dtype=change.dtype, device=x.device).index_copy(-1, self.index, change)


def enter(norm: nn.Module, inputs: tuple) -> tuple:
    """Change the state that the feed-forward reads; leave() changes the residual."""
    part, x = norm.salient, inputs[0]
    if part.observe:
        part.observe(x)
    part.added = part(x)
    return (x + part.added, *inputs[1:])


def leave(block: nn.Module, _: tuple, output: Any) -> Any:
    """Add the change of enter() to the residual; Swin's map is two-dimensional."""
    added, block.salient.added = block.salient.added, None
    if isinstance(output, tuple):
        return (output[0] + added.view_as(output[0]), *output[1:])
    return output + added.view_as(output)


@dataclass(frozen=True, kw_only=True)
class SalientChannels(Native):
    """Salient channels: width / `share` channels, the largest on the training data."""

    calibrates: ClassVar[bool] = True

    share: int  # the paper's 8: an eighth of the channels
    batches: int  # for the selection

    def conflict(self, cell: Cell) -> str | None:
        for name in ("share", "batches"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        # WavLM's attention has no wrapped role; its blocks are those of the others
        wanted = ("down", "norm") if cell.backbone.family == "wavlm" else ("output", "down", "norm")
        return roles.refusal(cell.backbone.family, wanted)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError for networks without such a state or enough channels."""
        family = cell.backbone.family
        if family in NORMS_LAST and not model.config.do_stable_layer_norm:
            raise InputError(
                f"this {family} network has its norms after the branches: no residual state enters the feed-forward"
            )
        freeze(model)
        norms, downs = (modules_with(model, family, [role]) for role in ("norm", "down"))
        for name in blocks_of(model, family):
            block = model.get_submodule(name)
            width = next(width_of(module) for path, module in downs.items() if path.startswith(f"{name}."))
            inside = [module for path, module in norms.items() if path.startswith(f"{name}.")]
            norm = [module for module in inside if module.weight.numel() == width][-1]  # not one in the feed-forward
            if self.share > width:
                raise InputError(f"method.share={self.share}: {name} has {width} channels")
            block.salient = norm.salient = Salient(width, width // self.share).to(norm.weight)
            norm.register_forward_pre_hook(enter)
            block.register_forward_hook(leave)
        return model

    @torch.no_grad()
    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        """Select the channels of the largest norm, averaged over classes.

        Other kinds of answers count as one class. Every position counts, also padding and special tokens; the paper
        leaves the class token out.
        """
        model.eval()
        parts = {module for module in model.modules() if isinstance(module, Salient)}
        squares: dict[Salient, dict[int, torch.Tensor]] = {part: {} for part in parts}
        for batch in islice(batches, self.batches):
            classes = batch["labels"] if getattr(model, "kind", None) == Kind.CLASSIFY else None
            for part in parts:
                part.observe = lambda x, sums=squares[part], classes=classes: gather(sums, x, classes)
            model(**batch)
        for part, sums in squares.items():
            part.observe = None
            importance = torch.stack([square.sqrt() for square in sums.values()]).mean(0)
            part.index.copy_(importance.topk(len(part.index)).indices.sort().values)


def gather(sums: dict[int, torch.Tensor], x: torch.Tensor, classes: torch.Tensor | None) -> None:
    """Add squares of channels to each class's sum; pairs share their class."""
    square = x.double().square().flatten(1, -2).sum(1)
    labels = torch.zeros(1, dtype=torch.long) if classes is None else classes.cpu()
    for example, label in enumerate(labels.repeat(len(square) // len(labels)).tolist()):
        sums[label] = sums.get(label, 0) + square[example]
