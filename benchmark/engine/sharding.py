"""Sharding of a large backbone: each process stores a part of every block."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

from benchmark.backbones.blocks import blocks_of
from benchmark.engine.distributed import process_count
from benchmark.types import Head

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell
    from benchmark.engine.context import Run


def refusal(cell: Cell) -> str | None:
    """Give the reason why this cell's network cannot be sharded."""
    if not cell.budget.shard:
        return None
    name = cell.names.get("method")
    if process_count() == 1:
        return "budget.shard=true needs several processes: torchrun --nproc-per-node 2 -m benchmark.run ..."
    if not cell.method.shards:
        return (
            f"budget.shard=true: {name} uses the weights of blocks outside of these blocks, so they cannot be sharded"
        )
    if cell.method.weightless and not _frozen(cell):
        return f"budget.shard=true shards frozen parameters, and {name} trains every parameter of the blocks"
    return None


def _frozen(cell: Cell) -> bool:
    """Say whether a block has a frozen parameter, on a network without weights."""
    model = cell.method.attach(cell.backbone.skeleton(cell.budget, Head(cell.kind, labels=("", " "))), cell)
    blocks = [model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)]
    return any(not p.requires_grad for block in blocks for p in block.parameters())


def shard(run: Run, pretrained: Set[nn.Parameter]) -> None:
    """Shard the frozen pretrained parameters of every block over the processes.

    Parameters that a method trains or adds are not sharded: their gradients are summed, and they are saved as usual.
    """
    if not run.cell.budget.shard:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(run.device, (run.group.size,))
    unsharded = {p for p in run.model.parameters() if p.requires_grad or p not in pretrained}
    for name in blocks_of(run.model, run.cell.backbone.family):
        # Blocks are called one by one, so each is a root of FSDP, which would not free gathered weights by default.
        fully_shard(run.model.get_submodule(name), mesh=mesh, reshard_after_forward=True, ignored_params=unsharded)
    run.model = run.model.to(run.device)
