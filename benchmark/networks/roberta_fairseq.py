"""RoBERTa networks of fairseq with a token for each residue."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.networks import residues
from benchmark.networks.network import Converted, Network, check_copy

NAMED = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
TRUNK = {
    "embed_tokens.weight": "embeddings.word_embeddings.weight",
    "embed_positions.weight": "embeddings.position_embeddings.weight",
    "emb_layer_norm": "embeddings.LayerNorm",
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
HEAD = {"lm_head.bias": "lm_head.bias", "lm_head.dense": "lm_head.dense", "lm_head.layer_norm": "lm_head.layer_norm"}
COPY, WORDS = "decoder.lm_head.weight", "decoder.sentence_encoder.embed_tokens.weight"
SPLIT = "sentence_encoder."  # between the trunk's names and what precedes them


@dataclass(frozen=True, kw_only=True)
class RobertaFairseq(Network):
    """Checkpoint of fairseq's masked language model, and its dictionary."""

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Rename the weights; the optimiser's state stays behind."""
        import torch

        (checkpoint,) = (file for name, file in files.items() if name.endswith(".pt"))
        (dictionary,) = (file for name, file in files.items() if name == "dict.txt")
        with torch.serialization.safe_globals([Namespace]):  # the settings: a class without code
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        check_copy(content["model"], COPY, WORDS)
        tensors = dict(_renamed(name, t) for name, t in content["model"].items() if name != COPY)
        words = tensors["roberta.embeddings.word_embeddings.weight"]
        tensors["roberta.embeddings.token_type_embeddings.weight"] = words.new_zeros(1, words.shape[1])  # it has none
        config = _configuration(content["args"], tensors)
        letters = [line.split()[0] for line in dictionary.read_text(encoding="utf-8").splitlines()]
        *first, last = NAMED.values()
        tokens = [*first, *letters, last]
        return Converted(
            config=config, tensors=tensors, files=residues.tokenizer(tokens, NAMED, config["max_position_embeddings"])
        )


def _renamed(name: str, tensor: Any) -> tuple[str, Any]:
    _, _, inside = name.partition(SPLIT)
    if not inside:
        place = name.removeprefix("decoder.")
        return next(f"{new}{place.removeprefix(old)}" for old, new in HEAD.items() if place.startswith(old)), tensor
    block = ""
    if inside.startswith("layers."):
        _, number, inside = inside.split(".", 2)
        block = f"encoder.layer.{number}."
    old = next(old for old in TRUNK if inside.startswith(old))
    return f"roberta.{block}{TRUNK[old]}{inside.removeprefix(old)}", tensor


def _configuration(args: Namespace, tensors: Mapping[str, Any]) -> dict[str, Any]:
    tokens, width = tensors["roberta.embeddings.word_embeddings.weight"].shape
    return {
        "architectures": ["RobertaForMaskedLM"],
        "model_type": "roberta",
        "vocab_size": tokens,
        "hidden_size": width,
        "num_hidden_layers": args.encoder_layers,
        "num_attention_heads": args.encoder_attention_heads,
        "intermediate_size": args.encoder_ffn_embed_dim,
        "hidden_act": args.activation_fn,
        "hidden_dropout_prob": args.dropout,
        "attention_probs_dropout_prob": args.attention_dropout,
        "max_position_embeddings": len(tensors["roberta.embeddings.position_embeddings.weight"]),
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": True,
        "dtype": "float32",
    }
