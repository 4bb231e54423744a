"""LLaMA-Adapter (Zhang et al. 2023, arXiv 2303.16199).

A prompt in every attention, with a gate that starts at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import peft
from peft.tuners.adaption_prompt.config import TRANSFORMERS_MODEL_CONFIG

from benchmark.errors import InputError
from benchmark.methods.hf_peft import Peft


@dataclass(frozen=True, kw_only=True)
class AdaptionPrompt(Peft):
    """LLaMA-Adapter, in all layers or the top options.adapter_layers."""

    def fit(self, config: peft.PeftConfig, network: Any, blocks: int) -> None:
        """Raises InputError where the library knows no such attention."""
        if network.model_type not in TRANSFORMERS_MODEL_CONFIG:
            raise InputError(f"ADAPTION_PROMPT knows {', '.join(TRANSFORMERS_MODEL_CONFIG)}, not {network.model_type}")
        config.adapter_layers = config.adapter_layers or blocks
        heads, width = network.num_attention_heads, network.hidden_size
        if (getattr(network, "head_dim", None) or width // heads) * heads != width:
            raise InputError(f"ADAPTION_PROMPT needs attention as wide as the network ({width}), which is not so here")
