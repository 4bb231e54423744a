"""Networks of speech under a new head: masks, roles, adapters."""

from types import SimpleNamespace

import numpy as np
import peft
import pytest
import torch
from networks import SPEECH, feature_extractor, sound_batch, speech_family, speech_network

from benchmark.backbones import roles
from benchmark.methods.houlsby import Bottleneck, Houlsby, add_bottleneck
from benchmark.types import Kind


def cell_for(name):
    return SimpleNamespace(backbone=SimpleNamespace(family=speech_family(name)), kind=Kind.CLASSIFY)


@pytest.mark.parametrize("name", SPEECH)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [Kind.CLASSIFY, Kind.CTC])
def test_forward_and_backward_with_either_head(name, weighted, kind):
    model = speech_network(name, kind, weighted)
    labels = torch.tensor([0, 2]) if kind == Kind.CLASSIFY else torch.tensor([[1, 2, 1], [3, -100, -100]])
    output = model(**sound_batch(name, 3000, 2000), labels=labels)
    output.loss.backward()
    assert output.logits.shape[-1] == (3 if kind == Kind.CLASSIFY else 4)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.new_head.parameters())
    assert hasattr(model.new_head, "mix") == weighted
    if weighted:  # the embedding and every block
        assert model.new_head.mix.shape == (3,)
        assert model.new_head.mix.grad.abs().min() > 0


@pytest.mark.parametrize("name", SPEECH)
def test_the_last_of_all_layers_is_what_a_head_on_the_last_one_reads(name):
    batch = sound_batch(name, 3000, 2000)
    (layers, _), (last, _) = (speech_network(name, weighted=weighted).states(**batch) for weighted in (True, False))
    assert len(layers) == 3
    assert torch.equal(layers[-1], last)
    assert not torch.equal(layers[-2], last)


@pytest.mark.parametrize("name", SPEECH)
def test_the_frame_mask_counts_real_frames(name):
    batch = sound_batch(name, 3000, 1200)
    _, mask = speech_network(name).states(**batch)
    if name == "whisper":  # 160 samples to a spectrum, two of which make a frame
        assert mask.sum(1).tolist() == [10, 4]
    else:  # by hand: (n - 10) // 5 + 1, then (n - 4) // 4 + 1
        assert mask.sum(1).tolist() == [149, 59]


def test_a_padded_clip_is_heard_as_alone():
    """Layer-normed convolutions are masked; group-normed ones are not padded."""
    long, short = np.random.default_rng(1).standard_normal((2, 3000)).astype(np.float32)
    for name, same in (("wav2vec2 layered", True), ("wav2vec2", False)):
        model, prepare = speech_network(name), feature_extractor(name)
        options = {"sampling_rate": 8000, "padding": True, "return_attention_mask": True, "return_tensors": "pt"}
        with torch.no_grad():
            alone = model(**prepare([short[:1700]], **options)).logits[0]
            padded = model(**prepare([long, short[:1700]], **options)).logits[1]
        assert torch.allclose(alone, padded, atol=1e-5) == same


def test_pooling_leaves_padding_out():
    model, batch = speech_network("hubert"), sound_batch("hubert", 3000, 1500)
    states, mask = model.states(**batch)
    real = int(mask[1].sum())
    by_hand = model.new_head.project(states[1, :real].mean(0))
    assert real < states.shape[1]
    assert torch.allclose(model(**batch).logits[1], by_hand, atol=1e-6)


@pytest.mark.parametrize("name", SPEECH)
def test_an_adapter_at_every_role_changes_the_output_and_has_a_gradient(name):
    batch = sound_batch(name, 3000, 2000)
    for role in sorted(roles._roles(speech_family(name))):
        model = speech_network(name)
        before = model(**batch).logits
        if name == "whisper" and role in ("embedding", "head"):  # of its decoder
            continue
        for chosen in roles.resolve(dict(model.named_modules()), speech_family(name), [role]):
            module = model.get_submodule(chosen)
            if role == "norm":
                module.weight.grad = None
                touched, nudge = module.weight, module.weight
            else:
                width = module.out_features
                module.adapter = Bottleneck(width, 2, "gelu")
                module.register_forward_hook(add_bottleneck)
                touched = nudge = module.adapter.up.weight
            model.zero_grad()
            model(**batch, labels=torch.tensor([0, 1])).loss.backward()
            assert touched.grad is not None, chosen
            assert touched.grad.abs().sum() > 0, chosen
            kept = nudge.detach().clone()
            with torch.no_grad():
                nudge.add_(torch.randn_like(nudge))
                assert not torch.allclose(model(**batch).logits, before, atol=1e-7), chosen
                nudge.copy_(kept)


def test_what_is_wrapped_around_the_attention_of_wavlm_does_nothing():
    """Hence only its feed-forward roles; if the library changes, offer more."""
    model, batch = speech_network("wavlm"), sound_batch("wavlm", 3000)
    before = model(**batch).logits
    called = []
    for block in model.encoder.encoder.layers:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            getattr(block.attention, name).register_forward_hook(lambda *_: called.append(1))
    assert torch.equal(model(**batch).logits, before)
    assert called == []
    assert roles.refusal("wavlm", ["query"]) is not None
    assert roles.expand("wavlm", ["default"]) == ["down", "up"]


@pytest.mark.parametrize("name", SPEECH)
def test_default_roles_are_the_linear_layers_of_the_blocks(name):
    modules = dict(speech_network(name).named_modules())
    blocks = [n for n, m in modules.items() if isinstance(m, torch.nn.Linear) and ".layers." in n]
    if name == "wavlm":
        blocks = [n for n in blocks if "feed_forward" in n]
    assert roles.resolve(modules, speech_family(name), ["default"]) == blocks
    norms = [n for n, m in modules.items() if isinstance(m, torch.nn.LayerNorm | torch.nn.GroupNorm)]
    assert roles.resolve(modules, speech_family(name), ["norm"]) == norms


def lora(name):
    model = speech_network(name)
    chosen = roles.resolve(dict(model.named_modules()), speech_family(name), ["default"])
    config = peft.LoraConfig(r=4, target_modules=chosen, modules_to_save=["new_head"], init_lora_weights=False)
    return peft.get_peft_model(model, config)


@pytest.mark.parametrize("name", SPEECH)
def test_lora_learns_and_comes_back_from_its_file(name, tmp_path):
    batch = sound_batch(name, 3000, 2000)
    torch.manual_seed(2)
    model = lora(name).eval()
    model(**batch, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "lora_B" in n)
    model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(speech_network(name), tmp_path).eval()
    assert torch.allclose(again(**batch).logits, model(**batch).logits, atol=1e-6)
    assert not torch.allclose(speech_network(name)(**batch).logits, model(**batch).logits, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in SPEECH if n != "wavlm"])
def test_bottlenecks_learn_and_come_back_from_their_file(name, tmp_path):
    batch = sound_batch(name, 3000, 2000)
    method = Houlsby(description="", search={}, sized_by=None, lr=1e-3, bottleneck=4, activation="gelu", norms=True)
    model = method.attach(speech_network(name), cell_for(name))
    before = model(**batch, labels=torch.tensor([0, 1]))
    before.loss.backward()
    ups = [p for n, p in model.named_parameters() if "adapter.up.weight" in n]
    assert len(ups) == 4
    assert all(p.grad.abs().sum() > 0 for p in ups)
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.requires_grad):
            p.add_(torch.randn_like(p), alpha=0.1)
    method.save(model, tmp_path)
    again = method.restore(speech_network(name), tmp_path, cell_for(name)).eval()
    assert torch.allclose(again(**batch).logits, model(**batch).logits, atol=1e-6)
    assert not torch.allclose(before.logits, model(**batch).logits, atol=1e-4)
