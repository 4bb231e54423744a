"""Methods of PEFT: what is known of a type before it is loaded, and prefixes."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fitting import train_steps
from hydra.utils import get_class
from networks import CONFIGS as CONFIGS_OF_TEXT
from networks import SEQ2SEQ, attach
from omegaconf import OmegaConf
from torch import nn

from benchmark.capabilities.networks import bare, batch, cell
from benchmark.capabilities.page import LEFT_OUT
from benchmark.capabilities.probe import batches, method_of
from benchmark.errors import InputError
from benchmark.methods import hf_peft, peft_options, peft_tokens
from benchmark.methods.hf_peft import Peft
from benchmark.methods.peft_options import CONFIGS

FOLDER = Path(__file__).parents[1] / "configs" / "method"
FILES = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(FOLDER.glob("*.yaml"))}
OF_PEFT = {name: node for name, node in FILES.items() if issubclass(get_class(node["_target_"]), Peft)}
GENERATING = [
    "prefix_tuning",
    "prompt_tuning",
    "lora",
    "houlsby",
    "p_tuning",
    "cpt",
    "adaption_prompt",
    "shadow",
    "lily",
]


def refused(name, network, **changes):
    return cell(network, method_of(name, changes)).conflict()


def test_every_type_has_a_method_or_a_reason():
    named = {node["peft_type"] for node in OF_PEFT.values()}
    assert named | LEFT_OUT.keys() == CONFIGS.keys()
    assert not named & LEFT_OUT.keys()
    for name in LEFT_OUT:
        assert refused("lora", "llama", peft_type=name, options={}).endswith("and no method is of that type")


def test_a_method_is_refused_for_another_type_than_its_own():
    assert refused("lora", "llama", peft_type="ADALORA", options={}) == (
        "method.peft_type=ADALORA: this method is made for another type; choose method=adalora"
    )
    assert refused("hra", "llama", facts={"mergeable": False}).startswith("method.peft_type=HRA: this method is made")
    with pytest.raises(InputError, match="merges: no such fact; did you mean mergeable"):
        method_of("hra", {"facts": {"merges": False}})


def test_what_builds_any_type_names_none():
    """Shared code asks for facts of a type, never for its name."""
    for module in (hf_peft, peft_options, peft_tokens):
        words = set(re.findall(r"[A-Za-z_0-9]+", Path(module.__file__).read_text()))
        assert words & CONFIGS.keys() == set(), module.__name__


@pytest.mark.parametrize(
    ("name", "network", "changes", "reason"),
    [
        ("lora", "llama", {"rank": 17}, "method.rank=17 is larger than the smaller side of model.layers.0.self_attn.k"),
        ("pissa", "llama", {"rank": 17}, "method.rank=17 is larger than the smaller side of model.layers.0.self_attn"),
        ("pissa", "resnet", {}, "method.options.init_lora_weights=pissa cannot start a Conv2d layer: encoder.layer1.0"),
        ("olora", "gpt2", {}, "method.options.init_lora_weights=olora cannot start a Conv1D layer: transformer.h.0"),
        ("lora", "llama", {"options": {"init_lora_weights": "eva"}}, "method.options.init_lora_weights=eva: the data"),
        ("lora_ga", "llama", {"rank": 9}, "method.rank=9: method=lora_ga takes twice as many directions, and the"),
        ("eva", "resnet", {}, "method=eva needs inputs that are vectors, and encoder.layer1.0.conv1 is a Conv2d layer"),
        ("shira", "llama", {"rank": 11}, "method.rank=11 asks SHIRA for more entries than the matrix has: model"),
        ("osf", "llama", {"rank": 16}, "method.rank=16 keeps every direction, and leaves OSF none to train: model"),
        ("c3a", "llama", {}, "C3A does not fit this llama network: The block size should be a factor of the output"),
        ("oft", "llama", {}, "method.options.oft_block_size=32 does not divide OFT's inputs: model.layers.0.mlp.down"),
        ("boft", "llama", {"options": {"boft_n_butterfly_factor": 9}}, "BOFT does not fit this llama network: Invalid"),
        (
            "prompt_tuning",
            "llama",
            {"options": {"num_virtual_tokens": 64}},
            "method.options.num_virtual_tokens=64 leav",
        ),
        ("adaption_prompt", "qwen3", {}, "ADAPTION_PROMPT knows llama, mistral, gpt2, not qwen3"),
        ("shadow", "mbart", {}, "SHADOW needs a decoder, and mbart is none here"),
        (
            "trainable_tokens",
            "esm",
            {},
            "TRAINABLE_TOKENS cannot train the new head of this task together with its own parameters",
        ),
        ("trainable_tokens", "llama", {"tokens": 51}, "method.tokens=51: model.embed_tokens has only 50 tokens"),
        ("cpt", "mbart", {}, "CPT puts questions and answers into one sequence, mbart reads two"),
        ("cpt", "llama", {}, "method.options.num_virtual_tokens=64 leaves no room in a context of 64 positions"),
    ],
)
def test_what_does_not_fit_is_known_before_weights_are_loaded(name, network, changes, reason):
    assert refused(name, network, **changes).startswith(reason)


@pytest.mark.parametrize("network", sorted(SEQ2SEQ))
def test_every_number_of_a_seq2seq_prefix_is_read(network):
    _, model = attach("prefix_tuning", network)
    model(**batch(network)).loss.backward()
    assert model.prompt_encoder["default"].embedding.weight.grad.ne(0).all()


@pytest.mark.parametrize("name", GENERATING)
@pytest.mark.parametrize("network", CONFIGS_OF_TEXT)
def test_generates_what_the_forward_pass_says(name, network):
    method = method_of(name, {"rank": 8} if name == "lily" else {"tokens": 16} if name == "cpt" else {})
    place = cell(network, method)
    if place.conflict():
        return
    model = method.attach(bare(network), place)
    if method.calibrates:
        method.calibrate(model, batches(network, None), cell(network, method))
    model = train_steps(method, model, network, 3)
    inputs = {key: batch(network)[key] for key in ("input_ids", "attention_mask")}
    whole = network in SEQ2SEQ
    if not whole:  # a decoder's rows are padded on the left
        inputs = {key: tensor[:3] for key, tensor in inputs.items()}
    answer = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False, pad_token_id=0)
    by_hand = torch.full((len(answer), 1), 3) if whole else inputs["input_ids"]
    for _ in range(5):
        asked = {"decoder_input_ids": by_hand} if whole else {"input_ids": by_hand}
        if not whole:
            asked["attention_mask"] = torch.ones_like(by_hand)
        with torch.no_grad():
            scores = model(**inputs | asked).logits[:, -1]
        scores[:, 2] = -torch.inf  # min_new_tokens forbids the end
        by_hand = torch.cat([by_hand, scores.argmax(-1, keepdim=True)], dim=1)
    assert torch.equal(answer, by_hand)


@pytest.mark.parametrize("name", ["prompt_tuning", "prefix_tuning", "lily", "lora_ga", "adalora", "houlsby"])
def test_a_deep_copy_trains_its_own_parts(name):
    method, model = attach(name, "mbart", **({"rank": 8} if name in ("lily", "lora_ga") else {}))
    if method.calibrates:
        method.calibrate(model, batches("mbart", None), cell("mbart", method))
    twin, inputs = copy.deepcopy(model), batch("mbart", seed=1)
    before = model.eval()(**inputs).logits
    after = train_steps(method, twin, "mbart", 3)(**inputs).logits
    assert torch.equal(model(**inputs).logits, before)
    assert not torch.equal(after, before)


@pytest.mark.parametrize(("name", "strength"), [("lora", 12 / 4), ("rslora", 12 / 2)])
def test_an_update_counts_alpha_over_the_rank_or_its_root(name, strength):
    _, model = attach(name, "llama", rank=4, options={"lora_alpha": 12})
    layer, x = model.base_model.model.model.layers[0].mlp.up_proj, torch.randn(3, 32)
    a, b = layer.lora_A["default"].weight, nn.init.normal_(layer.lora_B["default"].weight)
    torch.testing.assert_close(layer(x), x @ layer.base_layer.weight.T + strength * (x @ a.T) @ b.T)


@pytest.mark.parametrize(
    ("network", "given", "down", "inside"),
    [  # what gives keys and values, the down-projection, and what gives what that reads, where a gate multiplies it
        ("llama", ("self_attn.k_proj", "self_attn.v_proj"), "mlp.down_proj", "mlp.up_proj"),
        ("mt5", ("Attention.k", "Attention.v"), "DenseReluDense.wo", "DenseReluDense.wi_1"),
        ("t5", ("Attention.k", "Attention.v"), "DenseReluDense.wo", None),
        ("mbart", ("attn.k_proj", "attn.v_proj"), ".fc2", None),
        ("esm", ("attention.self.key", "attention.self.value"), r"\.\d+.output.dense", None),
        ("gpt2", ("attn.c_attn",), "mlp.c_proj", None),
        ("vision_transformer", ("attn.qkv",), "mlp.fc2", None),
    ],
)
def test_ia3_scales_keys_values_and_the_inside_of_feed_forwards(network, given, down, inside):
    _, model = attach("ia3", network)
    plain, left = bare(network), {}
    for name, vector in model.named_parameters():
        if "ia3_l" in name:
            left[name.removeprefix("base_model.model.").removesuffix(".ia3_l.default")] = vector
            nn.init.uniform_(vector, 0.5, 2.0)
    for name in list(left):
        module, vector = plain.get_submodule(name), left[name].detach().flatten()
        if re.search(f"({'|'.join(given)})$", name):
            left.pop(name)
            module.register_forward_hook(lambda m, i, out, v=vector: out * v)
        elif re.search(f"{down}$", name) and inside:  # as in the authors' code
            left.pop(name)
            plain.get_submodule(name.replace(down, inside)).register_forward_hook(lambda m, i, out, v=vector: out * v)
        elif re.search(f"{down}$", name):
            left.pop(name)
            module.register_forward_pre_hook(lambda m, i, v=vector: (i[0] * v,))
    assert not left
    inputs = batch(network)
    torch.testing.assert_close(model.eval()(**inputs).logits, plain(**inputs).logits, rtol=1e-4, atol=1e-4)


def test_what_a_type_draws_by_a_seed_of_its_own_follows_the_cell():
    method = method_of("shira")
    masks = []
    for seed in (0, 1):
        model = method.attach(bare("llama"), replace(cell("llama", method), seed=seed))
        masks.append(model.base_model.model.model.layers[0].self_attn.q_proj.shira_indices["default"])
    assert not torch.equal(*masks)
