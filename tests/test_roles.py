"""Table of module names against real networks; refusals have reasons."""

import pytest
from networks import CONFIGS, network
from torch import nn
from transformers.pytorch_utils import Conv1D

from benchmark.backbones import roles

VARIANTS = [(family, {}) for family in CONFIGS] + [
    ("t5", {"feed_forward_proj": "gated-gelu"}),  # T5 1.1
    ("llama", {"num_hidden_layers": 12}),  # two-digit layer numbers
]


def named(family, **changes):
    return dict(network(family, **changes).named_modules())


def ends(name, suffix):
    return f".{name}".endswith(f".{suffix}")


@pytest.mark.parametrize("family", CONFIGS)
def test_every_suffix_names_a_real_module(family):
    names = [name for kind, changes in VARIANTS if kind == family for name in named(family, **changes)]
    assert [s for s in roles.FAMILIES[family].modules if not any(ends(name, s) for name in names)] == []


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_default_is_every_linear_layer_of_the_blocks(family, changes):
    modules = named(family, **changes)
    linear = [n for n, m in modules.items() if isinstance(m, (nn.Linear, Conv1D)) and n != "lm_head"]
    assert roles.resolve(modules, family, ["default"]) == linear
    assert roles.layers(family, ["default"]) == {type(modules[n]).__name__ for n in linear}


@pytest.mark.parametrize(("family", "changes"), VARIANTS)
def test_norm_is_every_normalisation_layer_and_the_ends_are_found(family, changes):
    modules = named(family, **changes)
    assert roles.resolve(modules, family, ["norm"]) == [n for n, m in modules.items() if "Norm" in type(m).__name__]
    assert roles.resolve(modules, family, ["head"]) == ["lm_head"]
    embeddings = {id(modules[n].weight) for n in roles.resolve(modules, family, ["embedding"])}
    token_rows = {id(m.weight) for m in modules.values() if isinstance(m, nn.Embedding) and m.num_embeddings == 50}
    assert embeddings == token_rows


@pytest.mark.parametrize("family", CONFIGS)
def test_a_family_says_truly_whether_it_has_biases(family):
    biases = [name for name, _ in network(family).named_parameters() if name.endswith(".bias")]
    assert roles.FAMILIES[family].biases == bool(biases)


def test_cross_attention_plays_the_roles_of_self_attention():
    chosen = roles.resolve(named("mbart"), "mbart", ["query"])
    assert len(chosen) == 2 + 2 + 2
    assert [n for n in chosen if "encoder_attn" in n] == [
        f"model.decoder.layers.{i}.encoder_attn.q_proj" for i in (0, 1)
    ]


def test_a_fused_projection_is_taken_whole_or_not_at_all():
    names = named("gpt2")
    assert roles.resolve(names, "gpt2", ["value", "key", "query"]) == [f"transformer.h.{i}.attn.c_attn" for i in (0, 1)]
    assert (
        roles.refusal("gpt2", ["query", "value"])
        == "gpt2 fuses query, key, value in attn.c_attn: query, value needs key too"
    )
    assert roles.refusal("gpt2", ["output", "mlp"]) is None
    with pytest.raises(ValueError, match=r"gpt2 fuses query, key, value in attn.c_attn"):
        roles.resolve(names, "gpt2", ["query"])


@pytest.mark.parametrize(
    ("family", "wanted", "reason"),
    [
        (
            "falcon",
            ["query"],
            (
                "no roles for 'falcon': add it to benchmark/backbones/families.py "
                f"(known: {', '.join(sorted(roles.FAMILIES))})"
            ),
        ),
        (
            "llama",
            ["querry"],
            (
                "no role 'querry'; did you mean query? "
                "(known: attention, back, conv, default, down, embedding, gate, head, key, merge, mlp, norm, output, "
                "query, reduce, restore, scaled, shortcut, spatial, stem, up, value)"
            ),
        ),
        (
            "gpt2",
            ["gate"],
            (
                "gpt2 has no module with the role 'gate' "
                "(it has: down, embedding, head, key, norm, output, query, up, value)"
            ),
        ),
        ("mt5", ["attention", "mlp", "norm", "head", "embedding"], None),
    ],
)
def test_refusals_say_what_is_wrong_and_what_would_be_right(family, wanted, reason):
    assert roles.refusal(family, wanted) == reason


def test_a_role_that_this_very_network_lacks_is_an_error_unless_an_alias_asked():
    plain = named("t5")
    assert roles.resolve(plain, "t5", ["mlp"]) == [n for n in plain if n.endswith((".wi", ".wo"))]
    with pytest.raises(ValueError, match="this t5 network has no module with the role gate"):
        roles.resolve(plain, "t5", ["gate"])
