"""Adapters, prefixes and their hybrids: the formulas of their papers."""

import copy
import sys

import pytest
import timm
import torch
import transformers
from networks import attach
from torch import nn

from benchmark.backbones import roles
from benchmark.capabilities.networks import NETWORKS, batch, cell
from benchmark.capabilities.probe import method_of
from benchmark.errors import InputError
from benchmark.methods.compacter import Kronecker, Rule
from benchmark.methods.invertible import Coupling
from benchmark.methods.prefixes import attend

INTERFACE = ("llama", "qwen3", "gpt2", "mbart", "m2m_100", "t5", "mt5", "esm", "t5 encoder", "wav2vec2", "whisper")


def attached(method, network, **changes):
    """Attach with nothing at zero, so that everything counts."""
    return attach(method, network, 0.1, **changes)[1]


def mean(model, network):
    with torch.no_grad():
        return model(**batch(network)).logits


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_pfeiffer_adapter_reads_the_feed_forward_with_its_residual():
    model, plain = (attached("pfeiffer", "mbart") for _ in range(2))
    block = model.model.encoder.layers[0]
    h, mask = torch.randn(2, 5, 32), None
    after = block(h, mask)
    without = plain.model.encoder.layers[0]
    without._forward_hooks.clear()
    expected = without(h, mask)
    h = expected if isinstance(expected, torch.Tensor) else expected[0]
    adapter = block.adapter
    close(after if isinstance(after, torch.Tensor) else after[0], h + adapter.up(adapter.down(h).relu()))


@pytest.mark.parametrize(("changes", "normed"), [({}, True), ({"before_norm": True}, False)])
def test_a_parallel_adapter_reads_beside_the_feed_forward(changes, normed):
    model = attached("parallel", "llama", **changes)
    block = model.model.layers[0]
    side, x = block.mlp.down_proj.adapter, torch.randn(2, 5, 32)
    y = block.post_attention_layernorm(x)
    found = block.mlp(y)
    read = y if normed else x
    side_of_it = 4.0 * side.up(side.down(read).relu())
    inner = block.mlp.act_fn(block.mlp.gate_proj(y)) * nn.functional.linear(y, block.mlp.up_proj.weight)
    close(found, nn.functional.linear(inner, block.mlp.down_proj.weight) + side_of_it)
    assert side.read is None


# ModernBERT fuses its up-projection with the gate, and no method may take one of the two
NORMALISED = [name for name, (family, *_) in NETWORKS.items() if family in {*roles.PRENORM} - {"modernbert"}]


@pytest.mark.parametrize("network", NORMALISED)
def test_adaptformer_reads_what_the_norm_before_the_feed_forward_reads(network):
    model, streams, norms = attached("adaptformer", network), {}, {}
    for name, module in model.named_modules():
        if getattr(module, "adapter", None) is not None and not list(module.children())[1:]:
            (streams if module._forward_pre_hooks else norms)[name] = module
    assert len(streams) == len(norms) > 0
    assert all("norm" in type(module).__name__.lower() for module in streams.values())
    read = {}
    for name, module in streams.items():
        module.register_forward_hook(lambda m, i, o, name=name: read.update({name: o}))
    up = [m for n, m in model.named_modules() if n.rpartition(".")[2] in ("fc1", "up_proj", "c_fc", "wi", "wi_1",
          "intermediate_dense") or n.endswith("intermediate.dense")]  # fmt: skip
    seen = []
    for module in up:
        module.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
    mean(model, network)
    assert len(seen) == len(read)
    assert all(any(x is y or torch.equal(x, y) for y in seen) for x in read.values())


def test_coupling_is_undone_exactly_and_needs_halves():
    torch.manual_seed(0)
    coupling, e = Coupling(4, 3, "relu"), torch.randn(2, 5, 8)
    assert torch.equal(coupling(e), e)
    for p in coupling.parameters():
        nn.init.normal_(p)
    one, two = e.chunk(2, -1)
    one = one + coupling.f(two)
    torch.testing.assert_close(coupling(e), torch.cat([one, two + coupling.g(one)], -1))
    torch.testing.assert_close(coupling.inverse(coupling(e)), e)


def test_embeddings_without_halves_are_refused():
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_embd=33, n_layer=1, n_head=1, n_positions=16, vocab_size=9))
    with pytest.raises(InputError, match="odd width 33 cannot be halved"):
        method_of("pfeiffer_inv").attach(model, cell("gpt2", method_of("pfeiffer_inv")))


@pytest.mark.parametrize("network", ["llama", "gpt2", "mbart", "t5"])
def test_a_coupling_acts_on_the_encoder_s_or_only_embeddings_and_before_the_head(network):
    model = attached("pfeiffer_inv", network)
    owners = [name for name, module in model.named_modules() if getattr(module, "coupling", None) is not None]
    assert len(owners) == 2
    assert owners[1] == "lm_head"
    assert owners[0].endswith(".0")
    assert "decoder" not in owners[0]
    assert not torch.allclose(mean(model, network), mean(attached("pfeiffer", network), network))


def test_a_kronecker_layer_is_equation_5():
    torch.manual_seed(0)
    rule = Rule(4)
    layer, x = Kronecker(8, 12, 2, rule), torch.randn(3, 8)
    weight = sum(torch.kron(rule.a[i], layer.s[i] @ layer.t[i]) for i in range(4))
    close(layer(x), x @ weight + layer.bias)


def test_all_compact_adapters_share_one_rule_and_a_copy_shares_its_own():
    model = attached("compacter", "mbart")
    twin = copy.deepcopy(model)
    rules = [{id(m) for m in network.modules() if isinstance(m, Rule)} for network in (model, twin)]
    assert [len(found) for found in rules] == [1, 1]
    assert rules[0] != rules[1]


def test_compacter_on_t5_base_is_as_large_as_published():
    config = transformers.T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12)
    shares = {}
    for name in ("compacter", "compacter_pp"):
        method = method_of(name, {"bottleneck": 24})  # a reduction by 32, as in table 1
        with torch.device("meta"):
            model = method.attach(transformers.T5ForConditionalGeneration(config), cell("t5", method))
        trained = [(n, p.numel()) for n, p in model.named_parameters() if p.requires_grad]
        theirs = sum(count for n, count in trained if "EncDecAttention" not in n)  # nothing follows cross-attention
        shares[name] = round(100 * theirs / 222_903_552, 3)
    assert shares == {"compacter": 0.073, "compacter_pp": 0.047}


def test_a_width_that_the_summands_do_not_divide_is_refused():
    assert "does not divide 32" in cell("llama", method_of("compacter", {"number": 3, "bottleneck": 9})).conflict()
    assert "no multiple" in cell("llama", method_of("compacter", {"bottleneck": 9})).conflict()


def by_hand(query, key, value, prefix, seen, scale, bias=None, gate=None):
    """Compute attention position by position; a gate scales the prefix."""
    keys, values = prefix
    gate = torch.ones(*query.shape[:1], query.shape[2], 1) if gate is None else gate
    before = (query @ keys.transpose(2, 3)) * gate.unsqueeze(1)
    scores = torch.cat([before, query @ key.transpose(2, 3)], -1) * scale
    length = keys.shape[2]
    scores[..., length:] += 0 if bias is None else bias
    scores[..., length:] = scores[..., length:].masked_fill(~seen, -torch.inf)
    share = scores.softmax(-1)
    read = gate.unsqueeze(1) * (share[..., :length] @ values)
    return (read + share[..., length:] @ value).transpose(1, 2)


@pytest.mark.parametrize("own", ["sdpa", "eager"])
@pytest.mark.parametrize("mask", [None, torch.bool, torch.float])
@pytest.mark.parametrize("gated", [False, True])
def test_a_prefix_is_attended_to_by_every_query(own, mask, gated):
    model = attached("unipelt" if gated else "prefix_flat", "llama", length=3)
    attention = model.model.layers[0].self_attn
    attention.prefix.function = own
    query, (key, value) = torch.randn(2, 2, 5, 16), torch.randn(2, 2, 1, 5, 16)
    causal = torch.ones(5, 5, dtype=torch.bool).tril()[None, None].expand(2, 1, 5, 5)
    given = {None: None, torch.bool: causal, torch.float: torch.zeros(2, 1, 5, 5).masked_fill(~causal, -1e30)}[mask]
    if own == "eager" and mask != torch.float:
        pytest.skip("eager attention is always given numbers to add")
    gate = torch.rand(2, 5, 1) if gated else None
    if gated:
        attention.prefix.gate.open = gate
    found, _ = attend(attention, query, key, value, given, scaling=0.3)
    keys, values = attention.prefix(key)
    key, value, keys, values = (t.repeat_interleave(2, 1) for t in (key, value, keys, values))
    close(found, by_hand(query, key, value, (keys, values), causal, 0.3, gate=gate))


def test_a_prefix_goes_with_t5_s_bias_of_positions():
    attention = attached("prefix_flat", "t5").decoder.block[0].layer[0].SelfAttention
    query, key, value = torch.randn(3, 2, 2, 5, 8)
    causal, bias = torch.ones(5, 5, dtype=torch.bool).tril(), torch.randn(1, 2, 5, 5)
    found, _ = attend(attention, query, key, value, None, scaling=1.0, position_bias=bias)
    close(found, by_hand(query, key, value, attention.prefix(key), causal, 1.0, bias=bias))


@pytest.mark.parametrize("method", ["prefix_mlp", "unipelt"])
@pytest.mark.parametrize("network", ["llama", "qwen3", "mbart", "m2m_100", "t5", "mt5"])
def test_a_prefix_is_read_alike_with_and_without_a_cache(method, network):
    model = attached(method, network).eval()
    inputs = {key: value for key, value in batch(network).items() if key != "labels"}
    if network in ("llama", "qwen3"):  # padding stands before what is continued
        inputs = {key: value.flip(1) for key, value in inputs.items()}
    written = [
        model.generate(**inputs, max_new_tokens=6, do_sample=False, use_cache=cached, pad_token_id=0, eos_token_id=None)
        for cached in (True, False)
    ]
    assert torch.equal(*written)


@pytest.mark.parametrize("network", INTERFACE)
def test_every_prefix_is_read_by_its_own_attention(network):
    model = attached("prefix_flat", network, length=3)
    before = mean(model, network)
    for module in model.modules():
        if hasattr(module, "prefix"):
            kept = module.prefix.states.data.clone()
            module.prefix.states.data += 1
            assert not torch.equal(mean(model, network), before)
            module.prefix.states.data = kept


def test_a_decoder_s_gates_do_not_look_ahead():
    model = attached("unipelt", "llama").eval()
    ids = torch.randint(4, 50, (1, 8))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] + 1) % 46 + 4
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).logits[:, :-1], model(input_ids=other).logits[:, :-1])


@pytest.mark.parametrize("method", ["parallel", "unipelt", "mam", "lst"])
def test_a_network_in_training_can_be_copied(method):
    model = attached(method, "mbart")
    model(**batch("mbart")).loss.backward()
    twin = copy.deepcopy(model)
    for p in twin.parameters():
        p.data.zero_() if p.requires_grad else None
    assert not torch.allclose(mean(twin, "mbart"), mean(model, "mbart"))


def test_a_prefix_longer_than_the_context_is_refused():
    assert "reads 64 positions" in cell("llama", method_of("prefix_flat", {"length": 65})).conflict()
    assert "takes no prefix" in cell("vision_transformer", method_of("prefix_flat")).conflict()


def test_adaptformer_64_on_vit_b_is_as_large_as_published():
    method = method_of("adaptformer")
    with torch.device("meta"):
        model = nn.Module()
        model.encoder = timm.create_model("vit_base_patch16_224", num_classes=0)
        model.new_head = nn.Linear(768, 100)
    method.attach(model, cell("vision_transformer", method))
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert count == 12 * (2 * 768 * 64 + 64 + 768) + 76_900  # table 1 of the paper: 1.26 M with the head of CIFAR-100


def test_every_family_of_the_interface_is_one_that_transformers_wires():
    for network in INTERFACE:
        attention = next(m for m in attached("prefix_flat", network, length=3).modules() if hasattr(m, "prefix"))
        assert hasattr(sys.modules[type(attention).__module__], "eager_attention_forward")
