"""Llama networks in GGUF, the format of llama.cpp, with weights rounded to a few bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.networks.network import Converted, Network

WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
DIGITS = {"smollm": True}  # name of the splitting rules in GGUF -> whether each digit is a token
CONTROL = 3  # type of a token


@dataclass(frozen=True, kw_only=True)
class LlamaGguf(Network):
    """GGUF file of the architecture llama with a byte-level tokenizer."""

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Restore every weight in 32 bits, in the order of Hugging Face."""
        from gguf import GGUFReader

        (file,) = files.values()
        reader = GGUFReader(file)
        facts = {name: field.contents() for name, field in reader.fields.items()}
        config = configuration(facts)
        heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
        tensors = dict(_restored(tensor, heads) for tensor in reader.tensors)
        config["tie_word_embeddings"] = "lm_head.weight" not in tensors
        return Converted(config=config, tensors=tensors, files=tokenizer(facts))


def configuration(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write config.json from the facts in a GGUF file. Raises InputError for another architecture."""
    if facts["general.architecture"] != "llama":
        raise InputError(f"the GGUF file holds a {facts['general.architecture']} network, llama wanted")
    heads, width = facts["llama.attention.head_count"], facts["llama.embedding_length"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(facts["tokenizer.ggml.tokens"]),
        "hidden_size": width,
        "intermediate_size": facts["llama.feed_forward_length"],
        "num_hidden_layers": facts["llama.block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": facts["llama.attention.head_count_kv"],
        "head_dim": width // heads,
        "max_position_embeddings": facts["llama.context_length"],
        "rms_norm_eps": float(f"{facts['llama.attention.layer_norm_rms_epsilon']:.6g}"),  # stored in 32 bits
        "rope_parameters": {"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        "bos_token_id": facts["tokenizer.ggml.bos_token_id"],
        "eos_token_id": facts["tokenizer.ggml.eos_token_id"],
        "pad_token_id": facts["tokenizer.ggml.padding_token_id"],
        "dtype": "float32",
    }


def tokenizer(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Write the files of a byte-level tokenizer. Raises InputError where its rules are not known."""
    rules = facts["tokenizer.ggml.pre"]
    if facts["tokenizer.ggml.model"] != "gpt2" or rules not in DIGITS:
        raise InputError(f"the GGUF file splits text by the rules {rules!r}, {' or '.join(DIGITS)} wanted")
    tokens = facts["tokenizer.ggml.tokens"]
    kinds = dict(zip(tokens, facts["tokenizer.ggml.token_type"], strict=True))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": token, **flags} for i, token in enumerate(tokens) if kinds[token] == CONTROL]
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": DIGITS[rules]}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {token: i for i, token in enumerate(tokens)},
        "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
    }  # fmt: skip
    whole = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, bytewise]},
        "post_processor": None, "decoder": bytewise, "model": model,
    }  # fmt: skip
    named = {role: tokens[facts[f"tokenizer.ggml.{key}_token_id"]] for role, key in ROLES.items()}
    settings = {
        "tokenizer_class": "TokenizersBackend",
        "backend": "tokenizers",
        "clean_up_tokenization_spaces": False,
        "model_max_length": facts["llama.context_length"],
        "chat_template": facts["tokenizer.chat_template"],
        **named,
    }
    return {"tokenizer.json": whole, "tokenizer_config.json": settings}


ROLES = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


def _restored(tensor: Any, heads: Mapping[str, int]) -> tuple[str, Any]:
    """Rename a tensor and restore its weights in 32 bits."""
    import torch
    from gguf import dequantize

    values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy()).float()
    stem, kind = tensor.name.rsplit(".", 1)
    if not stem.startswith("blk."):
        return f"{WHOLE[stem]}.{kind}", values
    _, number, part = stem.split(".")
    if part in heads:  # llama.cpp turns neighbouring rows of a head together, Hugging Face its halves
        values = values.unflatten(0, (heads[part], -1, 2)).transpose(1, 2).flatten(0, 2)
    return f"model.layers.{number}.{BLOCK[part]}.{kind}", values
