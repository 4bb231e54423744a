"""AntiBERTy: a BERT for antibodies with three further heads, which are left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.networks import residues
from benchmark.networks.network import Converted, Network, check_copy

NAMED = {"bos": "[CLS]", "eos": "[SEP]", "pad": "[PAD]", "unk": "[UNK]", "mask": "[MASK]"}
LEFT = ("bert.pooler.", "cls.species.", "cls.chain.", "cls.graft.")  # heads of whole sequences
COPIES = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
COUNTING = "bert.embeddings.position_ids"  # 0, 1, 2, ...
SHAPE = (
    "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "intermediate_size",
    "layer_norm_eps", "max_position_embeddings", "model_type", "num_attention_heads", "num_hidden_layers",
    "pad_token_id", "type_vocab_size", "vocab_size",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AntiBerty(Network):
    """Checkpoint, configuration and vocabulary of the package antiberty."""

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Keep trunk and masked language model."""
        import torch

        state = torch.load(files["pytorch_model.bin"], map_location="cpu", weights_only=True)
        given = json.loads(files["config.json"].read_text(encoding="utf-8"))
        config = {key: given[key] for key in SHAPE}
        config |= {"architectures": ["BertForMaskedLM"], "tie_word_embeddings": True, "dtype": "float32"}
        for copy, of in COPIES.items():
            check_copy(state, copy, of)
        tensors = {n: t for n, t in state.items() if not n.startswith(LEFT) and n not in (*COPIES, COUNTING)}
        tokens = files["vocab.txt"].read_text(encoding="utf-8").split()
        longest = config["max_position_embeddings"]
        return Converted(config=config, tensors=tensors, files=residues.tokenizer(tokens, NAMED, longest))
