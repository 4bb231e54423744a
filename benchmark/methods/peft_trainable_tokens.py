"""Embeddings of some tokens: the most frequent ones of the training batches.

PEFT trains embeddings of new tokens in this way; here no tokens are added.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

from benchmark.errors import InputError
from benchmark.methods.hf_peft import Peft
from benchmark.types import Input, Kind

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class TrainableTokens(Peft):
    """Trained embeddings of tokens, which calibration selects."""

    calibrates: ClassVar[bool] = True
    ties: ClassVar[bool] = True  # the library trains the same tokens in a tied head

    tokens: int
    batches: int  # in which tokens are counted

    def conflict(self, cell: Cell) -> str | None:
        for name in ("tokens", "batches"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        if "token_indices" in self.options:
            return "method.options.token_indices: set method.tokens instead"
        family, reads = cell.backbone.family, cell.backbone.reads
        if not cell.kind.new_head and reads != Input.TEXT:
            return f"TRAINABLE_TOKENS counts the tokens of questions, {family} reads {reads}"
        if cell.kind == Kind.SEQ2SEQ:  # which the library would wrap repeatedly
            return f"TRAINABLE_TOKENS: encoder, decoder and head of {family} share one embedding"
        return super().conflict(cell)

    def library_options(self, cell: Cell) -> dict[str, Any]:
        return {**self.options, "token_indices": list(range(self.tokens))}

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers = super().layers(model, cell)
        for name, layer in layers.items():
            if self.tokens > layer.num_embeddings:
                raise InputError(f"method.tokens={self.tokens}: {name} has only {layer.num_embeddings} tokens")
        return layers

    @torch.no_grad()
    def calibrate(self, model: nn.Module, batches: Iterator[dict[str, Any]], cell: Cell) -> None:
        layers = [module for module in model.modules() if isinstance(module, TrainableTokensLayer)]
        counts: Counter[int] = Counter(dict.fromkeys(range(layers[0].base_layer.weight.shape[0]), 0))
        for batch in itertools.islice(batches, self.batches):
            real = batch["attention_mask"].bool() if "attention_mask" in batch else slice(None)
            counts.update(batch["input_ids"][real].flatten().tolist())
        commonest = [token for token, _ in counts.most_common(self.tokens)]
        model.peft_config["default"].token_indices = commonest
        for layer in layers:
            if layer.tied_adapter is None:
                layer.token_indices["default"] = commonest
                layer.trainable_tokens_delta["default"].copy_(layer.base_layer.weight[commonest])
                layer.trainable_tokens_original["default"].copy_(layer.base_layer.weight[commonest])
