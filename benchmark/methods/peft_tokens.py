"""Corrections of the library's virtual tokens: positions, and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import peft

from benchmark.errors import InputError

if TYPE_CHECKING:
    from torch import nn

CONTEXT = ("max_position_embeddings", "n_positions")  # names of the longest input in configurations


class CountingPositions(peft.PeftModelForCausalLM):
    """Decoder that generates at the positions of training.

    The library drops position ids in generate(). Padding on the left then counts, so that an answer depends on the
    other examples of its batch.
    """

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        inputs = super().prepare_inputs_for_generation(*args, **kwargs)
        read = inputs["input_ids"] if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
        if inputs.get("attention_mask") is not None:  # absent where nothing is padded
            positions = inputs["attention_mask"].long().cumsum(1) - 1
            inputs["position_ids"] = positions.clamp(min=0)[:, -read.shape[1] :]
        return inputs


def count_positions(model: nn.Module) -> nn.Module:
    """Make a decoder with virtual tokens count positions in generate() as in training."""
    if type(model) is peft.PeftModelForCausalLM:
        model.__class__ = CountingPositions
    return model


def refuse_crowded(config: peft.PeftConfig, network: Any) -> None:
    """Refuse virtual tokens that leave no position for a text. Raises InputError."""
    limit = next((getattr(network, name) for name in CONTEXT if getattr(network, name, None)), None)
    tokens = getattr(config, "num_virtual_tokens", None)
    if limit and tokens and tokens >= limit:
        raise InputError(
            f"method.options.num_virtual_tokens={tokens} leaves no room in a context of {limit} positions: choose less"
        )
