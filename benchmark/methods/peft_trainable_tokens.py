"""Embeddings of some tokens alone, as PEFT trains them for new tokens.

Nothing here adds tokens: the tokens are those that the training batches show most often.
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
from benchmark.types import Kind

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell


@dataclass(frozen=True, kw_only=True)
class TrainableTokens(Peft):
    """Until the batches are counted, the first tokens of the vocabulary stand in."""

    calibrates: ClassVar[bool] = True
    ties: ClassVar[bool] = True  # the library gives a tied head the same tokens

    tokens: int
    batches: int  # to count in

    def conflict(self, cell: Cell) -> str | None:
        for name in ("tokens", "batches"):
            if getattr(self, name) < 1:
                return f"method.{name}={getattr(self, name)}: must be at least 1"
        if "token_indices" in self.options:
            return "method.options.token_indices: set method.tokens instead"
        if cell.kind == Kind.SEQ2SEQ:  # the library wraps one after the other, and then itself
            return f"TRAINABLE_TOKENS: encoder, decoder and head of {cell.backbone.family} share one embedding"
        return super().conflict(cell)

    def library_options(self, cell: Cell) -> dict[str, Any]:
        return {**self.options, "token_indices": list(range(self.tokens))}

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        layers = super().layers(model, cell)
        for name, layer in layers.items():
            if self.tokens > layer.num_embeddings:
                raise InputError(f"method.tokens={self.tokens}: {name} has {layer.num_embeddings} tokens only")
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
