"""Ladder side tuning (Sung et al. 2022, arXiv 2206.06522).

A small side network reads the states of the frozen one.

An encoder-decoder has two ladders, as in the paper; the decoder's attends to the output of the encoder's, at the side
network's width. The paper's code differs, besides the layer (see Rung): its gate is sigmoid(a / 0.1), here sigmoid(a);
its ladder starts at the embeddings, here at the first block's state; its side network starts as a pruned copy of the
backbone, here at random; and its output replaces the last state, to which it is added here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from benchmark.errors import InputError
from benchmark.methods import side
from benchmark.methods.native import Native, Part, freeze
from benchmark.types import Kind

if TYPE_CHECKING:
    from benchmark.cell import Cell


class Sizes(NamedTuple):
    """Widths of the network, the side network, and inside its layers."""

    width: int
    inner: int
    wide: int


class Memory(NamedTuple):
    """Output of an encoder's ladder, and its padding mask."""

    states: torch.Tensor
    padding: torch.Tensor | None


class Rung(Part):
    """Projection of a block's state, and a layer of the side network.

    Unlike the paper's, the layer has no self-attention: the states that it reads come from attention, and generation
    needs no second cache. A decoder's layer attends to the encoder's ladder, by one head without biases.
    """

    def __init__(self, sizes: Sizes, attends: bool) -> None:
        super().__init__()
        width, inner, wide = sizes
        self.project = nn.Linear(width, inner)
        self.norm = nn.LayerNorm(inner)
        self.up, self.down = nn.Linear(inner, wide), nn.Linear(wide, inner)
        if attends:
            self.asks = nn.LayerNorm(inner)
            self.attention = nn.MultiheadAttention(inner, 1, bias=False, batch_first=True)
        self.state: torch.Tensor | None = None

    def forward(self, below: torch.Tensor | None, gate: torch.Tensor | None, memory: Memory | None) -> torch.Tensor:
        read, self.state = self.project(self.state), None
        s = read if below is None else gate * read + (1 - gate) * below
        if memory:
            states, padding = memory
            s = s + self.attention(self.asks(s), states, states, key_padding_mask=padding, need_weights=False)[0]
        return s + self.down(F.gelu(self.up(self.norm(s))))


class Ladder(Part):
    """Side network, with gates between state and side state (section 3.2)."""

    def __init__(self, sizes: Sizes, layers: int, attends: bool = False) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(Rung(sizes, attends) for _ in range(layers))
        self.gates = nn.Parameter(torch.zeros(layers - 1))
        self.norm = nn.LayerNorm(sizes.inner)
        self.output: Memory | None = None  # of an encoder's ladder, for the decoder's

    def forward(self, memory: Memory | None = None) -> torch.Tensor:
        s, gates = None, [None, *self.gates.sigmoid()]
        for rung, gate in zip(self.rungs, gates, strict=True):
            s = rung(s, gate, memory)
        return self.norm(s)


class Top(Part):
    """Ladder at the network's end, and the projection to its width."""

    def __init__(self, sizes: Sizes, layers: int, encoder: Ladder | None) -> None:
        super().__init__()
        self.ladder, self.encoder = Ladder(sizes, layers, encoder is not None), encoder
        self.back = nn.Linear(sizes.inner, sizes.width)
        for zero in (self.back.weight, self.back.bias):  # the side network adds nothing at first
            nn.init.zeros_(zero)

    def forward(self, rows: int) -> torch.Tensor:
        """Compute the change of the last state, for a number of rows."""
        return self.back(self.ladder(self.memory(rows) if self.encoder else None))

    def memory(self, rows: int) -> Memory:
        """Give the output of the encoder's ladder, repeated for the beams of a row.

        It is dropped after one use if it has a graph, which copies of the network must not hold. In generation the
        encoder runs once for all tokens, so that it is used again.
        """
        memory = self.encoder.output
        if memory.states.requires_grad:
            self.encoder.output = None
        return Memory(*(part if part is None else part.repeat_interleave(rows // len(part), 0) for part in memory))


def note(block: nn.Module, _: tuple, output: Any) -> None:
    """Store a block's state for its rung, without a gradient into the block."""
    block.rung.state = (output[0] if isinstance(output, tuple) else output).detach()


def add_ladder(end: nn.Module, _: tuple, output: Any) -> Any:
    """Add the output of the ladder to the last state."""
    return side.add_change(output, end.top(len(side.last_state(output))))


def give(encoder: nn.Module, _: tuple, kwargs: dict[str, Any], output: Any) -> None:
    """Compute the encoder's ladder; the encoder's states do not change."""
    mask = kwargs.get("attention_mask")
    encoder.ladder.output = Memory(encoder.ladder(), None if mask is None else mask == 0)


@dataclass(frozen=True, kw_only=True)
class LadderSideTuning(Native):
    """Side network, the only part with gradients."""

    reduction: int  # the network's width divided by the side network's
    expansion: int  # of the width inside a layer of the side network

    def conflict(self, cell: Cell) -> str | None:
        for name in ("reduction", "expansion"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        return side.refusal(cell)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Raises InputError where the side network would have no width."""
        freeze(model)
        width = side.width_in(model, cell)
        if self.reduction > width:
            raise InputError(f"method.reduction={self.reduction}: the network is {width} wide")
        inner = width // self.reduction
        sizes, encoder = Sizes(width, inner, self.expansion * inner), None
        if cell.kind == Kind.SEQ2SEQ:
            end = model.get_encoder()
            blocks = side.blocks_before(end, model, cell)
            encoder = end.ladder = connect(blocks, Ladder(sizes, len(blocks)))
            end.register_forward_hook(give, with_kwargs=True)
        end = side.end_of(model, cell)
        blocks = side.blocks_before(end, model, cell)
        end.top = Top(sizes, len(blocks), encoder).to(next(blocks[0].parameters()))
        connect(blocks, end.top.ladder)
        end.register_forward_hook(add_ladder)
        return model


def connect(blocks: list[nn.Module], ladder: Ladder) -> Ladder:
    """Connect each block with a rung."""
    for block, rung in zip(blocks, ladder.rungs, strict=True):
        block.rung = rung
        block.register_forward_hook(note)
    return ladder
