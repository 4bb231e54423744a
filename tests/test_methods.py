"""Methods beyond the gate: generation, misfits, refusals, published sizes."""

from dataclasses import replace

import peft
import pytest
import torch
from networks import batch, cell, network
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmark.backbones import roles
from benchmark.capabilities.probe import method_of
from benchmark.config.registry import names as names_in
from benchmark.errors import InputError
from benchmark.methods import native
from benchmark.methods.hf_peft import Peft
from benchmark.methods.houlsby import Houlsby


def hf(peft_type, rank=None, targets=("default",), **options):
    changes = {"lr": 1e-2, "search": {}, "sized_by": None, "targets": list(targets), "rank": rank}
    return replace(method_of(peft_type.lower()), **changes, options=options)


FULL, BITFIT, NORM = (method_of(name, {"lr": 1e-2}) for name in ("full", "bitfit", "norm_tuning"))
HOULSBY = Houlsby(description="", search={}, sized_by=None, lr=1e-2, bottleneck=4, activation="gelu", norms=True)
LORA, DORA, IA3 = hf("LORA", 4, lora_alpha=8), hf("LORA", 4, lora_alpha=8, use_dora=True), hf("IA3", targets=["scaled"])
PROMPT = hf("PROMPT_TUNING", targets=(), num_virtual_tokens=5, num_transformer_submodules=1)
PREFIX = hf("PREFIX_TUNING", targets=(), num_virtual_tokens=5)


def attached(method, family):
    assert method.conflict(cell(family)) is None
    return method.attach(network(family), cell(family))


def step(model, lr=1e-2):
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    model(**batch()).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def logits(model, **changes):
    with torch.no_grad():
        return model.eval()(**batch(seed=1) | changes).logits


def test_a_prefix_fits_a_decoder_unlike_its_encoder():
    model = network("mbart", encoder_layers=1, decoder_layers=3, decoder_attention_heads=4)
    model = PREFIX.attach(model, cell("mbart"))
    step(model)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 5 * 3 * (32 + 32)


def test_an_adapter_is_the_formula_of_the_paper():
    model = attached(HOULSBY, "llama")
    place = model.model.layers[0].mlp.down_proj
    nn.init.normal_(place.adapter.up.weight)
    x = torch.randn(2, 48)
    h = x @ place.weight.T
    down, up = place.adapter.down, place.adapter.up
    expected = h + torch.nn.functional.gelu(h @ down.weight.T + down.bias) @ up.weight.T + up.bias
    torch.testing.assert_close(place(x), expected)
    assert down.weight.abs().max() <= 0.02


def test_running_statistics_are_saved_by_methods_that_train_them(tmp_path):
    def fresh():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))

    model = FULL.attach(fresh(), None)
    model(torch.randn(4, 1, 5, 5) + 3)
    FULL.save(model, tmp_path)
    restored = FULL.restore(fresh(), tmp_path, None)
    assert torch.equal(restored[1].running_mean, model[1].running_mean)
    assert not torch.equal(restored[1].running_mean, torch.zeros(2))
    assert native.trained_tensors(model, buffers=False).keys() == dict(model.named_parameters()).keys()


def test_a_native_file_of_another_method_or_size_is_refused(tmp_path):
    NORM.save(attached(NORM, "gpt2"), tmp_path)
    with pytest.raises(InputError, match=r"adapter.safetensors lacks transformer.h.0.attn.c_attn.bias"):
        BITFIT.restore(network("gpt2"), tmp_path, cell("gpt2"))
    with pytest.raises(InputError, match=r"has shape \(32,\), this network needs \(64,\)"):
        NORM.restore(network("gpt2", n_embd=64), tmp_path, cell("gpt2"))
    with pytest.raises(InputError, match=r"no adapter.safetensors; give the folder"):
        NORM.restore(network("gpt2"), tmp_path / "none", cell("gpt2"))


def test_a_peft_folder_that_does_not_fit_is_refused(tmp_path):
    LORA.save(attached(LORA, "llama"), tmp_path)
    with pytest.raises(InputError, match="holds a LORA adapter, not IA3"):
        IA3.restore(network("llama"), tmp_path, cell("llama"))
    with pytest.raises(InputError, match="does not fit this backbone"):
        LORA.restore(network("llama", intermediate_size=32), tmp_path, cell("llama"))
    with pytest.raises(InputError, match=r"no adapter_config.json"):
        LORA.restore(network("llama"), tmp_path / "none", cell("llama"))


def test_a_saved_adapter_does_not_tell_whose_disk_it_was_on(tmp_path):
    source = tmp_path / "secret" / "small_llama"
    network("llama").save_pretrained(source)
    model = LORA.attach(LlamaForCausalLM.from_pretrained(source), cell("llama"))
    LORA.save(model, tmp_path / "out")
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"secret" not in written
    assert b"small_llama" in written


def test_modules_are_those_that_are_wrapped_or_own_what_is_trained():
    layers = [f"model.layers.{i}" for i in (0, 1)]
    some = hf("LORA", 4, targets=["query", "down"])
    wanted = sorted(f"{layer}.{name}" for layer in layers for name in ("self_attn.q_proj", "mlp.down_proj"))
    assert some.modules(attached(some, "llama")) == wanted
    assert PROMPT.modules(attached(PROMPT, "llama")) == ["prompt_encoder.default.embedding"]
    assert BITFIT.modules(attached(BITFIT, "gpt2"))[:2] == [
        "transformer.h.0.attn.c_attn",
        "transformer.h.0.attn.c_proj",
    ]


@pytest.mark.parametrize(
    ("method", "family", "reason"),
    [
        (replace(hf("LORA", 4), peft_type="LROA"), "llama", "method.peft_type=LROA: no such type; did you mean"),
        (
            hf("LORA", 4, lora_alfa=8),
            "llama",
            "method.options.lora_alfa: LORA has no such option; did you mean lora_alpha",
        ),
        (hf("LORA", 4, lora_alpha="x"), "llama", "method.options.lora_alpha=x: LORA needs int, not str"),
        (hf("LORA", 4, use_dora=1), "llama", "method.options.use_dora=1: LORA needs bool, not int"),
        (hf("LORA", 4, bias="some"), "llama", "method.options.bias=some: LORA needs none or all or lora_only, not str"),
        (hf("LORA", True), "llama", "method.rank=True: LORA needs int, not bool"),
        (hf("LORA", 0), "llama", "method.rank=0: must be at least 1"),
        (hf("LORA", 4, r=8), "llama", "method.options.r: set method.rank instead"),
        (hf("LORA", 4, target_modules="q"), "llama", "method.options.target_modules: set method.targets instead"),
        (hf("IA3", 4), "llama", "method.rank=4: IA3 has no rank, set it to null"),
        (hf("LORA", 4, ["query"]), "gpt2", "gpt2 fuses query, key, value in attn.c_attn: query needs key, value too"),
        (hf("LORA", 4, ["query"]), "falcon", "no roles for 'falcon': add it to benchmark/backbones/families.py"),
        (hf("LORA", 4, []), "llama", "LORA needs method.targets, for example [default]"),
        (hf("LORA", 4, ["norm"]), "llama", "LORA cannot wrap norm layers, which llama has at norm"),
        (hf("LOHA", 4), "gpt2", "LOHA cannot wrap Conv1D layers, which gpt2 has at default"),
        (hf("PROMPT_TUNING"), "llama", "PROMPT_TUNING wraps no modules: set method.targets=[]"),
        (hf("PREFIX_TUNING", None, []), "llama", "method.options.num_virtual_tokens: PREFIX_TUNING needs a number"),
        (hf("OFT", 4), "llama", "OFT refuses method.options: You can only specify either r"),
        (BITFIT, "llama", "llama has no bias vectors to train (families that have: "),
        (BITFIT, "falcon", "no roles for 'falcon'"),
        (method_of("frozen", {"lr": 1e-3}), "llama", "method.lr=0.001: a frozen network learns nothing, set it to 0.0"),
        (
            Houlsby(description="", search={}, sized_by=None, lr=1e-3, bottleneck=4, activation="gleu", norms=True),
            "llama",
            "method.activation=gleu: no such activation; did you mean gelu",
        ),
        (
            Houlsby(description="", search={}, sized_by=None, lr=1e-3, bottleneck=0, activation="gelu", norms=True),
            "llama",
            "method.bottleneck=0: must be at least 1",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_its_reason(method, family, reason):
    assert method.conflict(cell(family)).startswith(reason)


SIZES = {  # what a type needs to fit 32 columns
    "C3A": {"block_size": 8},
    "FOURIERFT": {"n_frequency": 8},
    "WAVEFT": {"n_frequency": 8},
    "ROAD": {"group_size": 8},
    "VBLORA": {"vector_length": 8, "num_vectors": 4},
    "OFT": {"oft_block_size": 0},
}
RANKLESS = {"BEFT", "C3A", "FOURIERFT", "FROD", "IA3", "LN_TUNING", "ROAD", "WAVEFT"}
MORE = {"ADALORA", "BOFT", "LILY", "TRAINABLE_TOKENS"}  # what is built here on top of these, test_peft.py looks at
OF_PEFT = {name: method_of(name) for name in names_in("method") if isinstance(method_of(name), Peft)}
WRAPPING = sorted({method.peft_type for method in OF_PEFT.values() if not method.untargeted} - MORE)


@pytest.mark.parametrize("peft_type", WRAPPING)
def test_any_peft_type_trains_and_is_refused_exactly_where_it_cannot_wrap(peft_type):
    method = hf(peft_type, None if peft_type in RANKLESS else 4, **SIZES.get(peft_type, {}))
    step(attached(method, "llama"))
    names = roles.resolve(dict(network("gpt2").named_modules()), "gpt2", ["default"])
    try:
        config = method.configuration(cell("gpt2"), names)
        peft.get_peft_model(network("gpt2"), config)(**batch()).loss.backward()
        wraps_conv1d = True
    except (TypeError, ValueError, NotImplementedError, RuntimeError):
        wraps_conv1d = False
    assert (method.conflict(cell("gpt2")) is None) == wraps_conv1d


@pytest.mark.parametrize(
    ("method", "published"),
    [
        (hf("LORA", 16, ["query", "value"]), 8_388_608),
        (hf("PREFIX_TUNING", targets=[], num_virtual_tokens=20), 5_242_880),
        (hf("PROMPT_TUNING", targets=[], num_virtual_tokens=15, num_transformer_submodules=1), 61_440),
        (hf("ADAPTION_PROMPT", targets=[], adapter_len=10, adapter_layers=30), 1_228_830),
    ],
    ids=["lora", "prefix", "prompt", "adaption_prompt"],
)
def test_llama_7b_trains_the_published_number_of_parameters(method, published):
    config = LlamaConfig(hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32)
    with torch.device("meta"):
        model = method.attach(LlamaForCausalLM(config), cell("llama"))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == published
