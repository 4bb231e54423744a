"""The context of a run: what its parts share, and what came of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.engine.data import Result
from benchmark.engine.distributed import ALONE, Group
from benchmark.engine.meter import Meter
from benchmark.engine.progress import Watch
from benchmark.engine.reuse import Reuse

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell
    from benchmark.engine.checkpoint import Pause


@dataclass
class Run:
    """One cell on one device; network and processor are there once they are loaded."""

    cell: Cell
    device: str = "cpu"  # its type
    group: Group = ALONE  # of the processes that work on it
    watch: Watch = field(default_factory=Watch)
    result: Result = field(default_factory=Result)
    reuse: Reuse = field(default_factory=Reuse)
    pause: Pause | None = None
    save: Path | None = None  # the folder for the adapter
    model: nn.Module | None = None
    processor: Any = None

    @cached_property
    def meter(self) -> Meter:
        """The cost ledger; memory counts from its first use, before loading.

        The first process's clock decides for all about the time limit, so that they stop together.
        """
        return Meter(self.device, self.cell.budget.max_seconds if self.group.first else None)
