"""Every type of Hugging Face PEFT has a method, or a reason against one."""

import copy
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from peft.tuners.lora import LoraLayer
from torch import nn

from benchmark.capabilities.networks import HEAD_LR, bare, batch, cell
from benchmark.capabilities.page import LEFT_OUT
from benchmark.capabilities.probe import batches, method_of
from benchmark.errors import InputError
from benchmark.methods import hf_peft, peft_options, peft_tokens
from benchmark.methods.hf_peft import Peft
from benchmark.methods.peft_boft import Diagonal
from benchmark.methods.peft_options import CONFIGS
from benchmark.types import IGNORED, Kind

FOLDER = Path(__file__).parents[1] / "configs" / "method"
FILES = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(FOLDER.glob("*.yaml"))}
OF_PEFT = {name: node for name, node in FILES.items() if issubclass(get_class(node["_target_"]), Peft)}
SEQ2SEQ = ("mbart", "m2m_100", "t5", "mt5")


def attached(name, network, **changes):
    method = method_of(name, changes)
    place = cell(network, method)
    assert place.conflict() is None
    torch.manual_seed(0)
    return method, method.attach(bare(network), place)


def refused(name, network, **changes):
    return cell(network, method_of(name, changes)).conflict()


def train(method, model, network, steps, lr=0.05):
    optimizer = torch.optim.AdamW(method.groups(model, lr), lr=lr)
    for number, inputs in zip(range(1, steps + 1), batches(network, None), strict=False):
        model.train()(**inputs).loss.backward()
        optimizer.step()
        method.after_step(model, number)
        optimizer.zero_grad()
    return model.eval()


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
        (
            "shira",
            "llama",
            {"rank": 11},
            "method.rank=11 asks SHIRA for more entries than the matrix has: model",
        ),
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


@pytest.mark.parametrize("network", SEQ2SEQ)
def test_every_number_of_a_seq2seq_prefix_is_read(network):
    _, model = attached("prefix_tuning", network)
    model(**batch(network)).loss.backward()
    assert model.prompt_encoder["default"].embedding.weight.grad.ne(0).all()


@pytest.mark.parametrize("name", ["prefix_tuning", "p_tuning", "cpt", "adaption_prompt", "shadow", "lily"])
@pytest.mark.parametrize("network", ["llama", "gpt2", "mbart", "t5"])
def test_generates_what_the_forward_pass_says(name, network):
    method = method_of(name, {"rank": 8} if name == "lily" else {"tokens": 16} if name == "cpt" else {})
    place = cell(network, method)
    if place.conflict():
        return
    model = method.attach(bare(network), place)
    if method.calibrates:
        method.calibrate(model, batches(network, None), cell(network, method))
    model = train(method, model, network, 3)
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


@pytest.mark.parametrize("name", ["prompt_tuning", "prefix_tuning", "lily", "lora_ga", "adalora"])
def test_a_deep_copy_trains_its_own_parts(name):
    method, model = attached(name, "mbart", **({"rank": 8} if name in ("lily", "lora_ga") else {}))
    if method.calibrates:
        method.calibrate(model, batches("mbart", None), cell("mbart", method))
    twin, inputs = copy.deepcopy(model), batch("mbart", seed=1)
    before = model.eval()(**inputs).logits
    after = train(method, twin, "mbart", 3)(**inputs).logits
    assert torch.equal(model(**inputs).logits, before)
    assert not torch.equal(after, before)


def test_adalora_prunes_to_its_target_and_comes_back_whole(tmp_path):
    method, model = attached("adalora", "llama", options={"target_r": 2})
    place = cell("llama", method)
    train(method, model, "llama", place.budget.steps)
    entries = torch.cat([p.flatten() for name, p in model.named_parameters() if "lora_E" in name])
    assert len(entries) == 14 * 12
    assert entries.count_nonzero() <= 14 * 2
    method.save(model, tmp_path)
    restored = method.restore(bare("llama"), tmp_path, place).eval()
    found, expected = (network(**batch("llama")) for network in (restored, model))
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.loss.item() == pytest.approx(expected.loss.item())


def test_the_penalty_of_adalora_is_in_no_look_at_valid():
    _, model = attached("adalora", "llama")
    plain = bare("llama")(**batch("llama")).loss.item()
    assert model.eval()(**batch("llama")).loss.item() == pytest.approx(plain)
    assert model.train()(**batch("llama")).loss.item() > plain + 0.1


def scheduled(steps, **changes):
    place = cell("llama", method_of("adalora", changes))
    return replace(place, budget=replace(place.budget, steps=steps))


@pytest.mark.parametrize("steps", [2, 3, 10, 60, 300])
def test_the_schedule_of_adalora_fits_any_budget_of_two_steps_or_more(steps):
    place = scheduled(steps)
    assert place.conflict() is None
    if steps <= 10:
        train(place.method, place.method.attach(bare("llama"), place), "llama", steps)


@pytest.mark.parametrize(
    ("steps", "changes", "reason"),
    [
        (1, {}, "budget.steps=1: the last pruning is at step 1, it must be at step 2 or later"),
        (10, {"warmup": 0.0, "settled": 0.9}, "budget.steps=10: the last pruning is at step 1, it must be at step 2"),
        (10, {"rank": 8}, "method.rank=8: must be more than method.options.target_r=8"),
    ],
)
def test_adalora_is_refused_where_the_library_would_fail_in_training(steps, changes, reason):
    place = scheduled(steps, **changes)
    assert place.conflict().startswith(reason)
    with pytest.raises((KeyError, RuntimeError)):
        train(place.method, place.method.attach(bare("llama"), place), "llama", steps)


def test_eva_begins_along_the_principal_directions_of_the_inputs():
    method, model = attached("eva", "llama", batches=2)
    seen = []
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().flatten(0, 1)))
    with torch.no_grad():
        for inputs in itertools.islice(batches("llama", None), 2):
            model.eval()(**inputs)
    handle.remove()
    method.calibrate(model, batches("llama", None), cell("llama", method))
    directions = torch.linalg.svd(torch.cat(seen))[2][:4]
    overlaps = (layer.lora_A["default"].weight[:4] @ directions.T).abs()
    torch.testing.assert_close(overlaps, torch.eye(4), atol=1e-3, rtol=0)


def test_lora_ga_begins_along_the_gradient_and_takes_its_start_off_the_weight():
    method, model = attached("lora_ga", "llama", rank=4, batches=1)
    plain = bare("llama")
    plain(**next(batches("llama", None))).loss.backward()
    method.calibrate(model, batches("llama", None), cell("llama", method))
    gradient = plain.model.layers[0].mlp.up_proj.weight.grad
    left, _, right = torch.linalg.svd(gradient)
    layer = model.base_model.model.model.layers[0].mlp.up_proj
    assert isinstance(layer, LoraLayer)
    a, b, scale = layer.lora_A["default"].weight, layer.lora_B["default"].weight, 48**0.25 / 16**0.5
    torch.testing.assert_close((a @ right[:4].T).abs(), scale * torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close((b.T @ left[:, 4:8]).abs(), scale * torch.eye(4), atol=1e-3, rtol=0)
    whole = layer.base_layer.weight + layer.scaling["default"] * b @ a
    torch.testing.assert_close(whole, plain.model.layers[0].mlp.up_proj.weight)


def test_lora_ga_looks_through_a_fitted_head_and_leaves_it_as_it_was():
    method, model = attached("lora_ga", "esm", rank=4, batches=1)
    plain, data = bare("esm"), batches("esm", None)
    method.calibrate(model, batches("esm", None), cell("esm", method))
    head = model.base_model.model.new_head.modules_to_save["default"]
    assert torch.equal(head.project.weight, plain.new_head.project.weight)
    optimizer = torch.optim.AdamW(plain.new_head.parameters(), lr=HEAD_LR[Kind.CLASSIFY], weight_decay=0.0)
    for step, inputs in enumerate(itertools.islice(data, 20)):
        optimizer.param_groups[0]["lr"] = HEAD_LR[Kind.CLASSIFY] * (1 - step / 20)
        optimizer.zero_grad()
        plain(**inputs).loss.backward()
        optimizer.step()
    plain.zero_grad()
    plain(**next(data)).loss.backward()
    gradient = plain.encoder.encoder.layer[0].intermediate.dense.weight.grad
    directions = torch.linalg.svd(gradient)[2][:4]
    a = model.base_model.model.encoder.encoder.layer[0].intermediate.dense.lora_A["default"].weight
    torch.testing.assert_close((a @ directions.T).abs(), 48**0.25 / 16**0.5 * torch.eye(4), atol=1e-2, rtol=0)


def test_lora_plus_divides_the_rate_of_a():
    method, model = attached("lora_plus", "llama")
    slow, fast = method.groups(model, 0.16)
    assert (slow["lr"], fast["lr"]) == (pytest.approx(0.01), 0.16)
    assert {p.shape[0] for p in slow["params"]} == {16}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(p.numel() for group in (slow, fast) for p in group["params"]) == trained


@pytest.mark.parametrize(("name", "strength"), [("lora", 12 / 4), ("rslora", 12 / 2)])
def test_an_update_counts_alpha_over_the_rank_or_its_root(name, strength):
    _, model = attached(name, "llama", rank=4, options={"lora_alpha": 12})
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
    _, model = attached("ia3", network)
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


def test_blocks_lie_along_the_diagonals():
    blocks = torch.randn(2, 3, 4, 4)
    expected = torch.stack([torch.block_diag(*factor) for factor in blocks])
    assert torch.equal(Diagonal.apply(blocks), expected)


def test_boft_multiplies_as_many_butterflies_as_it_is_told():
    _, model = attached("boft", "llama", options={"boft_block_size": 4, "boft_n_butterfly_factor": 3})
    rotations = model.base_model.model.model.layers[0].self_attn.q_proj.boft_R["default"]
    assert rotations.shape == (3, 32 // 4, 4, 4)


def test_an_answer_of_lily_does_not_depend_on_the_rest_of_its_batch():
    method, model = attached("lily", "llama", rank=8)
    train(method, model, "llama", 3)
    inputs = batch("llama")
    with torch.no_grad():
        whole = model(**inputs).logits[:1]
        alone = model(**{key: tensor[:1] for key, tensor in inputs.items()}).logits
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)


def test_layers_of_lily_share_what_the_paper_shares():
    _, model = attached("lily", "mbart", rank=8, options={"stride_A": 2})
    encoder, decoder = (
        side.layers for side in (model.base_model.model.model.encoder, model.base_model.model.model.decoder)
    )
    first, second = (layer.self_attn.q_proj for layer in encoder)
    assert first.lily_A["default"] is second.lily_A["default"]
    assert first.lily_B["default"] is second.lily_B["default"]
    assert first.lily_B["default"] is not encoder[0].self_attn.k_proj.lily_B["default"]
    assert first.lily_B["default"] is not decoder[0].self_attn.q_proj.lily_B["default"]


def test_trainable_tokens_are_the_commonest():
    method, model = attached("trainable_tokens", "llama", tokens=3, batches=1)
    fixed = {
        "input_ids": torch.tensor([[5, 7, 7, 9], [5, 5, 9, 9]]),
        "attention_mask": torch.tensor([[1] * 4, [1] * 4]),
    }
    fixed["attention_mask"][1, 3] = 0
    method.calibrate(model, itertools.repeat(fixed), cell("llama", method))
    assert sorted(model.peft_config["default"].token_indices) == [5, 7, 9]


def test_the_context_of_cpt_is_made_of_training_examples_whose_answers_stay():
    method, model = attached("cpt", "llama", tokens=6, options={"opt_projection_epsilon": 10.0})
    examples = {
        "input_ids": torch.tensor([[4, 5, 6, 7], [8, 9, 10, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "labels": torch.tensor([[IGNORED, IGNORED, 6, 7], [IGNORED, 9, 10, IGNORED]]),
    }
    method.calibrate(model, itertools.repeat(examples), cell("llama", method))
    assert model.peft_config["default"].cpt_token_ids == [4, 5, 6, 7, 8, 9]
    loss = model(**examples).loss
    loss.backward()
    moved = model.prompt_encoder["default"].delta_embedding.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, True, False, False, True, False]  # the first one stands for the library's label
    logits = model(**examples).logits[:, 6:]
    expected = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), examples["labels"][:, 1:].flatten(), ignore_index=IGNORED
    )
    torch.testing.assert_close(loss, expected)


def test_what_a_type_draws_by_a_seed_of_its_own_follows_the_cell():
    method = method_of("shira")
    masks = []
    for seed in (0, 1):
        model = method.attach(bare("llama"), replace(cell("llama", method), seed=seed))
        masks.append(model.base_model.model.model.layers[0].self_attn.q_proj.shira_indices["default"])
    assert not torch.equal(*masks)


def test_shadow_trains_nothing_that_nobody_reads():
    for network in ("llama", "gpt2"):
        _, model = attached("shadow", network)
        model(**batch(network, Kind.CAUSAL_LM)).loss.backward()
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert not [name for name in trained if "wte" in name or ".1.shadow_update" in name]
