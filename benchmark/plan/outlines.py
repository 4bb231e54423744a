"""Networks by their shapes alone, without weights, tokenizers or a hub."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.registry import CONFIGS
from benchmark.types import Backbone, Budget, Head, Input, Kind

if TYPE_CHECKING:
    from torch import nn

SHAPES = CONFIGS / "backbone" / "shapes"  # config.json of each backbone of the hub, as published there
REMOTE = {"revision": None, "weights": "random"}  # fields of a backbone that a shape does without


@dataclass(frozen=True, kw_only=True)
class Outline(Backbone):
    """Backbone whose skeleton needs its configuration alone."""

    inner: Backbone

    @property
    def kinds(self) -> tuple[Kind, ...]:
        return self.inner.kinds

    @property
    def reads(self) -> Input:
        return self.inner.reads

    @cached_property
    def family(self) -> str:
        return self.inner.family

    @property
    def side(self) -> int | None:
        return self.inner.side

    @property
    def rate(self) -> int | None:
        return self.inner.rate

    @property
    def positions(self) -> int | None:
        return self.inner.positions

    def unknown_language(self, language: str | None) -> None:
        """Take any language: which there are, only a tokenizer says."""

    def skeleton(self, budget: Budget, head: Head) -> nn.Module:
        return self.inner.outline(budget, head)

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, Any]:
        """Raises NotImplementedError: an outline has no weights."""
        raise NotImplementedError("an outline has no weights")


def outlined(cell: Cell) -> Cell:
    """Replace the backbone of a cell by its outline, read from `SHAPES` where the checkpoint is the registry's own."""
    backbone, name = cell.backbone, cell.names.get("backbone", "")
    own = registry.node("backbone", name).get("checkpoint")
    if own and getattr(backbone, "checkpoint", None) == own and (folder := shape_of(own)):
        backbone = dataclasses.replace(backbone, checkpoint=str(folder), **REMOTE)
    fields = {field.name: getattr(backbone, field.name) for field in dataclasses.fields(Backbone)}
    return dataclasses.replace(cell, backbone=Outline(inner=backbone, **fields))


def shape_of(checkpoint: str) -> Path | None:
    """Find the configuration of a checkpoint of the hub, which several backbones may load."""
    named = [folder for folder in sorted(SHAPES.iterdir()) if folder.is_dir()]
    return next((f for f in named if registry.node("backbone", f.name).get("checkpoint") == checkpoint), None)
