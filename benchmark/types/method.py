"""Base class of methods: their parameters, and how they are attached to a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """Adaptation method: its parameters, and how they are attached to a network."""

    description: str
    lr: float  # learning rate before the backbone's factor
    search: dict[str, Any]  # ranges for tuning: {low, high} on a logarithmic scale, or a list of values, by knob
    sized_by: str | None  # knob that sets its size, where equal sizes are compared
    mergeable: ClassVar[bool] = False  # into the bare network's own weights
    calibrates: ClassVar[bool] = False  # reads training batches before the first step
    compiles: ClassVar[bool] = False  # torch.compile gives the same network
    recomputes: ClassVar[bool] = True  # gradient checkpointing gives the same gradients
    reads_inputs: ClassVar[bool] = False  # its modules read the network's input, not only hidden states
    weightless: ClassVar[bool] = True  # attach() needs only shapes, so that it works on a skeleton
    changes_output_at_init: ClassVar[str | None] = None  # why attaching changes the network's output
    shards: ClassVar[bool] = True  # blocks may be sharded: no module outside a block uses its weights
    trains_buffers: ClassVar[bool] = False  # running statistics follow the new data

    @property
    def prepended(self) -> int:
        """Number of positions of its virtual tokens."""
        return 0

    def conflict(self, cell: Cell) -> str | None:
        """Give the reason why this method cannot run in this cell."""
        return None

    @abstractmethod
    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Attach to a network, and set requires_grad on the trained parameters alone. Raises InputError."""

    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:  # noqa: B027  optional
        """Initialise the attached modules by training batches, for methods that calibrate."""

    def merge(self, model: nn.Module) -> nn.Module:
        """Merge the trained parameters into the bare network, and return it."""
        raise InputError(f"{type(self).__name__} cannot be merged")

    def groups(self, model: nn.Module, lr: float) -> list[dict]:
        """Split the trainable parameters into optimiser groups."""
        return [{"params": [p for p in model.parameters() if p.requires_grad], "lr": lr}]

    def after_step(self, model: nn.Module, step: int) -> None:  # noqa: B027  optional
        """Update the method's state after an optimiser step, for methods that have one."""

    def progress(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """Give the state of after_step() that is neither parameter nor buffer."""
        return {}

    def resume(self, model: nn.Module, progress: dict[str, torch.Tensor]) -> None:  # noqa: B027  optional
        """Restore the state that progress() gave."""

    def modules(self, model: nn.Module) -> list[str]:
        """List the modules that have trained parameters, or that this method wraps."""
        return sorted({name.rpartition(".")[0] for name, p in model.named_parameters() if p.requires_grad})

    @abstractmethod
    def save(self, model: nn.Module, folder: Path) -> None:
        """Save the trained parameters in a folder, as safetensors."""

    @abstractmethod
    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Attach to a bare network, and load the parameters that save() wrote."""
