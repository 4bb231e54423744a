"""ReFT's positions, and the medical methods against their papers' formulas."""

import pytest
import timm
import torch
from networks import attach
from torch.nn import functional as F
from transformers import EsmConfig, EsmModel, LlamaConfig, LlamaForCausalLM

from benchmark.backbones.vision import VisionNetwork
from benchmark.capabilities.networks import bare, batch, cell
from benchmark.capabilities.probe import method_of
from benchmark.methods.reft import Intervention
from benchmark.types import IGNORED, Head, Kind

SOURCE, MASK = torch.arange(4, 9)[None], torch.ones(1, 5, dtype=torch.long)


def attached(name, network, changes=None, noise=0.3):
    return attach(name, network, noise, **(changes or {}))


def trainable(model):
    return sum(p.numel() for name, p in model.named_parameters() if p.requires_grad and "new_head" not in name)


def test_loreft_on_llama_7b_trains_the_published_number_of_parameters():
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    method = method_of("loreft")
    with torch.device("meta"):
        model = method.attach(LlamaForCausalLM(config), cell("llama", method))
    assert trainable(model) == 2_097_408


def test_ssf_on_vit_b_trains_two_numbers_per_channel():
    method = method_of("ssf")
    with torch.device("meta"):
        encoder = timm.create_model("vit_base_patch16_224", num_classes=0)
        model = method.attach(
            VisionNetwork(encoder, Head(Kind.CLASSIFY, ("a", "b"))), cell("vision_transformer", method)
        )
    assert trainable(model) == 2 * (768 + 12 * (2304 + 768 + 3072 + 768 + 2 * 768) + 768)


def test_positions_are_counted_without_padding():
    part = Intervention(8, method_of("loreft", {"first": 1, "last": 2}))
    part.real = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0, 0]])
    wanted = [[0, 0, 1, 0, 0, 1, 1], [1, 1, 0, 0, 0, 0, 0], [1, 0, 0, 1, 1, 0, 0]]
    assert part.chosen(torch.randn(3, 7, 8)).tolist() == wanted


@pytest.mark.parametrize("network", ["llama", "gpt2", "mbart", "t5"])
def test_a_word_is_as_likely_while_writing_as_while_learning(network):
    model = attached("loreft", network, {"first": 1, "last": 2})[1]
    seq2seq = network in ("mbart", "t5")
    written = model.generate(
        input_ids=SOURCE, attention_mask=MASK, max_new_tokens=6, min_new_tokens=6, do_sample=False, num_beams=1,
        output_logits=True, return_dict_in_generate=True,
    )  # fmt: skip
    scores, answer = torch.cat(written.logits), written.sequences[:, 5:]
    with torch.no_grad():
        if seq2seq:
            learnt = model(input_ids=SOURCE, attention_mask=MASK, decoder_input_ids=written.sequences[:, :-1]).logits[0]
        else:
            ids, labels = torch.cat([SOURCE, answer], 1), torch.cat([torch.full_like(SOURCE, IGNORED), answer], 1)
            learnt = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).logits[0, 4:-1]
    torch.testing.assert_close(scores, learnt, rtol=0, atol=1e-5)


def test_padding_on_the_left_does_not_move_the_positions():
    model = attached("loreft", "llama", {"first": 1, "last": 2})[1]
    padded = {"input_ids": F.pad(SOURCE, (3, 0)), "attention_mask": F.pad(MASK, (3, 0))}
    with torch.no_grad():
        alone = model(input_ids=SOURCE, attention_mask=MASK).logits
        beside = model(**padded, position_ids=torch.arange(-3, 5).clamp(min=0)[None]).logits[:, 3:]
    torch.testing.assert_close(beside, alone, rtol=0, atol=1e-5)


def test_the_positions_of_speech_are_the_frames_that_are_no_padding():
    model = attached("loreft", "wav2vec2")[1]
    inputs = batch("wav2vec2")
    model(**inputs)
    part = next(m for m in model.modules() if isinstance(m, Intervention))
    wanted = model.frames(inputs["attention_mask"], 12)
    assert torch.equal(part.real, wanted)
    assert wanted[-1].sum() < wanted[0].sum() == 12


def test_rows_stay_orthonormal_under_weight_decay():
    method, model = attached("loreft", "llama")
    optimizer = torch.optim.AdamW(method.groups(model, 0.05), lr=0.05, weight_decay=0.1)
    for _ in range(5):
        model(**batch("llama")).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for part in (m for m in model.modules() if isinstance(m, Intervention)):
        rows = part.base.weight
        torch.testing.assert_close(rows @ rows.T, torch.eye(8), rtol=0, atol=1e-5)


def test_tsa_is_a_convolution_beside_a_convolution():
    model = attached("tsa", "resnet")[1]
    conv = model.encoder.layer2[0].conv2
    change, kernel = conv.parametrizations.weight[0], conv.parametrizations.weight.original
    x = torch.randn(2, 16, 8, 8)
    assert conv.stride == (2, 2)
    expected = F.conv2d(x, kernel, stride=2, padding=1) + F.conv2d(x, change.alpha, stride=2)
    torch.testing.assert_close(conv(x), expected, rtol=0, atol=1e-5)


def test_the_alignment_of_tsa_begins_as_the_identity_and_is_folded_into_the_head():
    model = attached("tsa", "resnet", {"alignment": True}, noise=0.0)[1]
    torch.testing.assert_close(model(**batch("resnet")).logits, bare("resnet")(**batch("resnet")).logits)
    method, model = attached("tsa", "resnet", {"alignment": True}, noise=0.01)
    expected = model(**batch("resnet")).logits
    merged = method.merge(model)
    torch.testing.assert_close(merged(**batch("resnet")).logits, expected, rtol=1e-4, atol=1e-4)
    assert merged.state_dict().keys() == bare("resnet").state_dict().keys()
    assert trainable(attached("tsa", "resnet", {"alignment": True})[1]) == 2 * 16**2 + 2 * 32**2 + 128**2


def test_svdiff_shifts_singular_values_and_cuts_them_at_zero():
    model = attached("sv_diff", "llama", noise=3.0)[1]
    layer = model.model.layers[0].mlp.up_proj
    delta = layer.parametrizations.weight[0].change.delta
    u, s, v = torch.linalg.svd(layer.parametrizations.weight.original, full_matrices=False)
    assert (s + delta < 0).any()
    torch.testing.assert_close(layer.weight, u @ torch.diag(torch.relu(s + delta)) @ v, rtol=0, atol=1e-5)


def test_kadaptation_is_a_sum_of_kronecker_products_with_shared_factors():
    model = attached("kadaptation", "llama", {"rank": 2})[1]
    layers = [model.model.layers[0].self_attn.k_proj, model.model.layers[1].self_attn.o_proj]
    for layer in layers:
        change = layer.parametrizations.weight[0].change
        products = [torch.kron(a, u @ v) for a, u, v in zip(change.shared.a, change.u, change.v, strict=True)]
        expected = layer.parametrizations.weight.original + sum(products)
        torch.testing.assert_close(layer.weight, expected, rtol=0, atol=1e-5)
    assert len({id(layer.parametrizations.weight[0].change.shared) for layer in layers}) == 1


def test_kadaptation_trains_as_much_in_each_block_as_published_for_a_vit_b():
    method = method_of("kadaptation", {"terms": 32, "rank": 1, "targets": ["query", "value"]})
    with torch.device("meta"):  # as large as CLIP's ViT-B/32, and queries and values are matrices of their own
        config = EsmConfig(vocab_size=33, hidden_size=768, num_hidden_layers=12, num_attention_heads=12)
        model = method.attach(EsmModel(config), cell("esm", method))
    published = 79_699 - 29_523  # less the linear probe
    biases, shared = 12 * 768, 2 * 2 * 32 * 32  # which ours has not; and A_i as u v^T, for queries and for values
    assert trainable(model) - 32**3 == published - biases - shared


def test_ssf_scales_and_shifts_what_each_layer_gives():
    model = attached("ssf", "gpt2")[1]
    for layer in (model.transformer.h[0].mlp.c_fc, model.transformer.h[0].ln_1):
        gain, shift = layer.parametrizations.weight[0], layer.parametrizations.bias[0]
        x = torch.randn(3, 32)
        expected = bare("gpt2").get_submodule(next(n for n, m in model.named_modules() if m is layer))(x)
        torch.testing.assert_close(layer(x), gain.gamma * expected + shift.beta, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["vpt_shallow", "vpt_deep"])
def test_prompts_stand_after_the_class_token_and_are_gone_at_the_end(name):
    model, plain = attached(name, "vision_transformer")[1], bare("vision_transformer").encoder
    states = torch.randn(2, 17, 32)
    expected = states
    for i, (block, own) in enumerate(zip(plain.blocks, model.encoder.blocks, strict=True)):
        if i and name == "vpt_deep":  # those of the block before are replaced
            expected = torch.cat([expected[:, :1], expected[:, 11:]], 1)
        if not i or name == "vpt_deep":
            tokens = own.prompt.tokens.expand(2, -1, -1)
            expected = torch.cat([expected[:, :1], tokens, expected[:, 1:]], 1)
        expected = block(expected)
    expected = torch.cat([expected[:, :1], expected[:, 11:]], 1)
    torch.testing.assert_close(model.encoder.blocks(states), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "network", "changes", "reason"),
    [
        ("loreft", "llama", {"rank": 33}, "method.rank=33: the hidden states are 32 wide"),
        ("loreft", "llama", {"first": 0, "last": 0}, "method.first=0, method.last=0: no position would be changed"),
        ("loreft", "resnet", {}, "resnet carries maps: ReFT changes the first and last positions of a sequence"),
        ("loreft", "swin_transformer", {}, "swin_transformer carries maps"),
        ("vpt_deep", "swin_transformer", {}, "swin_transformer has no sequence of image patches"),
        ("tsa", "vision_transformer", {}, "vision_transformer has no residual blocks of 3 x 3 convolutions"),
        ("tsa", "convnext", {}, "this convnext network has no 3 x 3 convolution"),
        ("kadaptation", "llama", {"terms": 5}, "method.terms=5: does not divide a weight of 32 x 32"),
        ("kadaptation", "llama", {"rank": 5}, "method.rank=5: larger than 16 / 4 terms"),
        ("diff_fit", "t5", {}, "t5 has no bias vectors, which DiffFit trains with its gains"),
        ("attention_tuning", "resnet", {}, "resnet has no module with the role 'attention'"),
    ],
)
def test_what_does_not_fit_is_refused(name, network, changes, reason):
    assert cell(network, method_of(name, changes)).conflict().startswith(reason)
