"""Whisper networks in the format of CTranslate2."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.networks.ctranslate2 import read
from benchmark.networks.network import Converted, Network

HEARS = {  # preprocessor_config.json, but for the number of mel bands
    "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "chunk_length": 30,
    "hop_length": 160, "n_fft": 400, "n_samples": 480_000, "nb_max_frames": 3000, "padding_side": "right",
    "padding_value": 0.0, "return_attention_mask": False, "sampling_rate": 16_000,
}  # fmt: skip
BLOCK = re.compile(r"/layer_\d+/")
HEAD = 64  # width of an attention head in every Whisper
LINEAR = {"self_attention/linear_1": "self_attn.out_proj", "ffn/linear_0": "fc1", "ffn/linear_1": "fc2"}
NORMS = {"self_attention/layer_norm": "self_attn_layer_norm", "ffn/layer_norm": "final_layer_norm"}
ACROSS = {"attention/linear_2": "encoder_attn.out_proj"}
TABLES = {
    "encoder/position_encodings/encodings": "encoder.embed_positions.weight",
    "decoder/position_encodings/encodings": "decoder.embed_positions.weight",
    "decoder/embeddings/weight": "decoder.embed_tokens.weight",
}
NO_WEIGHTS = ("decoder/alignment_heads",)  # and whatever has no dimension: settings of the converter


@dataclass(frozen=True, kw_only=True)
class WhisperCt2(Network):
    """Parts of model.bin in order, beside config.json and tokenizer.json."""

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Split fused projections and rename every tensor."""
        import numpy as np
        import torch

        parts = [file for name, file in files.items() if name.startswith("model.bin")]
        stored = read(b"".join(part.read_bytes() for part in parts))
        arrays = {f"model.{name}": array.astype(np.float32) for name, array in renamed(stored).items()}
        tokenizer = json.loads(files["tokenizer.json"].read_text(encoding="utf-8"))
        tokens = tokenizer["model"]["vocab"] | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}
        config = configuration(arrays, tokens)
        others = {
            "preprocessor_config.json": HEARS | {"feature_size": config["num_mel_bins"]},
            "generation_config.json": generation(json.loads(files["config.json"].read_text()), config, tokens),
            "tokenizer.json": files["tokenizer.json"],
            "tokenizer_config.json": naming(tokenizer),
        }
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return Converted(config=config, tensors=tensors, files=others)


def renamed(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the tensors; what is fused is split, and what is left over keeps its name."""
    left = {name: array for name, array in stored.items() if name not in NO_WEIGHTS and array.ndim}
    made = {new: left.pop(old) for old, new in TABLES.items()}
    for name in [name for name in left if not BLOCK.search(name)]:  # convolutions and the last norms
        made[_torch_name(name)] = left.pop(name)
    for name, array in left.items():
        side, layer, part = name.split("/", 2)
        place = f"{side}.layers.{layer.removeprefix('layer_')}"
        module, _, kind = part.rpartition("/")
        fused = _fused(module)
        if not fused:
            known = LINEAR | ACROSS | NORMS | {"attention/layer_norm": "encoder_attn_layer_norm"}
            made[_torch_name(f"{place}.{known.get(module, module)}/{kind}")] = array
        for target, piece in zip(fused, array.reshape(len(fused) or 1, -1, *array.shape[1:]), strict=False):
            if target.endswith("k_proj") and kind == "bias" and not piece.any():  # Whisper has none: zeros were stored
                continue
            made[f"{place}.{target}.{kind}"] = piece
    return made


def configuration(arrays: Mapping[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """Write config.json from the shapes of the weights."""
    width, bands, _ = arrays["model.encoder.conv1.weight"].shape
    sides = ("encoder", "decoder")
    depth = {s: 1 + max(int(n.split(".")[3]) for n in arrays if n.startswith(f"model.{s}.layers.")) for s in sides}
    end = tokens["<|endoftext|>"]
    shape = {f"{side}_layers": depth[side] for side in sides} | {
        f"{side}_attention_heads": width // HEAD for side in sides
    }
    shape |= {f"{s}_ffn_dim": len(arrays[f"model.{s}.layers.0.fc1.weight"]) for s in sides}
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "d_model": width,
        "num_mel_bins": bands,
        "vocab_size": len(arrays["model.decoder.embed_tokens.weight"]),
        "max_source_positions": len(arrays["model.encoder.embed_positions.weight"]),
        "max_target_positions": len(arrays["model.decoder.embed_positions.weight"]),
        "decoder_start_token_id": tokens["<|startoftranscript|>"],
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), end),
        "tie_word_embeddings": True,
        "dtype": "float32",
        **shape,
    }


def generation(given: Mapping[str, Any], config: Mapping[str, Any], tokens: Mapping[str, int]) -> dict[str, Any]:
    """Write generation_config.json: which tokens are suppressed, and what languages are called."""
    names = {i: token for token, i in tokens.items()}
    english = config["vocab_size"] == 51_864  # tokens of the networks that know English alone
    ids = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
    languages = {} if english else {names[i]: i for i in given["lang_ids"]}
    tasks = {} if english else {task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return {
        **{key: config[key] for key in ids},
        "alignment_heads": given["alignment_heads"],
        "suppress_tokens": given["suppress_ids"],
        "begin_suppress_tokens": given["suppress_ids_begin"],
        "is_multilingual": not english,
        "no_timestamps_token_id": tokens["<|notimestamps|>"],
        "prev_sot_token_id": tokens["<|startofprev|>"],
        "max_initial_timestamp_index": 50,
        "max_length": config["max_target_positions"],
        "return_timestamps": False,
        **({} if english else {"lang_to_id": languages, "task_to_id": tasks}),
    }


def naming(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """Write tokenizer_config.json."""
    end = "<|endoftext|>"
    return {
        "tokenizer_class": "WhisperTokenizer",
        "processor_class": "WhisperProcessor",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        **dict.fromkeys(("bos_token", "eos_token", "pad_token", "unk_token"), end),
    }


def _fused(module: str) -> list[str]:
    if module == "self_attention/linear_0":
        return [f"self_attn.{part}" for part in ("q_proj", "k_proj", "v_proj")]
    if module == "attention/linear_0":
        return ["encoder_attn.q_proj"]
    return ["encoder_attn.k_proj", "encoder_attn.v_proj"] if module == "attention/linear_1" else []


def _torch_name(name: str) -> str:
    return name.replace("/gamma", ".weight").replace("/beta", ".bias").replace("/", ".")
