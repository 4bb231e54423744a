"""Types of PEFT one by one, against their papers."""

import itertools
from dataclasses import replace

import pytest
import torch
from fitting import train_steps
from networks import attach
from peft.tuners.lora import LoraLayer

from benchmark.capabilities.networks import HEAD_LR, bare, batch, cell
from benchmark.capabilities.probe import batches, method_of
from benchmark.methods.peft_boft import Diagonal
from benchmark.types import IGNORED, Kind


def test_adalora_prunes_to_its_target_and_comes_back_whole(tmp_path):
    method, model = attach("adalora", "llama", options={"target_r": 2})
    place = cell("llama", method)
    train_steps(method, model, "llama", place.budget.steps)
    entries = torch.cat([p.flatten() for name, p in model.named_parameters() if "lora_E" in name])
    assert len(entries) == 14 * 12
    assert entries.count_nonzero() <= 14 * 2
    method.save(model, tmp_path)
    restored = method.restore(bare("llama"), tmp_path, place).eval()
    found, expected = (network(**batch("llama")) for network in (restored, model))
    torch.testing.assert_close(found.logits, expected.logits)
    assert found.loss.item() == pytest.approx(expected.loss.item())


def test_the_penalty_of_adalora_is_in_no_look_at_valid():
    _, model = attach("adalora", "llama")
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
        train_steps(place.method, place.method.attach(bare("llama"), place), "llama", steps)


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
        train_steps(place.method, place.method.attach(bare("llama"), place), "llama", steps)


def test_eva_begins_along_the_principal_directions_of_the_inputs():
    method, model = attach("eva", "llama", batches=2)
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
    method, model = attach("lora_ga", "llama", rank=4, batches=1)
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
    method, model = attach("lora_ga", "esm", rank=4, batches=1)
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
    method, model = attach("lora_plus", "llama")
    slow, fast = method.groups(model, 0.16)
    assert (slow["lr"], fast["lr"]) == (pytest.approx(0.01), 0.16)
    assert {p.shape[0] for p in slow["params"]} == {16}
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(p.numel() for group in (slow, fast) for p in group["params"]) == trained


def test_blocks_lie_along_the_diagonals():
    blocks = torch.randn(2, 3, 4, 4)
    expected = torch.stack([torch.block_diag(*factor) for factor in blocks])
    assert torch.equal(Diagonal.apply(blocks), expected)


def test_boft_multiplies_as_many_butterflies_as_it_is_told():
    _, model = attach("boft", "llama", options={"boft_block_size": 4, "boft_n_butterfly_factor": 3})
    rotations = model.base_model.model.model.layers[0].self_attn.q_proj.boft_R["default"]
    assert rotations.shape == (3, 32 // 4, 4, 4)


def test_an_answer_of_lily_does_not_depend_on_the_rest_of_its_batch():
    method, model = attach("lily", "llama", rank=8)
    train_steps(method, model, "llama", 3)
    inputs = batch("llama")
    with torch.no_grad():
        whole = model(**inputs).logits[:1]
        alone = model(**{key: tensor[:1] for key, tensor in inputs.items()}).logits
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-5)


def test_layers_of_lily_share_what_the_paper_shares():
    _, model = attach("lily", "mbart", rank=8, options={"stride_A": 2})
    encoder, decoder = (
        side.layers for side in (model.base_model.model.model.encoder, model.base_model.model.model.decoder)
    )
    first, second = (layer.self_attn.q_proj for layer in encoder)
    assert first.lily_A["default"] is second.lily_A["default"]
    assert first.lily_B["default"] is second.lily_B["default"]
    assert first.lily_B["default"] is not encoder[0].self_attn.k_proj.lily_B["default"]
    assert first.lily_B["default"] is not decoder[0].self_attn.q_proj.lily_B["default"]


def test_trainable_tokens_are_the_commonest():
    method, model = attach("trainable_tokens", "llama", tokens=3, batches=1)
    fixed = {
        "input_ids": torch.tensor([[5, 7, 7, 9], [5, 5, 9, 9]]),
        "attention_mask": torch.tensor([[1] * 4, [1] * 4]),
    }
    fixed["attention_mask"][1, 3] = 0
    method.calibrate(model, itertools.repeat(fixed), cell("llama", method))
    assert sorted(model.peft_config["default"].token_indices) == [5, 7, 9]


def test_the_context_of_cpt_is_made_of_training_examples_whose_answers_stay():
    method, model = attach("cpt", "llama", tokens=6, options={"opt_projection_epsilon": 10.0})
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


def test_shadow_trains_nothing_that_nobody_reads():
    for network in ("llama", "gpt2"):
        _, model = attach("shadow", network)
        model(**batch(network, Kind.CAUSAL_LM)).loss.backward()
        trained = [name for name, p in model.named_parameters() if p.requires_grad]
        assert not [name for name in trained if "wte" in name or ".1.shadow_update" in name]
