"""Calibrated choices are right; side networks give the backbone no gradient."""

import math
import re
from dataclasses import replace

import pytest
import timm
import torch
from networks import attach
from torch import nn
from transformers import WavLMConfig, WavLMModel

from benchmark.backbones.hearing import Hearing
from benchmark.backbones.vision import VisionNetwork
from benchmark.capabilities.networks import bare, batch, cell
from benchmark.capabilities.probe import method_of
from benchmark.errors import InputError
from benchmark.methods.sparse import matrix_of, sparse
from benchmark.types import Head, Kind

HEAD = Head(Kind.CLASSIFY, labels=("a", "b"))


def attached(name, network, **changes):
    method, model = attach(name, network, **changes)
    return model, method


def stream(network):
    return (batch(network, seed=seed) for seed in range(10**6))


def count(model):
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "new_head" not in name)


def test_sct_has_the_published_size_on_a_vit():
    with torch.device("meta"):
        model = VisionNetwork(timm.create_model("vit_base_patch16_224", num_classes=0), HEAD)
    place = cell("vision_transformer", method_of("sct"))
    assert count(place.method.attach(model, place)) == 12 * (96**2 + 96) == 111_744


@pytest.mark.parametrize(
    ("name", "changes", "published"),
    [("e_adapter", {"e_bottleneck": 256}, 4.79e6), ("le_adapter", {"e_bottleneck": 256, "l_bottleneck": 512}, 9.13e6)],
)
def test_speech_adapters_have_the_published_size_on_wavlm_base(name, changes, published):
    with torch.device("meta"):
        model = Hearing(WavLMModel(WavLMConfig()), HEAD)
    place = cell("wavlm", method_of(name, changes))
    counted = count(place.method.attach(model, place))
    ours = 512 * 768 if "l_bottleneck" in changes else 0  # back to the width of the one head
    assert counted - ours == pytest.approx(published, abs=5e3)


def test_sct_takes_the_channels_that_are_large_on_the_data():
    model, method = attached("sct", "vision_transformer")
    block = model.encoder.blocks[0]
    with torch.no_grad():
        block.attn.proj.bias[[3, 11, 19, 30]] += 50.0
    method.calibrate(model, stream("vision_transformer"), cell("vision_transformer", method))
    assert block.salient.index.tolist() == [3, 11, 19, 30]


def test_sct_changes_the_residual_state_as_if_it_were_written_there():
    model, _ = attached("sct", "vision_transformer")
    block, x = model.encoder.blocks[0].eval(), torch.randn(2, 17, 32)
    nn.init.normal_(block.salient.map.weight)
    nn.init.normal_(block.salient.map.bias)
    plain = bare("vision_transformer").encoder.blocks[0]
    state = x + plain.attn(plain.norm1(x))
    part = block.salient
    state[..., part.index] += state[..., part.index] @ part.map.weight.T + part.map.bias
    torch.testing.assert_close(block(x), state + plain.mlp(plain.norm2(state)))


def test_sct_refuses_a_network_that_norms_last():
    with torch.device("meta"):
        model = Hearing(WavLMModel(WavLMConfig()), HEAD)
    place = cell("wavlm", method_of("sct"))
    with pytest.raises(InputError, match="has its norms after the branches"):
        place.method.attach(model, place)


def fitted_by_hand(plain, batches, lr, steps):
    """Train the head alone, the slow way: all gradients, one part of them used."""
    optimizer = torch.optim.AdamW(plain.new_head.parameters(), lr=lr, weight_decay=0.0)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        plain.zero_grad()
        plain(**next(batches)).loss.backward()
        optimizer.step()


@pytest.mark.parametrize("network", ["gpt2", "esm"])
def test_fishmask_takes_the_largest_squared_gradients_of_all_weights_together(network):
    model, method = attached("fishmask", network, batches=2)
    number, place = count(model), cell(network, method)
    place = replace(place, backbone=replace(place.backbone, head_lr={Kind.CLASSIFY: 0.03}))
    method.calibrate(model, stream(network), place)
    plain, batches_ = bare(network), stream(network)
    if network == "esm":
        for name, p in plain.new_head.named_parameters():  # all methods begin with the same head
            assert torch.equal(p, model.new_head.get_parameter(name))
        fitted_by_hand(plain, batches_, 0.03, place.budget.steps)
    wanted = re.compile(r"(c_attn|c_proj|c_fc|query|key|value|dense)\.weight")
    squares = {}
    for _ in range(2):
        plain.zero_grad()
        plain(**next(batches_)).loss.backward()
        for name, p in plain.named_parameters():
            if wanted.search(name):
                squares[name] = squares.get(name, 0) + p.grad.square()
    least = torch.cat([s.flatten() for s in squares.values()]).topk(number).values[-1]
    assert count(model) == number
    for name, weight in sparse(model).items():
        found = matrix_of(weight, squares[f"{name}.weight"]).flatten() >= least
        assert torch.equal(found.nonzero().flatten(), weight[0].change.index)


def test_diff_pruning_forgets_all_but_the_entries():
    model, method = attached("diff_pruning", "llama", batches=3)
    number = count(model)
    method.calibrate(model, stream("llama"), cell("llama", method))
    assert count(model) == number
    assert all((weight[0].change.values == 0).all() for weight in sparse(model).values())
    assert all(p.grad is None for p in model.parameters())


def test_diff_pruning_rates_masked_values_that_moved_at_the_backbone_s_rate():
    method = method_of("diff_pruning", {"batches": 3, "lr": 0.2, "mask_lr": 0.3, "penalty": 5.0})
    place = cell("llama", method)
    place = replace(place, backbone=replace(place.backbone, lr_scale=0.5))
    model = method.attach(bare("llama"), place)
    number = count(model)
    torch.manual_seed(1)
    method.calibrate(model, stream("llama"), place)
    plain = bare("llama")
    weights = {name: p.detach() for name, p in plain.named_parameters() if name.endswith("_proj.weight")}
    vectors, logits = ({name: torch.zeros_like(w).requires_grad_() for name, w in weights.items()} for _ in range(2))
    optimizer = torch.optim.Adam(
        [{"params": list(vectors.values()), "lr": 0.2 * 0.5}, {"params": list(logits.values()), "lr": 0.3}]
    )

    def masks(drawn):
        return {name: (1.2 * logit.sigmoid() - 0.1).clamp(0, 1) for name, logit in drawn.items()}

    torch.manual_seed(1)
    for inputs, _ in zip(stream("llama"), range(3), strict=False):
        optimizer.zero_grad()
        noise = {name: torch.rand_like(w).clamp(1e-6, 1 - 1e-6).logit() for name, w in weights.items()}
        mask = masks({name: (noise[name] + logits[name]) * 1.5 for name in weights})
        changed = {name: w + mask[name] * vectors[name] for name, w in weights.items()}
        open_ = torch.cat([(x - 2 / 3 * math.log(0.1 / 1.1)).sigmoid().flatten() for x in logits.values()]).mean()
        (torch.func.functional_call(plain, changed, kwargs=inputs).loss + 5.0 * open_).backward()
        optimizer.step()
    mask = masks(logits)
    scores = torch.cat([(mask[name] * vectors[name]).abs().flatten() for name in weights])
    found, start = [], 0
    for name, w in weights.items():
        weight = sparse(model).get(name.removesuffix(".weight"))
        found += [] if weight is None else (weight[0].change.index + start).tolist()
        start += w.numel()
    assert found == scores.topk(number).indices.sort().values.tolist()


def climbed(ladder, states, memory=None, mask=None):
    """Compute a ladder's state from those of the blocks, by the formulas."""
    s = None
    for i, (rung, h) in enumerate(zip(ladder.rungs, states, strict=True)):
        read = h @ rung.project.weight.T + rung.project.bias
        share = None if i == 0 else 1 / (1 + torch.exp(-ladder.gates[i - 1]))
        s = read if i == 0 else share * read + (1 - share) * s
        if memory is not None:
            query, key, value = rung.attention.in_proj_weight.chunk(3)
            scores = (rung.asks(s) @ query.T) @ (memory @ key.T).mT / len(query) ** 0.5
            read = scores.masked_fill(mask[:, None] == 0, -torch.inf).softmax(-1) @ (memory @ value.T)
            s = s + read @ rung.attention.out_proj.weight.T
        s = s + rung.down(nn.functional.gelu(rung.up(rung.norm(s))))
    return ladder.norm(s)


def random_ladder(network):
    model, _ = attached("lst", network)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.requires_grad:
                p.fill_(1.2) if name.endswith("gates") else p.add_(torch.randn_like(p), alpha=0.2)
    return model.eval()


def last(output):
    return output if isinstance(output, torch.Tensor) else output[0]


@pytest.mark.parametrize(
    ("network", "encoder", "end", "blocks"),
    [
        ("vision_transformer", None, "encoder.norm", r"encoder\.blocks\.\d"),
        ("esm", None, "encoder", r"encoder\.encoder\.layer\.\d"),
        ("llama", None, "model", r"model\.layers\.\d"),
        ("mbart", "model.encoder", "model.decoder", r"model\.(en|de)coder\.layers\.\d"),
        ("t5", "encoder", "decoder", r"(en|de)coder\.block\.\d"),
    ],
)
def test_a_ladder_reads_every_block_and_that_of_a_decoder_the_encoder_s(network, encoder, end, blocks):
    model, plain, states, inputs = random_ladder(network), bare(network), {}, batch(network)
    for name, module in plain.named_modules():
        if re.fullmatch(blocks, name) or name == end:
            module.register_forward_hook(lambda m, i, out, name=name: states.update({name: last(out)}))
    found = []
    model.get_submodule(end).register_forward_hook(lambda m, i, out: found.append(last(out)))
    with torch.no_grad():
        model(**inputs), plain(**inputs)
        bare_end, top, memory = states.pop(end), model.get_submodule(end).top, {}
        if encoder:
            under = [states.pop(name) for name in list(states) if name.startswith(f"{encoder}.")]
            lower = climbed(model.get_submodule(encoder).ladder, under)
            memory = {"memory": lower, "mask": inputs["attention_mask"]}
        expected = bare_end + top.back(climbed(top.ladder, list(states.values()), **memory))
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["vision_transformer", "mbart"])
def test_no_gradient_goes_from_a_ladder_into_the_network(network):
    model = random_ladder(network)
    start = model.model.encoder if network == "mbart" else model.encoder
    asked, added = [], []
    first = start.layers[0] if network == "mbart" else start.blocks[0]
    first.register_forward_pre_hook(lambda m, i: asked.append(i[0].requires_grad_()))
    top = next(module for module in model.modules() if hasattr(module, "back"))
    top.register_forward_hook(lambda m, i, out: added.append(out))
    model(**batch(network))
    grads = torch.autograd.grad(added[0].sum(), [asked[0], top.back.weight], allow_unused=True)
    assert grads[0] is None
    assert grads[1].abs().sum() > 0


@pytest.mark.parametrize("beams", [1, 3])
def test_ladders_of_an_encoder_decoder_go_along_with_rows_and_beams(beams):
    model = random_ladder("mbart")
    inputs = {name: batch("mbart")[name] for name in ("input_ids", "attention_mask")}
    how = {"max_new_tokens": 6, "do_sample": False, "num_beams": beams, "eos_token_id": None}
    together = model.generate(**inputs, **how)
    for row, (ids, mask) in enumerate(zip(*inputs.values(), strict=True)):
        long = int(mask.sum())
        alone = model.generate(input_ids=ids[None, :long], attention_mask=mask[None, :long], **how)
        assert torch.equal(alone[0], together[row])
    if beams == 1:
        with torch.no_grad():  # one pass over the whole answer chooses the same words
            logits = model(**inputs, decoder_input_ids=together[:, :-1]).logits
        assert torch.equal(logits.argmax(-1), together[:, 1:])


def test_side_tuning_mixes_by_a_sigmoid():
    model, _ = attached("side_tuning", "vision_transformer")
    plain, read, inputs = bare("vision_transformer"), [], batch("vision_transformer")
    side = model.encoder.norm.side
    with torch.no_grad():
        side.share.fill_(-1.5)
        plain.encoder.blocks[0].register_forward_pre_hook(lambda m, i: read.append(i[0]))
        ends = []
        for network in (plain, model.eval()):
            network.encoder.norm.register_forward_hook(lambda m, i, out: ends.append(out))
            network(**inputs)
        share = 1 / (1 + math.exp(1.5))
        expected = (1 - share) * ends[0] + share * side.norm(side.block(read[0]))
    torch.testing.assert_close(ends[1], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["lst", "side_tuning"])
@pytest.mark.parametrize("network", ["vision_transformer", "esm", "wav2vec2"])
def test_nothing_before_the_end_asks_for_a_gradient(name, network):
    model, _ = attached(name, network)
    asked = {}
    for place, module in model.encoder.named_modules():
        if place.count(".") and not any(word in place for word in ("ladder", "rung", "side", "top")):
            module.register_forward_hook(lambda m, _, out, place=place: asked.update({place: out}))
    model.train()(**batch(network)).loss.backward()
    outputs = [out[0] if isinstance(out, tuple) else out for out in asked.values()]
    assert outputs
    assert not any(out.requires_grad for out in outputs if isinstance(out, torch.Tensor))


def test_a_prompted_clip_is_heard_the_same_alone_and_padded():
    model, _ = attached("embedding_prompt", "wav2vec2")
    inputs = batch("wav2vec2")
    inputs.pop("labels")
    alone = {name: tensor[-1:, :200] for name, tensor in inputs.items()}
    with torch.no_grad():
        torch.testing.assert_close(model(**alone).logits, model(**inputs).logits[-1:], rtol=0, atol=1e-4)


def test_bitfit_leaves_the_keys_that_the_softmax_makes_idle():
    model, _ = attached("bitfit", "wav2vec2")
    left = [name for name, p in model.named_parameters() if name.endswith("bias") and not p.requires_grad]
    assert left == [f"encoder.encoder.layers.{i}.attention.k_proj.bias" for i in (0, 1)]
