"""Context of a run: the objects that its steps share, and its results so far."""

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
    """One cell on one device; model and processor are None until they are loaded."""

    cell: Cell
    device: str = "cpu"  # type of the device
    group: Group = ALONE  # processes of this run
    watch: Watch = field(default_factory=Watch)
    result: Result = field(default_factory=Result)
    reuse: Reuse = field(default_factory=Reuse)
    pause: Pause | None = None
    save: Path | None = None  # the folder for the adapter
    model: nn.Module | None = None
    processor: Any = None

    @cached_property
    def meter(self) -> Meter:
        """Meter of the costs; memory counts from its first use, before loading.

        Only the first process checks the time limit, so that all processes stop together.
        """
        return Meter(self.device, self.cell.budget.max_seconds if self.group.first else None)
