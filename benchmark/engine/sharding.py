"""Sharding of a large backbone: each process holds a part of every block."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from benchmark.backbones.blocks import blocks_of
from benchmark.engine.distributed import wanted
from benchmark.types import Head

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell
    from benchmark.engine.context import Run


def refusal(cell: Cell) -> str | None:
    """Give the reason why this cell's network cannot lie in pieces, or None."""
    if not cell.budget.shard:
        return None
    name = cell.names.get("method")
    if wanted() == 1:
        return "budget.shard=true cuts a network over several processes: torchrun --nproc-per-node 2 -m benchmark.run"
    if not cell.method.shards:
        return f"budget.shard=true: {name} computes with the weights of blocks outside of them"
    if cell.method.weightless and not _frozen(cell):
        return f"budget.shard=true cuts what is frozen, and {name} trains every parameter of the blocks"
    return None


def _frozen(cell: Cell) -> bool:
    """Whether a block has a frozen parameter, on a network without weights."""
    model = cell.method.attach(cell.backbone.skeleton(cell.budget, Head(cell.kind, labels=("", " "))), cell)
    blocks = [model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)]
    return any(not p.requires_grad for block in blocks for p in block.parameters())


def shard(run: Run, pretrained: Set[nn.Parameter]) -> None:
    """Shard the frozen pretrained parameters of every block over the processes.

    What a method trains or brings along stays whole: its gradients are summed and its file is written as ever.
    """
    if not run.cell.budget.shard:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(run.device, (run.group.size,))
    whole = {p for p in run.model.parameters() if p.requires_grad or p not in pretrained}
    for name in blocks_of(run.model, run.cell.backbone.family):
        # blocks are called one by one, also by a decoder whose network is not called: each is a root of its own, and
        # a root keeps what it gathered unless it is asked to let go
        fully_shard(run.model.get_submodule(name), mesh=mesh, reshard_after_forward=True, ignored_params=whole)
    run.model = run.model.to(run.device)
