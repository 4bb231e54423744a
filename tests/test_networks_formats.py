"""Formats of fetched networks: a tiny file of each, converted, is the network that it was written from."""

import json
import struct

import numpy as np
import pytest
import timm
import torch
import transformers
from networks import shake

from benchmark.errors import InputError
from benchmark.networks import ctranslate2, layout
from benchmark.networks.antiberty import AntiBerty
from benchmark.networks.efficientnet import EfficientNet
from benchmark.networks.network import Converted
from benchmark.networks.whisper_ct2 import WhisperCt2

TEXTS = dict.fromkeys(("description", "differs", "licence", "original", "makes"), "")
ENTRY = {**TEXTS, "wheels": [], "needs": [], "megabytes": 1}


def same(found, wanted):
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []


def in_order(state):
    """Group names by module, in the order of the network."""
    groups = {}
    for name in state:
        groups.setdefault(name.rpartition(".")[0], []).append(name.rpartition(".")[2])
    return groups


def test_an_efficientnet_keeps_every_tensor_under_timms_name(tmp_path):
    network = shake(timm.create_model("tf_efficientnet_lite0", num_classes=1000))
    state = network.state_dict()
    # modules of efficientnet_pytorch, in the order in which they compute, which is timm's too
    blocks = [("_expand_conv", "_bn0")] * 16
    names = ["_conv_stem", "_bn0"]
    for number, expand in enumerate(blocks):
        parts = [*(expand if number else ()), "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
        names += [f"_blocks.{number}.{part}" for part in parts]
    names += ["_conv_head", "_bn1", "_fc"]
    groups = in_order(state)
    assert len(names) == len(groups) == 99
    foreign = {
        f"{new}.{kind}": state[f"{old}.{kind}"]
        for new, (old, kinds) in zip(names, groups.items(), strict=True)
        for kind in kinds
    }
    torch.save(foreign, tmp_path / "lite.pth")
    shape = {"architecture": "tf_efficientnet_lite0", "stages": [1, 2, 2, 3, 3, 4, 1], "size": 224}
    entry = EfficientNet(**ENTRY, **shape, mean=[0.5] * 3, std=[0.5] * 3)
    made = entry.convert({"lite.pth": tmp_path / "lite.pth"})
    layout.check(made)
    same(made.tensors, state)
    torch.save(foreign | {"_blocks.16._bn1.weight": torch.ones(3)}, tmp_path / "lite.pth")
    with pytest.raises(InputError, match=r"hold '_blocks.16._bn1.weight', which is no part"):
        entry.convert({"lite.pth": tmp_path / "lite.pth"})


def ct2(tensors, alias=("decoder/projection/weight", "decoder/embeddings/weight"), version=6):
    """Write a file of CTranslate2 as its documents describe it."""

    def text(word):
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    codes = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}
    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(tensors))]
    for name, array in tensors.items():
        parts += [text(name), struct.pack("<B", array.ndim), *(struct.pack("<I", side) for side in array.shape)]
        parts += [struct.pack("<BI", codes[array.dtype.name], array.nbytes), array.tobytes()]
    return b"".join([*parts, struct.pack("<I", 1), *map(text, alias)])


def whisper():
    shape = {
        "d_model": 128, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "num_mel_bins": 8,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 40, "max_source_positions": 20,
        "max_target_positions": 14, "vocab_size": 30, "decoder_start_token_id": 3, "bos_token_id": 2,
        "eos_token_id": 2, "pad_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    return shake(transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**shape)).half().float())


def foreign_whisper(network):
    """Name the weights as CTranslate2's converter does, with fused projections, in 16 bits."""
    state = {n.removeprefix("model."): t.half().numpy() for n, t in network.state_dict().items()}
    tensors = {"decoder/num_heads": np.int16(2), "decoder/alignment_heads": np.array([[0, 1]], np.int16)}
    for side in ("encoder", "decoder"):
        tensors[f"{side}/position_encodings/encodings"] = state[f"{side}.embed_positions.weight"]
        norms = {f"{side}.layer_norm": f"{side}/layer_norm"}
        for i in range(2 if side == "encoder" else 1):
            old, new = f"{side}.layers.{i}", f"{side}/layer_{i}"
            norms |= {f"{old}.self_attn_layer_norm": f"{new}/self_attention/layer_norm"}
            norms |= {f"{old}.final_layer_norm": f"{new}/ffn/layer_norm"}
            linear = {"self_attn.out_proj": "self_attention/linear_1", "fc1": "ffn/linear_0", "fc2": "ffn/linear_1"}
            fused = {"self_attention/linear_0": [f"self_attn.{p}_proj" for p in "qkv"]}
            if side == "decoder":
                norms |= {f"{old}.encoder_attn_layer_norm": f"{new}/attention/layer_norm"}
                linear |= {"encoder_attn.out_proj": "attention/linear_2", "encoder_attn.q_proj": "attention/linear_0"}
                fused |= {"attention/linear_1": ["encoder_attn.k_proj", "encoder_attn.v_proj"]}
            for kind in ("weight", "bias"):
                tensors |= {f"{new}/{b}/{kind}": state[f"{old}.{a}.{kind}"] for a, b in linear.items()}
                none = np.zeros(128, np.float16)  # keys have no bias
                for name, parts in fused.items():
                    tensors[f"{new}/{name}/{kind}"] = np.concatenate(
                        [state.get(f"{old}.{part}.{kind}", none) for part in parts]
                    )
        for old, new in norms.items():
            tensors |= {f"{new}/gamma": state[f"{old}.weight"], f"{new}/beta": state[f"{old}.bias"]}
    for conv in ("conv1", "conv2"):
        tensors |= {f"encoder/{conv}/{kind}": state[f"encoder.{conv}.{kind}"] for kind in ("weight", "bias")}
    return tensors | {"decoder/embeddings/weight": state["decoder.embed_tokens.weight"]}


def test_a_whisper_in_two_parts_keeps_every_tensor_as_it_was_rounded(tmp_path):
    network = whisper()
    content = ct2(foreign_whisper(network))
    words = ["a", "b", "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|sw|>", "<|transcribe|>", "<|translate|>",
             "<|startofprev|>", "<|notimestamps|>"]  # fmt: skip
    tokenizer = {"model": {"vocab": {w: i for i, w in enumerate(words[:2])}}, "added_tokens": [
        {"id": i, "content": w} for i, w in enumerate(words) if i > 1
    ]}  # fmt: skip
    given = {"alignment_heads": [[0, 1]], "lang_ids": [4, 5], "suppress_ids": [1], "suppress_ids_begin": [0, 2]}
    files = {name: tmp_path / name for name in ("model.bin.part1", "tokenizer.json", "config.json", "model.bin.part2")}
    files["model.bin.part1"].write_bytes(content[:5001])
    files["model.bin.part2"].write_bytes(content[5001:])
    files["tokenizer.json"].write_text(json.dumps(tokenizer))
    files["config.json"].write_text(json.dumps(given))
    made = WhisperCt2(**ENTRY).convert(files)
    layout.check(made)
    half = {name: tensor.half().float() for name, tensor in network.state_dict().items() if name != "proj_out.weight"}
    same(made.tensors, half)
    config = transformers.WhisperConfig(**made.config)
    theirs = network.config
    for key in (
        "encoder_layers",
        "decoder_layers",
        "decoder_ffn_dim",
        "encoder_attention_heads",
        "max_target_positions",
    ):
        assert getattr(config, key) == getattr(theirs, key), key
    generation = made.files["generation_config.json"]
    assert generation["lang_to_id"] == {"<|en|>": 4, "<|sw|>": 5}
    assert (generation["no_timestamps_token_id"], generation["task_to_id"]) == (9, {"transcribe": 6, "translate": 7})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ct2({"a": np.ones(3, np.float32)})[:-5], "cannot be read at byte"),
        (ct2({"a": np.ones(3, np.float32)}) + b"\0", "has 113 bytes, its tensors end after 112"),
        (ct2({"a": np.ones(3, np.float32)}, version=5), "is of version 5, 6 wanted"),
    ],
    ids=["too short", "too long", "old"],
)
def test_another_or_damaged_file_of_ctranslate2_is_refused(content, said):
    with pytest.raises(InputError, match=said):
        ctranslate2.read(content)


def test_a_bert_of_antibodies_leaves_three_heads_and_no_more_behind(tmp_path):
    torch.manual_seed(0)
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12}
    config = transformers.BertConfig(**shape, vocab_size=25, max_position_embeddings=16, pad_token_id=0)
    network = shake(transformers.BertForMaskedLM(config))
    state = network.state_dict()
    more = {"bert.embeddings.position_ids": torch.arange(16)[None], "bert.pooler.dense.weight": torch.ones(8, 8)}
    more |= {f"cls.{head}.bias": torch.ones(2) for head in ("species", "chain", "graft")}
    torch.save(state | more, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(config.to_json_string(use_diff=False))
    (tmp_path / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"ACDEFGHIKLMNPQRSTVWY"])
    )
    files = {name: tmp_path / name for name in ("pytorch_model.bin", "config.json", "vocab.txt")}
    made = AntiBerty(**ENTRY).convert(files)
    layout.check(made)
    same(made.tensors, {name: t for name, t in state.items() if not name.startswith("cls.predictions.decoder")})
    torch.save(state | more | {"cls.predictions.decoder.bias": torch.ones(25)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"decoder.bias differ from cls.predictions.bias, of which they should be"):
        AntiBerty(**ENTRY).convert(files)


def test_a_missing_and_a_needless_weight_are_named(monkeypatch):
    monkeypatch.setattr(layout, "architecture", lambda config: torch.nn.Linear(3, 2))
    whole = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    layout.check(Converted(config={}, tensors=whole))
    for tensors, said in (
        ({"weight": whole["weight"]}, "lack bias"),
        (whole | {"a": torch.ones(1)}, "have too much: a"),
    ):
        with pytest.raises(InputError, match=f"the converted weights {said}"):
            layout.check(Converted(config={}, tensors=tensors))


def test_a_tensor_with_two_names_is_stored_once():
    network = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    network[1].weight = network[0].weight
    assert layout.shapes(network) == {"0.weight": (3, 3)}
