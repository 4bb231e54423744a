"""Formats of fetched networks that need other packages: GGUF and ONNX."""

import numpy as np
import pytest
import timm
import torch
import transformers
from networks import LLAMA, TOKENS, shake

from benchmark.errors import InputError
from benchmark.networks import dinov2_onnx, layout, llama_gguf

TEXTS = dict.fromkeys(("description", "differs", "licence", "original", "makes"), "")
ENTRY = {**TEXTS, "wheels": [], "needs": [], "megabytes": 1}
LETTERS = [*"01", *(chr(code) for code in range(58, 58 + 43))]
SHAPE = {
    "block_count": 2, "context_length": 64, "embedding_length": 32, "feed_forward_length": 48, "head_count": 4,
    "head_count_kv": 2, "layer_norm_rms_eps": 1e-5, "rope_freq_base": 5e4,
}  # fmt: skip
PARTS = {
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
    "attn_v": "self_attn.v_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
}  # fmt: skip


def write_gguf(gguf, state, path, rules="smollm"):
    """Write a Llama as llama.cpp's converter does, with most projections rounded to 8 bits."""
    writer = gguf.GGUFWriter(path, "llama")
    for name, value in SHAPE.items():
        getattr(writer, f"add_{name}")(value)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rules)
    writer.add_token_list(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *LETTERS, "01", "ab"])
    writer.add_token_types([3, 3, 3, *[1] * 47])
    writer.add_token_merges(["0 1", "a b"])
    for role, token in (("bos", 1), ("eos", 2), ("pad", 2), ("unk", 0)):
        getattr(writer, f"add_{role}_token_id")(token)
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", state["model.norm.weight"].numpy())
    for i in range(2):
        for new, old in PARTS.items():
            values, heads = state[f"model.layers.{i}.{old}.weight"].numpy(), {"attn_q": 4, "attn_k": 2}.get(new)
            if heads:
                values = values.reshape(heads, 2, -1, 32).swapaxes(1, 2).reshape(values.shape)
            if values.ndim == 1 or values.shape[1] % 32:
                writer.add_tensor(f"blk.{i}.{new}.weight", values)
            else:
                kind = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(f"blk.{i}.{new}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    for finish in (
        writer.write_header_to_file,
        writer.write_kv_data_to_file,
        writer.write_tensors_to_file,
        writer.close,
    ):
        finish()


@pytest.fixture
def gguf():
    return pytest.importorskip("gguf", reason='needs pip install -e ".[networks]"')


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    shape = LLAMA | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    config = transformers.LlamaConfig(**shape, **TOKENS, tie_word_embeddings=True)
    return shake(transformers.LlamaForCausalLM(config)).state_dict()


def test_a_llama_in_gguf_is_what_transformers_itself_reads(tmp_path, gguf, llama):
    file = tmp_path / "tiny.gguf"
    write_gguf(gguf, llama, file)
    made = llama_gguf.LlamaGguf(**ENTRY).convert({file.name: file})
    layout.check(made)
    assert {n for n, t in made.tensors.items() if (t - llama[n]).abs().max() > 0.01} == set()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
    wanted = theirs.state_dict()
    found = made.tensors | {"lm_head.weight": made.tensors["model.embed_tokens.weight"]}
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
    assert made.config["rope_parameters"]["rope_theta"] == theirs.config.rope_parameters["rope_theta"] == 5e4
    layout.write(made, tmp_path / "made")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "made")
    spelt = tokenizer.convert_ids_to_tokens(tokenizer("<|im_start|>ab01")["input_ids"])
    assert spelt == ["<|im_start|>", "ab", "0", "1"]  # a digit is a token of its own, whatever merges say
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.chat_template) == (1, 2, "{{ messages }}")


def test_rules_of_splitting_that_are_not_known_are_refused(tmp_path, gguf, llama):
    file = tmp_path / "odd.gguf"
    write_gguf(gguf, llama, file, rules="deepseek-llm")
    with pytest.raises(InputError, match="splits text by the rules 'deepseek-llm', smollm wanted"):
        llama_gguf.LlamaGguf(**ENTRY).convert({file.name: file})


def graph(width=4):
    """Write the trunk of a DINOv2 of one block as an exporter of ONNX does, without what computes no weight."""
    onnx = pytest.importorskip("onnx", reason='needs pip install -e ".[networks]"')
    rng = np.random.default_rng(0)
    arrays, nodes = {}, []

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    block = "backbone.encoder.layer.0."
    patches = "embeddings.patch_embeddings.projection"
    ends = {"embeddings.cls_token": (1, 1, width), "layernorm.weight": (width,), "layernorm.bias": (width,)}
    for name, shape in (ends | {f"{patches}.weight": (width, 3, 2, 2), f"{patches}.bias": (width,)}).items():
        arrays[f"backbone.{name}"] = draw(*shape)
    for norm in ("norm1", "norm2"):
        arrays |= {f"{block}{norm}.{kind}": draw(width) for kind in ("weight", "bias")}
    arrays |= {f"{block}layer_scale{i}.lambda1": draw(width) for i in (1, 2)}
    sides = {f"attention.attention.{part}": (4, 4) for part in ("query", "key", "value")}
    sides |= {"attention.output.dense": (4, 4), "mlp.fc1": (4, 12), "mlp.fc2": (12, 4)}
    for number, (name, shape) in enumerate(sides.items()):
        arrays[f"onnx::MatMul_{number}"] = draw(*shape)
        arrays[f"{block}{name}.bias"] = draw(shape[1])
        nodes.append(onnx.helper.make_node("MatMul", ["x", f"onnx::MatMul_{number}"], [f"y{number}"]))
        inputs = [f"{block}{name}.bias", f"y{number}"]
        nodes.append(onnx.helper.make_node("Add", inputs if number % 2 else inputs[::-1], [f"z{number}"]))
    arrays |= {"onnx::Concat_9": draw(1, 1, width), "onnx::Reshape_8": draw(1, 9, width), "decoder.bias": draw(width)}
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return arrays, onnx.helper.make_model(onnx.helper.make_graph(nodes, "trunk", [], [], stored))


def test_a_dinov2_out_of_a_graph_has_its_matrices_turned_and_its_positions_joined(tmp_path):
    arrays, model = graph()
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    entry = dinov2_onnx.Dinov2Onnx(**ENTRY, architecture="?", size=28, mean=[0.5] * 3, std=[0.5] * 3)
    made = entry.convert({"net.onnx": tmp_path / "net.onnx"})
    tiny = timm.models.VisionTransformer(
        img_size=6, patch_size=2, embed_dim=4, depth=1, num_heads=2, mlp_ratio=3, init_values=1e-5, num_classes=0
    )
    assert {n: tuple(t.shape) for n, t in made.tensors.items()} == layout.shapes(tiny)
    block = "backbone.encoder.layer.0."
    assert made.tensors["blocks.0.attn.qkv.weight"][4:8].equal(torch.tensor(arrays["onnx::MatMul_1"].T))
    assert made.tensors["blocks.0.mlp.fc1.weight"].equal(torch.tensor(arrays["onnx::MatMul_4"].T))
    assert made.tensors["blocks.0.ls2.gamma"].equal(torch.tensor(arrays[f"{block}layer_scale2.lambda1"]))
    joined = np.concatenate([arrays["onnx::Concat_9"], arrays["onnx::Reshape_8"]], 1)
    assert made.tensors["pos_embed"].equal(torch.tensor(joined))
    del model.graph.initializer[-2]
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match="holds 1 tables of positions, 2 wanted"):
        entry.convert({"net.onnx": tmp_path / "net.onnx"})
