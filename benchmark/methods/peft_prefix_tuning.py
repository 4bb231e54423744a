"""Prefix tuning of the library (Li and Liang 2021, arXiv 2101.00190).

With corrections for encoder-decoders.
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
    """Encoder-decoder whose decoder layer i reads slots 2i and 2i + 1 of the prefix.

    The library repeats the prefix and uses 4i and 4i + 1, so that at an even depth half of it is never read.
    """

    def get_prompt(self, batch_size: int, *args: Any, **kwargs: Any) -> Any:
        config, encoder = self.active_peft_config, self.prompt_encoder[self.active_adapter]
        prefix, heads = encoder.embedding.weight, config.num_attention_heads
        if not config.inference_mode:  # a saved prefix is already projected
            prefix = encoder(self.prompt_tokens[self.active_adapter][: len(prefix)].to(prefix.device))
        slots = prefix.view(len(prefix), 2 * config.num_layers, heads, config.token_dim // heads).permute(1, 2, 0, 3)
        slots = slots.unsqueeze(1).expand(-1, batch_size, -1, -1, -1)
        pairs = [(slots[2 * i], slots[2 * i + 1]) for i in range(config.num_layers)]
        return EncoderDecoderCache(DynamicCache(pairs), DynamicCache())


@dataclass(frozen=True, kw_only=True)
class PrefixTuning(Peft):
    """Prefix tuning; of an encoder-decoder, in the decoder."""

    def corrected(self, model: nn.Module) -> nn.Module:
        if type(model) is peft.PeftModelForSeq2SeqLM:
            model.__class__ = OwnSlots
        return super().corrected(model)

    def fit(self, config: peft.PeftConfig, network: Any, blocks: int) -> None:
        """Set the decoder's shape, where the library takes the encoder's."""
        super().fit(config, network, blocks)
        if config.task_type != peft.TaskType.SEQ_2_SEQ_LM:
            return
        heads = getattr(network, "decoder_attention_heads", None) or network.num_heads
        config.num_layers = getattr(network, "decoder_layers", None) or network.num_decoder_layers
        config.num_attention_heads = heads
        config.token_dim = heads * getattr(network, "d_kv", network.d_model // heads)
