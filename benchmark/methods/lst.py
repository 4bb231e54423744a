"""Ladder side tuning (Sung et al. 2022, arXiv 2206.06522).

A small network beside the frozen one reads its states.

Beside an encoder-decoder stand two ladders, as in the paper: the decoder's attends to what the encoder's gives, at the
side network's width. Beside what Rung says, the paper's code differs in this: a gate is sigmoid(a / 0.1), here
sigmoid(a); a ladder stands on the embeddings, here on the first block's state; the side network begins as a pruned
copy of the backbone, here at random; and what it gives replaces the last state, to which it is added here.
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
    """Widths of the network, of the side network, and inside a layer of that."""

    width: int
    inner: int
    wide: int


class Memory(NamedTuple):
    """What an encoder's ladder gives, and where there is only padding."""

    states: torch.Tensor
    padding: torch.Tensor | None


class Rung(Part):
    """Project a block's state to the side network's width, and its layer there.

    The layer has no self-attention, unlike the paper's: the states it reads have attended already, and generating needs
    no second cache. One that stands beside a decoder attends to the encoder's ladder, by one head without biases.
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
    """Climb the rungs, with a gate between state and side state (section 3.2)."""

    def __init__(self, sizes: Sizes, layers: int, attends: bool = False) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(Rung(sizes, attends) for _ in range(layers))
        self.gates = nn.Parameter(torch.zeros(layers - 1))
        self.norm = nn.LayerNorm(sizes.inner)
        self.given: Memory | None = None  # beside an encoder: what the decoder's ladder will read

    def forward(self, memory: Memory | None = None) -> torch.Tensor:
        s, gates = None, [None, *self.gates.sigmoid()]  # below the first rung is nothing
        for rung, gate in zip(self.rungs, gates, strict=True):
            s = rung(s, gate, memory)
        return self.norm(s)


class Top(Part):
    """The ladder's top at the network's end, and the projection to its width."""

    def __init__(self, sizes: Sizes, layers: int, encoder: Ladder | None) -> None:
        super().__init__()
        self.ladder, self.encoder = Ladder(sizes, layers, encoder is not None), encoder
        self.back = nn.Linear(sizes.inner, sizes.width)
        for zero in (self.back.weight, self.back.bias):  # the side network starts by adding nothing
            nn.init.zeros_(zero)

    def forward(self, rows: int) -> torch.Tensor:
        """Give what is added to the last state of so many rows."""
        return self.back(self.ladder(self.memory(rows) if self.encoder else None))

    def memory(self, rows: int) -> Memory:
        """Take the encoder ladder's output.

        Once where it has a graph, which no copy of a network may hold.

        While text is generated the encoder has run once for all words, and once for all beams of a row.
        """
        memory = self.encoder.given
        if memory.states.requires_grad:
            self.encoder.given = None
        return Memory(*(part if part is None else part.repeat_interleave(rows // len(part), 0) for part in memory))


def note(block: nn.Module, _: tuple, output: Any) -> None:
    """Store a block's state for its rung, without a gradient into the block."""
    block.rung.state = (output[0] if isinstance(output, tuple) else output).detach()


def add_ladder(end: nn.Module, _: tuple, output: Any) -> Any:
    """Climb the ladder that stands at the end."""
    return side.added(output, end.top(len(side.last_state(output))))


def give(encoder: nn.Module, _: tuple, kwargs: dict[str, Any], output: Any) -> None:
    """Climb the encoder's ladder.

    Its own states stay unchanged, so the decoder needs no gradient.
    """
    mask = kwargs.get("attention_mask")
    encoder.ladder.given = Memory(encoder.ladder(), None if mask is None else mask == 0)


@dataclass(frozen=True, kw_only=True)
class LadderSideTuning(Native):
    """Train the side network alone; the backbone stores no activations."""

    reduction: int  # the width over that of the side network
    expansion: int  # inside a layer of the side network

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
            encoder = end.ladder = beside(blocks, Ladder(sizes, len(blocks)))
            end.register_forward_hook(give, with_kwargs=True)
        end = side.end_of(model, cell)
        blocks = side.blocks_before(end, model, cell)
        end.top = Top(sizes, len(blocks), encoder).to(next(blocks[0].parameters()))
        beside(blocks, end.top.ladder)
        end.register_forward_hook(add_ladder)
        return model


def beside(blocks: list[nn.Module], ladder: Ladder) -> Ladder:
    """Give each block its rung."""
    for block, rung in zip(blocks, ladder.rungs, strict=True):
        block.rung = rung
        block.register_forward_hook(note)
    return ladder
