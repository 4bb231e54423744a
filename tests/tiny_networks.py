"""Tiny random networks of every family.

2 layers, width 16, feed-forward 24 (GPT-2: 64), vocabulary 50.
"""

from types import SimpleNamespace

import torch
import transformers
from torch import nn

from benchmark.types import Kind

BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 40,
    "forced_eos_token_id": None,
}
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
T5 = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 2}  # heads x d_kv < d_model: mT5-small
CONFIGS = {
    "llama": (transformers.LlamaConfig, LLAMA),
    "qwen3": (transformers.Qwen3Config, LLAMA),
    "gpt2": (transformers.GPT2Config, {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}),
    "mbart": (transformers.MBartConfig, BART),
    "m2m_100": (transformers.M2M100Config, BART),
    "t5": (transformers.T5Config, T5),
    "mt5": (transformers.MT5Config, T5),
}
SEQ2SEQ = {"mbart", "m2m_100", "t5", "mt5"}
TOKENS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def network(family: str, seed: int = 0, **changes: object) -> nn.Module:
    """Build the network in eval mode, with random weights, norms and biases."""
    tokens = TOKENS | ({"decoder_start_token_id": 3} if family in SEQ2SEQ else {})
    kind, shape = CONFIGS[family]
    config = kind(**shape | tokens | changes)
    auto = transformers.AutoModelForSeq2SeqLM if family in SEQ2SEQ else transformers.AutoModelForCausalLM
    torch.manual_seed(seed)
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return model


def cell(family: str) -> SimpleNamespace:
    """Stand in for a cell: what a method may ask of it."""
    kind = Kind.SEQ2SEQ if family in SEQ2SEQ else Kind.CAUSAL_LM

    def skeleton(budget: object, head: object) -> nn.Module:
        with torch.device("meta"):
            return network(family)

    backbone, budget = SimpleNamespace(family=family, skeleton=skeleton), SimpleNamespace(steps=20)
    return SimpleNamespace(kind=kind, backbone=backbone, budget=budget, seed=0)


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Give random tokens, the network's input and its labels."""
    ids = torch.randint(4, 50, (3, 6), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.flip(0)}
