"""What the library's virtual tokens need before they are right: positions, slots, and room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import peft
from peft.tuners.adaption_prompt.config import TRANSFORMERS_MODEL_CONFIG
from transformers import DynamicCache, EncoderDecoderCache

from benchmark.errors import InputError

if TYPE_CHECKING:
    from torch import nn

CONTEXT = ("max_position_embeddings", "n_positions")  # what architectures call the longest input


class CountingPositions(peft.PeftModelForCausalLM):
    """A decoder that generates at the positions it was trained at.

    The library drops position ids in generate(), so that padding on the left stood between the virtual tokens and the
    text, and an answer depended on the other examples of its batch.
    """

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        inputs = super().prepare_inputs_for_generation(*args, **kwargs)
        read = inputs["input_ids"] if inputs.get("inputs_embeds") is None else inputs["inputs_embeds"]
        if inputs.get("attention_mask") is not None:  # left out where nothing is padded
            places = inputs["attention_mask"].long().cumsum(1) - 1
            inputs["position_ids"] = places.clamp(min=0)[:, -read.shape[1] :]
        return inputs


class OwnSlots(peft.PeftModelForSeq2SeqLM):
    """An encoder-decoder whose decoder's layer i reads the slots 2i and 2i + 1 of a prefix.

    The library repeats the prefix and hands out 4i and 4i + 1: at an even depth half of it was never read.
    """

    def get_prompt(self, batch_size: int, *args: Any, **kwargs: Any) -> Any:
        config, encoder = self.active_peft_config, self.prompt_encoder[self.active_adapter]
        if not isinstance(config, peft.PrefixTuningConfig):
            return super().get_prompt(batch_size, *args, **kwargs)
        prefix, heads = encoder.embedding.weight, config.num_attention_heads
        if not config.inference_mode:  # what is saved is already projected
            prefix = encoder(self.prompt_tokens[self.active_adapter][: len(prefix)].to(prefix.device))
        slots = prefix.view(len(prefix), 2 * config.num_layers, heads, config.token_dim // heads).permute(1, 2, 0, 3)
        slots = slots.unsqueeze(1).expand(-1, batch_size, -1, -1, -1)
        own = [(slots[2 * i], slots[2 * i + 1]) for i in range(config.num_layers)]
        return EncoderDecoderCache(DynamicCache(own), DynamicCache())


MENDED = {peft.PeftModelForCausalLM: CountingPositions, peft.PeftModelForSeq2SeqLM: OwnSlots}


def mended(model: nn.Module) -> nn.Module:
    """Give a network with virtual tokens the behaviour of its class above."""
    (config,) = model.peft_config.values()
    if isinstance(config, peft.PromptLearningConfig) and type(model) in MENDED:
        model.__class__ = MENDED[type(model)]
    return model


def fitted(config: peft.PeftConfig, network: Any, blocks: int) -> peft.PeftConfig:
    """Let a configuration know the network's shape where the library reads it wrongly. Raises InputError."""
    limit = next((getattr(network, name) for name in CONTEXT if getattr(network, name, None)), None)
    tokens = getattr(config, "num_virtual_tokens", None)
    if limit and tokens and tokens >= limit:
        raise InputError(
            f"method.options.num_virtual_tokens={tokens} leaves no room in a context of {limit} positions: choose less"
        )
    if isinstance(config, peft.PrefixTuningConfig) and config.task_type == peft.TaskType.SEQ_2_SEQ_LM:
        _fit_prefix(config, network)
    if isinstance(config, peft.AdaptionPromptConfig):
        if network.model_type not in TRANSFORMERS_MODEL_CONFIG:
            raise InputError(f"ADAPTION_PROMPT knows {', '.join(TRANSFORMERS_MODEL_CONFIG)}, not {network.model_type}")
        config.adapter_layers = config.adapter_layers or blocks
        heads, width = network.num_attention_heads, network.hidden_size
        if (getattr(network, "head_dim", None) or width // heads) * heads != width:
            raise InputError(f"ADAPTION_PROMPT takes attention to be as wide as the network, {width}: here it is not")
    return config


def _fit_prefix(config: peft.PeftConfig, network: Any) -> None:
    """Give the prefix the shape of the decoder, which it is for; the library reads the encoder's, and not T5's d_kv."""
    heads = getattr(network, "decoder_attention_heads", None) or network.num_heads
    config.num_layers = getattr(network, "decoder_layers", None) or network.num_decoder_layers
    config.num_attention_heads = heads
    config.token_dim = heads * getattr(network, "d_kv", network.d_model // heads)
