"""Processes that share one run: parts of batches, sums of gradients."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from benchmark.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from benchmark.cell import Cell

Item = TypeVar("Item")
BROKEN = "why a process broke"  # key of the store that processes share
PATIENCE = timedelta(seconds=60)  # time for the first process to write the record


@dataclass(frozen=True)
class Group:
    """Processes of a run, and the rank of this one."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """True for the process that prints, records and saves."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Take this process's part: every n-th item, so that lengths are similar."""
        return list(items[self.rank :: self.size])

    def sum(self, *numbers: float) -> list[float]:
        """Add up numbers over the processes."""
        if self.size == 1:
            return list(numbers)
        import torch

        # float64 has the precision of a Python float, and holds every count exactly
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        torch.distributed.all_reduce(total)
        return total.tolist()

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum gradients over the processes in one operation."""
        if self.size == 1:
            return
        import torch

        parameters = list(parameters)
        flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters])
        torch.distributed.all_reduce(flat)
        for p, total in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            if p.grad is not None:
                p.grad.copy_(total.view_as(p))

    def gather(self, value: Any) -> list[Any]:
        """Give every process the values of all, in the order of ranks. A value is JSON."""
        if self.size == 1:
            return [value]
        import torch

        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        size = torch.tensor([len(text)], device=self.device)
        sizes = [torch.zeros_like(size) for _ in range(self.size)]
        torch.distributed.all_gather(sizes, size)
        longest = int(max(sizes))
        padded = torch.nn.functional.pad(text, (0, longest - len(text)))
        texts = [torch.zeros_like(padded) for _ in range(self.size)]
        torch.distributed.all_gather(texts, padded)
        return [json.loads(bytes(t[: int(n)].tolist())) for t, n in zip(texts, sizes, strict=True)]

    def agree(self, tensors: Iterable[torch.Tensor]) -> None:
        """Check that all processes hold equal values.

        Raises RuntimeError where one differs.
        """
        if self.size == 1:
            return
        digest = hashlib.sha256()
        for tensor in tensors:
            digest.update(tensor.detach().cpu().double().numpy().tobytes())
        if (networks := len(set(self.gather(digest.hexdigest())))) > 1:
            raise RuntimeError(f"{self.size} processes ended with {networks} different networks: use one process")


ALONE = Group()


def process_count() -> int:
    """Count the processes that a launcher started for this run."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_first() -> bool:
    """Say whether this is the first process of a run, the only one that prints."""
    return process_count() == 1 or int(os.environ.get("RANK", 0)) == 0


def join(device: str) -> Group:
    """Join the other processes of torchrun or accelerate; do nothing if alone."""
    if process_count() == 1:
        return ALONE
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu")
    atexit.register(leave)
    return Group(state.process_index, state.num_processes, device)


def leave() -> None:
    """Leave the group, so that processes that wait for this one get an error."""
    import torch

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def first_failure(reason: str, group: Group) -> str:
    """Give the reason of the process that failed first; the others report it and wait."""
    if group.size == 1:
        return reason
    import torch

    store = torch.distributed.distributed_c10d._get_default_store()
    if group.first:
        rank, first = json.loads(store.get(BROKEN)) if store.check([BROKEN]) else (0, reason)
        return reason if first == reason else f"process {rank} of {group.size}: {first}"
    if not store.check([BROKEN]):
        store.set(BROKEN, json.dumps([group.rank, reason]))
    leave()  # so that processes that wait for this one get an error
    with contextlib.suppress(Exception):
        store.wait([f"never set {group.rank}"], PATIENCE)  # until the first process has written the record and ended
    return reason


def refusal(cell: Cell) -> str | None:
    """Give the reason why this cell cannot run in several processes."""
    if process_count() > 1 and cell.method.trains_buffers and cell.backbone.family == "resnet":
        return (
            f"method {cell.names.get('method')} trains the running statistics of {cell.backbone.family}, which each "
            "process would compute from its part of a batch: use one process"
        )
    return None


def refuse_several(what: str) -> None:
    """Raise InputError where there are several processes."""
    if process_count() > 1:
        raise InputError(f"{what} cannot be shared by {process_count()} processes: start each run by itself")
