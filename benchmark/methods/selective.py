"""Selective methods, which train a part of the network's parameters.

Biases include those of norms, and exclude those of keys, which have no effect. Norm tuning trains the norms of the
whole network; its paper trains those of attention. The last blocks of an encoder-decoder are the decoder's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError
from benchmark.methods.layers import bias_vectors, train
from benchmark.methods.native import Native, freeze

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

HEAD, ALL, BIASES, BLOCKS = "new_head", "all", "biases", "last_blocks"
FOLLOWING = {ALL, BLOCKS, "norm"}  # parts whose running statistics follow the new data


@dataclass(frozen=True, kw_only=True)
class Selective(Native):
    """Method that trains parameters of the network, and adds none."""

    mergeable: ClassVar[bool] = True

    trains: list[str]  # new_head, all, biases, last_blocks, or roles such as norm; a new head is always trained
    blocks: int | None  # of last_blocks

    @property
    def compiles(self) -> bool:
        return self.trains == [BIASES]

    @property
    def trains_buffers(self) -> bool:
        return bool(FOLLOWING & {*self.trains})

    @property
    def roles(self) -> list[str]:
        """Trained parts that are roles."""
        return [part for part in self.trains if part not in (HEAD, ALL, BIASES, BLOCKS)]

    def conflict(self, cell: Cell) -> str | None:
        if not {*self.trains} - {HEAD}:
            return self._refuse_untrained(cell)
        if (BLOCKS in self.trains) != (self.blocks is not None):
            return f"method.blocks={self.blocks}: {BLOCKS} in method.trains needs a number, and no other part has one"
        if self.blocks is not None and self.blocks < 1:
            return f"method.blocks={self.blocks}: must be at least 1"
        if self.trains == [ALL]:
            return None
        family = cell.backbone.family
        reason = roles.refusal(family, [*self.roles, *["default"] * (BLOCKS in self.trains)])
        if reason or BIASES not in self.trains or roles.FAMILIES[family].biases:
            return reason
        others = ", ".join(sorted(name for name, facts in roles.FAMILIES.items() if facts.biases))
        return f"{family} has no bias vectors to train (families that have: {others})"

    def _refuse_untrained(self, cell: Cell) -> str | None:
        new, wanted = cell.kind.new_head, HEAD in self.trains
        if new and not wanted:
            return f"a {cell.kind} head is new, frozen it can only guess: method=head trains the head alone"
        if wanted and not new:
            return f"the head of a {cell.kind} network comes pretrained: method=frozen is the reference"
        why = "the head learns at backbone.head_lr" if new else "a frozen network learns nothing"
        return f"method.lr={self.lr}: {why}, set it to 0.0" if self.lr else None

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the network lacks a part."""
        if ALL in self.trains:
            return model.requires_grad_(True)
        family = cell.backbone.family
        freeze(model)
        if self.roles:
            train(model, family, self.roles)
        if BLOCKS in self.trains:
            self._train_blocks(model, family)
        if BIASES in self.trains:
            biases = bias_vectors(model, family)
            if not biases:
                raise InputError(f"this {family} network has no bias vectors: choose another method")
            for bias in biases:
                bias.requires_grad_(True)
        return model

    def _train_blocks(self, model: nn.Module, family: str) -> None:
        blocks = blocks_of(model, family)
        if self.blocks > len(blocks):
            raise InputError(f"method.blocks={self.blocks}: this {family} network has {len(blocks)}")
        for name in blocks[-self.blocks :]:
            model.get_submodule(name).requires_grad_(True)
