"""Methods that look at data choose what they should, and side networks leave the backbone without a gradient."""

import pytest
import timm
import torch
from torch import nn
from transformers import WavLMConfig, WavLMModel

from benchmark.backbones.hearing import Hearing
from benchmark.backbones.vision import VisionNetwork
from benchmark.capabilities.networks import bare, batch, cell
from benchmark.capabilities.probe import method_of
from benchmark.methods.sparse import matrix_of, sparse
from benchmark.types import Head, Kind, Unusable

HEAD = Head(Kind.CLASSIFY, labels=("a", "b"))


def attached(name, network, **changes):
    torch.manual_seed(0)
    place = cell(network, method_of(name, changes))
    return place.method.attach(bare(network), place), place.method


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
    method.calibrate(model, stream("vision_transformer"))
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
    with pytest.raises(Unusable, match="norms after its branches"):
        place.method.attach(model, place)


def test_fishmask_takes_the_largest_squared_gradients_of_all_weights_together():
    model, method = attached("fishmask", "gpt2", batches=2)
    number = count(model)
    method.calibrate(model, stream("gpt2"))
    plain = bare("gpt2")
    squares = {}
    for inputs, _ in zip(stream("gpt2"), range(2), strict=False):
        plain.zero_grad()
        plain(**inputs).loss.backward()
        for name, p in plain.named_parameters():
            if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                squares[name] = squares.get(name, 0) + p.grad.square()
    least = torch.cat([s.flatten() for s in squares.values()]).topk(number).values[-1]
    assert count(model) == number
    for name, weight in sparse(model).items():
        found = matrix_of(weight, squares[f"{name}.weight"]).flatten() >= least
        assert torch.equal(found.nonzero().flatten(), weight[0].change.index)


def test_diff_pruning_forgets_all_but_the_entries():
    model, method = attached("diff_pruning", "llama", batches=3)
    number = count(model)
    method.calibrate(model, stream("llama"))
    assert count(model) == number
    assert all((weight[0].change.values == 0).all() for weight in sparse(model).values())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", ["lst", "side_tuning"])
@pytest.mark.parametrize("network", ["vision_transformer", "esm", "wav2vec2"])
def test_nothing_before_the_end_asks_for_a_gradient(name, network):
    model, _ = attached(name, network)
    asked = {}
    for place, module in model.encoder.named_modules():
        if place.count(".") and not any(word in place for word in ("ladder", "rung", "side")):
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
