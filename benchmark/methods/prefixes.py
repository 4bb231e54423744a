"""Prefixes of every attention (Li and Liang 2021, arXiv 2101.00190).

softmax(q [P_K; K]) [P_V; V].

They are added after rotary embedding and cache, by the attention interface of transformers 5, so that positions, caches
and masks stay the same.
"""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from benchmark.backbones import roles
from benchmark.backbones.blocks import NUMBER
from benchmark.errors import InputError
from benchmark.methods.layers import inputs_of, modules_with, width_of
from benchmark.methods.native import Part

INTERFACE = "prefixed"
HEADS = ("query", "key", "value")
CHANGED_OUTPUT = "attention reads the prepended positions from the first step on"


class Trunk(Part):
    """Shared part of one kind of attention: tokens E and tanh(W E), section 4.3."""

    def __init__(self, length: int, width: int, bottleneck: int) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(length, width))
        self.down = nn.Linear(width, bottleneck)

    def forward(self) -> torch.Tensor:
        return torch.tanh(self.down(self.tokens))


class Gate(Part):
    """Gate sigma(w h + b) per position (UniPELT, Mao et al. 2022, arXiv 2110.07577)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weigh = nn.Linear(width, 1)
        self.open: torch.Tensor | None = None
        nn.init.normal_(self.weigh.weight, std=0.02)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.weigh(h))


class Prefix(Part):
    """Keys and values of one attention: free, or computed from a shared trunk."""

    def __init__(self, length: int, width: int, trunk: Trunk | None, function: str) -> None:
        super().__init__()
        self.function, self.trunk, self.gate = function, trunk, None  # function: the attention that is called
        if trunk is None:
            self.states = nn.Parameter(torch.randn(2, length, width))
        else:
            self.grow = nn.Linear(trunk.down.out_features, 2 * width)

    def forward(self, like: torch.Tensor) -> torch.Tensor:
        """Compute (keys, values) as `like`: (batch, heads, positions, width)."""
        states = self.states if self.trunk is None else torch.stack(self.grow(self.trunk()).chunk(2, -1))
        heads = states.to(like.dtype).unflatten(-1, (like.shape[1], like.shape[3])).transpose(1, 2)
        return heads.unsqueeze(1).expand(2, len(like), -1, -1, -1)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Add the module's prefix to keys and values, and call its attention function."""
    prefix, width = module.prefix, query.shape[3]
    keys, values = prefix(key)
    masks = {"attention_mask": attention_mask, "position_bias": options.get("position_bias")}
    options |= _widen(module, query, key, keys.shape[2], masks | {"is_causal": options.get("is_causal")})
    if gate := prefix.gate:
        # The gate acts on the prefix alone: g q and the values of the prefix have dimensions that are zero for tokens.
        # This is UniPELT's formula, except that the gate is not averaged over later positions.
        gated, gate.open = gate.open, None
        options["scaling"] = options.get("scaling") or width**-0.5
        query = torch.cat([query, query * gated.unsqueeze(1)], -1)
        key, value = (functional.pad(states, (0, width)) for states in (key, value))
        keys, values = (functional.pad(states, (width, 0)) for states in (keys, values))
    library = sys.modules[type(module).__module__]
    function = ALL_ATTENTION_FUNCTIONS.get_interface(prefix.function, library.eager_attention_forward)
    output, weights = function(module, query, torch.cat([keys, key], 2), torch.cat([values, value], 2), **options)
    if gate:
        tokens, read = output.chunk(2, -1)
        output = tokens + gated.unsqueeze(2) * read
    return output, weights


ALL_ATTENTION_FUNCTIONS.register(INTERFACE, attend)


def _widen(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, length: int, masks: dict[str, Any]
) -> dict[str, torch.Tensor | None]:
    """Widen the mask, and T5's bias of positions, by a prefix that every query sees."""
    causal, mask = masks.pop("is_causal"), masks["attention_mask"]
    causal = getattr(module, "is_causal", True) if causal is None else causal
    if mask is None and causal and query.shape[2] > 1:  # else the function would mask the prefix too
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=key.device).tril()[None, None]
    for name, tensor in (masks | {"attention_mask": mask}).items():
        if tensor is not None:
            free = tensor.new_ones if tensor.dtype == torch.bool else tensor.new_zeros
            masks[name] = torch.cat([free(*tensor.shape[:-1], length), tensor], -1)
    return masks


def add_prefixes(model: nn.Module, family: str, length: int, bottleneck: int | None, gated: bool = False) -> None:
    """Add a prefix to every attention.

    With a bottleneck, attentions of one kind (encoder, decoder, cross) share a trunk. Raises InputError where the
    network does not use the attention interface, or the prefix is longer than the network's context.
    """
    context = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if context is not None and length > context:
        raise InputError(f"method.length={length}: this {family} network reads {context} positions")
    projections, trunks = modules_with(model, family, HEADS), {}
    for name, projection in projections.items():
        parent = name.rpartition(".")[0]
        attention = model.get_submodule(parent)
        if not roles.plays(name, family, ["query"]):
            continue
        if not hasattr(sys.modules[type(attention).__module__], "ALL_ATTENTION_FUNCTIONS"):
            raise InputError(f"{family}'s attention takes no prefix: visual prompts are for such networks")
        kind, inputs = NUMBER.sub("", parent), inputs_of(projection)
        if bottleneck and kind not in trunks:
            trunks[kind] = Trunk(length, inputs, bottleneck)
        width = _width_of_keys(projections, parent, family)
        prefix = Prefix(length, width, trunks.get(kind), attention.config._attn_implementation)
        attention.prefix = prefix.to(projection.weight)
        attention.config = copy.copy(attention.config)  # the network's config still decides on masks
        attention.config._attn_implementation = INTERFACE
        if gated:
            projection.gate = prefix.gate = Gate(inputs).to(projection.weight)
            projection.register_forward_pre_hook(open_gate)


def _width_of_keys(projections: dict[str, nn.Module], attention: str, family: str) -> int:
    for name, module in projections.items():
        if name.rpartition(".")[0] == attention and roles.plays(name, family, ["key"]):
            return width_of(module) // (3 if roles.plays(name, family, ["query"]) else 1)
    raise InputError(f"this {family} network's {attention} has no projection of keys")


def open_gate(projection: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
    """Compute the gate from the attention's input."""
    projection.gate.open = projection.gate(inputs[0])
