"""Prefix tuning of the library (Li and Liang 2021, arXiv 2101.00190).

With slots and a shape that fit a decoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import peft
from transformers import DynamicCache, EncoderDecoderCache

from benchmark.methods.hf_peft import Peft

if TYPE_CHECKING:
    from torch import nn


class OwnSlots(peft.PeftModelForSeq2SeqLM):
    """An encoder-decoder whose decoder layer i reads slots 2i and 2i + 1.

    The library repeats the prefix and hands out 4i and 4i + 1: at an even depth half of it was never read.
    """

    def get_prompt(self, batch_size: int, *args: Any, **kwargs: Any) -> Any:
        config, encoder = self.active_peft_config, self.prompt_encoder[self.active_adapter]
        prefix, heads = encoder.embedding.weight, config.num_attention_heads
        if not config.inference_mode:  # what is saved is already projected
            prefix = encoder(self.prompt_tokens[self.active_adapter][: len(prefix)].to(prefix.device))
        slots = prefix.view(len(prefix), 2 * config.num_layers, heads, config.token_dim // heads).permute(1, 2, 0, 3)
        slots = slots.unsqueeze(1).expand(-1, batch_size, -1, -1, -1)
        pairs = [(slots[2 * i], slots[2 * i + 1]) for i in range(config.num_layers)]
        return EncoderDecoderCache(DynamicCache(pairs), DynamicCache())


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Peft):
    """Of an encoder-decoder, the prefix is for the decoder."""

    def corrected(self, model: nn.Module) -> nn.Module:
        if type(model) is peft.PeftModelForSeq2SeqLM:
            model.__class__ = OwnSlots
        return super().corrected(model)

    def fit(self, config: peft.PeftConfig, network: Any, blocks: int) -> None:
        """Give the prefix the decoder's shape; the library reads the encoder's."""
        super().fit(config, network, blocks)
        if config.task_type != peft.TaskType.SEQ_2_SEQ_LM:
            return
        heads = getattr(network, "decoder_attention_heads", None) or network.num_heads
        config.num_layers = getattr(network, "decoder_layers", None) or network.num_decoder_layers
        config.num_attention_heads = heads
        config.token_dim = heads * getattr(network, "d_kv", network.d_model // heads)
