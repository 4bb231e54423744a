"""Weights that are not those of the network: refused before training, by name, and never recorded."""

import functools
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmark import run
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from benchmark.types import Head

EMBEDDED = Path(__file__).parents[1] / "benchmark" / "backbones" / "embedded"
NETWORKS = {  # name: configuration, task, a weight deep inside
    "tiny_causal": ("causal_lm", "text_generation", "model.layers.1.mlp.up_proj.weight"),
    "tiny_seq2seq": ("seq2seq", "nmt", "model.decoder.layers.0.fc1.weight"),
    "esm_lattice": ("protein_encoder", "protein", "layer.1.output.dense.weight"),
    "wav2vec2_words": ("speech_encoder", "speech", "encoder.layers.1.attention.k_proj.weight"),
    "vit_textures": ("timm_network", "medical_images", "blocks.1.mlp.fc1.weight"),
    "cnn_textures": ("timm_network", "medical_images", "layer2.0.conv1.weight"),
}
TEXT = tuple(NETWORKS)[:2]


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture
def folder(name, request, tmp_path):
    whole = request.getfixturevalue(name) if name in TEXT else EMBEDDED / name
    return shutil.copytree(whole, tmp_path / "network")


@functools.cache  # composing takes longer than refusing
def composed(name):
    backbone, task, _ = NETWORKS[name]
    method = "lora" if name in TEXT else "head"
    words = [f"task={task}", f"method={method}", f"backbone={backbone}", "budget=smoke"]
    return cell_of([*words, f"backbone.checkpoint={EMBEDDED / 'esm_lattice'}"])


def cell(name, folder, weights="pretrained"):
    made = composed(name)
    return replace(made, backbone=replace(made.backbone, checkpoint=str(folder), weights=weights))


def load(name, folder, weights="pretrained"):
    """Go the way of a run: the family is read, the pair is rehearsed, the network is loaded."""
    made = cell(name, folder, weights)
    assert made.backbone.family
    if reason := made.conflict():
        raise InputError(f"backbone and task: {reason}")
    return made.load(Head(made.kind, labels=("a", "b")))[0]


def unread(network):
    return sum(getattr(module, "unread_weights", 0) for module in network.modules())


def inside(name, weights):
    """Name a weight as the file does: some are of the encoder, some of the network around it."""
    return next(key for key in weights if key.endswith(NETWORKS[name][2]))


def rewrite(folder, change):
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def set_in(folder, file="config.json", **values):
    """Set keys, wherever in the file they stand."""

    def put(node):
        return {k: values.get(k, put(v) if isinstance(v, dict) else v) for k, v in node.items()}

    content = json.loads((folder / file).read_text())
    assert put(content) != content
    (folder / file).write_text(json.dumps(put(content)))


def test_a_whole_checkpoint_loads_and_what_it_does_not_use_is_counted(name, folder):
    assert unread(load(name, folder)) == 0
    rewrite(folder, lambda weights: weights | {"other.weight": torch.zeros(3), "other.bias": torch.zeros(3)})
    assert unread(load(name, folder)) == 2


def test_a_missing_weight_is_refused_by_name(name, folder):
    rewrite(folder, lambda weights: {k: v for k, v in weights.items() if k != inside(name, weights)})
    with pytest.raises(InputError, match=rf"lack.*{NETWORKS[name][2]}"):
        load(name, folder)


def test_foreign_weights_are_refused(name, folder):
    rewrite(folder, lambda _: {"something.else": torch.zeros(3)})
    with pytest.raises(InputError, match=r"lack .* in all"):
        load(name, folder)


def test_as_many_weights_under_other_names_are_refused(name, folder):
    rewrite(folder, lambda weights: {f"x.{k}": v for k, v in weights.items()})
    with pytest.raises(InputError, match=r"lack .* in all"):
        load(name, folder)


def test_a_weight_of_another_shape_is_refused_by_name(name, folder):
    rewrite(folder, lambda weights: weights | {inside(name, weights): weights[inside(name, weights)][:-1]})
    with pytest.raises(InputError, match=NETWORKS[name][2]):
        load(name, folder)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_weight_that_is_no_number_is_refused_by_name(name, folder, number):
    def spoil(weights):
        weights[inside(name, weights)].view(-1)[5] = number
        return weights

    rewrite(folder, spoil)
    with pytest.raises(InputError, match=rf"{NETWORKS[name][2]}.* not finite"):
        load(name, folder)


@pytest.mark.parametrize("content", ["", "no weights", "half"])
def test_a_file_that_is_cut_empty_or_none_is_refused_before_anything_is_loaded(name, folder, content):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] if content == "half" else content.encode())
    with pytest.raises(InputError, match=r"model.safetensors.* cannot be read"):
        _ = cell(name, folder).backbone.family


ABSURD = {
    "tiny_causal": ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size", "num_attention_heads"),
    "tiny_seq2seq": ("decoder_layers", "d_model", "encoder_ffn_dim", "vocab_size", "max_position_embeddings"),
    "esm_lattice": ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size"),
    "wav2vec2_words": ("num_hidden_layers", "hidden_size", "intermediate_size", "num_conv_pos_embeddings"),
    "vit_textures": ("depth", "embed_dim", "patch_size", "input_size"),
    "cnn_textures": ("channels", "input_size"),
}


@pytest.mark.parametrize(
    ("value", "weights"),
    [(1_000_000_000, "pretrained"), (1_000_000_000, "random"), (-3, "random"), ("many", "pretrained")],
)
def test_absurd_sizes_are_refused_in_seconds(name, folder, value, weights):
    for key in ABSURD[name]:
        whole = (folder / "config.json").read_text()
        set_in(folder, **{key: [value, value, value] if key in ("channels", "input_size") else value})
        with pytest.raises(InputError, match=r"^backbone"):
            load(name, folder, weights)
        (folder / "config.json").write_text(whole)


@pytest.mark.parametrize("name", [n for n in ABSURD if "vocab_size" in ABSURD[n]])
@pytest.mark.parametrize("more", [-5, 5])
def test_another_size_of_the_vocabulary_is_refused(name, folder, more):
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    set_in(folder, vocab_size=size + more)
    with pytest.raises(InputError, match=r"embed|shared|tokens up to"):
        load(name, folder)
    if more < 0:
        with pytest.raises(InputError, match=rf"tokens up to .*, its network has {size - 5} embeddings"):
            load(name, folder, "random")


@pytest.mark.parametrize("name", ["tiny_causal", "vit_textures"])
def test_a_command_refuses_such_weights_and_records_nothing(name, folder, tmp_path, capfd):
    where = [f"results={tmp_path / 'results'}", "device=cpu", "budget=smoke"]
    backbone, task, deep = NETWORKS[name]
    words = [*where, f"backbone={backbone}", f"backbone.checkpoint={folder}", "budget.steps=2"]
    words += [f"task={task}", *(["data=toy", "method=lora"] if name in TEXT else ["method=head"])]
    rewrite(folder, lambda weights: {k: v for k, v in weights.items() if k != inside(name, weights)})
    assert run.main(words) == 2
    line = capfd.readouterr().err
    assert line.startswith("refused: backbone.checkpoint=")
    assert line.count("\n") == 1  # no report of a library beside it
    assert deep in line
    assert not list(tmp_path.glob("results/runs/**/*.json"))


LIBRARY = ("tiny_causal", "esm_lattice", "wav2vec2_words")  # whose weights may be in several files
SECOND = "model-00002-of-00002.safetensors"


def split(where):
    """Divide the weights over two files, with the index that Hugging Face writes."""
    weights = load_file(where / "model.safetensors")
    (where / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], SECOND: names[1::2]}
    for file, inside in parts.items():
        save_file({name: weights[name] for name in inside}, where / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, inside in parts.items() for name in inside}}
    (where / "model.safetensors.index.json").write_text(json.dumps(index))


def change(where, turn):
    file = where / "model.safetensors"
    save_file({name: turn(value) for name, value in load_file(file).items()}, file, metadata={"format": "pt"})


def lose(where):
    (where / SECOND).unlink()


def rename(where):
    index = where / "model.safetensors.index.json"
    index.write_text(index.read_text().replace(SECOND, "elsewhere.safetensors"))


def lead_out(where):
    (where / SECOND).rename(where.parent / "gone.safetensors")


def break_index(where):
    (where / "model.safetensors.index.json").write_text('{"weight_map": ')


@pytest.mark.parametrize("name", LIBRARY)
def test_weights_in_several_files_are_those_in_one(name, folder):
    one = load(name, folder).state_dict()
    split(folder)
    several = load(name, folder).state_dict()
    assert all(torch.equal(one[key], several[key]) for key in one if "new_head" not in key)


@pytest.mark.parametrize("damage", [lose, rename, lead_out, break_index])
@pytest.mark.parametrize("name", LIBRARY)
def test_a_missing_file_of_several_is_refused(name, damage, folder):
    split(folder)
    damage(folder)
    with pytest.raises(InputError, match=r"^backbone.checkpoint=.* cannot be loaded: "):
        load(name, folder)


@pytest.mark.parametrize("name", ["tiny_causal", "vit_textures"])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_are_loaded_as_they_are(name, precision, folder):
    whole = load(name, folder).state_dict()
    change(folder, lambda value: value.to(precision))
    half = load(name, folder).state_dict()
    assert {value.dtype for value in half.values()} == {torch.float32}
    assert all(torch.equal(whole[key].to(precision).float(), half[key]) for key in whole if "new_head" not in key)


@pytest.mark.parametrize("name", ["tiny_causal", "vit_textures"])
@pytest.mark.parametrize(("precision", "written"), [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_quantised_weights_are_refused_by_name(name, precision, written, folder):
    change(folder, lambda value: value.to(precision))
    with pytest.raises(
        InputError, match=rf"holds .*weight as {written} \(\d+ such weights in all\), which is quantised"
    ):
        load(name, folder)
