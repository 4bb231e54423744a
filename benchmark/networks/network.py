"""Network of a package index: where it is, and how it becomes an ordinary checkpoint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.config import registry
from benchmark.config.build import build
from benchmark.errors import InputError, near

if TYPE_CHECKING:
    import torch

GROUP = "network"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """Wheel of one pinned version, and the files that are taken out of it."""

    requirement: str  # NAME==VERSION
    sha256: str
    files: dict[str, str]  # path in the wheel -> SHA-256


@dataclass(frozen=True, kw_only=True)
class Converted:
    """Checkpoint in memory, of the Hugging Face or timm layout."""

    config: dict[str, Any]  # of config.json
    tensors: dict[str, torch.Tensor]
    files: dict[str, dict[str, Any] | Path] = field(default_factory=dict)  # others: name -> JSON, or a file to copy


@dataclass(frozen=True, kw_only=True)
class Network(ABC):
    """Entry of configs/network/; a subclass reads one format."""

    description: str
    original: str | None  # id on the hub of what was packed
    differs: str  # how the restored copy is another network than the original
    licence: str  # as the package states it
    wheels: list[dict[str, Any]]  # fields of Wheel
    needs: list[str]  # packages of the extra `networks`
    megabytes: int  # download and checkpoint together
    makes: str  # hash of the folder, by which records name it

    @cached_property
    def sources(self) -> list[Wheel]:
        """Wheels in the order in which their parts belong together."""
        return [Wheel(**wheel) for wheel in self.wheels]

    @abstractmethod
    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Read the files of the wheels, by their names without folders."""


def network_of(name: str) -> Network:
    """Build the entry of a name. Raises InputError."""
    if name not in registry.names(GROUP):
        raise InputError(f"{name}: no such network{near(name, registry.names(GROUP))}")
    return build(registry.node(GROUP, name), GROUP)


def check_copy(tensors: Mapping[str, torch.Tensor], copy: str, of: str) -> None:
    """Refuse to drop a second name of a tensor unless both are equal. Raises InputError."""
    if not tensors[copy].equal(tensors[of]):
        raise InputError(f"the weights {copy} differ from {of}, of which they should be a copy")
