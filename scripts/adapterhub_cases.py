"""Cases of scripts/adapterhub.py: networks, parameter names, settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TOKENS = {"vocab_size": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SHAPES = {
    "mbart": ("MBartConfig", {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
              "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "forced_eos_token_id": None,
              "decoder_start_token_id": 3}),
    "t5": ("T5Config", {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 2,
           "decoder_start_token_id": 3}),
    "llama": ("LlamaConfig", {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 16,
              "num_attention_heads": 2, "num_key_value_heads": 1}),
    "gpt2": ("GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 2}),
}  # fmt: skip
PAIRS = ("mbart", "t5")  # encoder-decoders

# What stands in a parameter's name there, and what stands in it here; rules are tried in this order, once each.
PLACES = {
    "mbart": [(r"cross_attention_adapters", "encoder_attn.out_proj"), (r"attention_adapters", "self_attn.out_proj"),
              (r"output_adapters", "fc2")],
    "t5": [(r"layer\.0(?=\.adapters)", "layer.0.SelfAttention.o"),
           (r"(decoder.*layer\.1)(?=\.adapters)", r"\1.EncDecAttention.o"),
           (r"(layer\.\d)(?=\.adapters)", r"\1.DenseReluDense.wo")],
    "llama": [(r"attention_adapters", "self_attn.o_proj"), (r"output_adapters", "mlp.down_proj")],
    "gpt2": [(r"attention_adapters", "attn.c_proj"), (r"output_adapters", "mlp.c_proj")],
}  # fmt: skip
BLOCK = [(r"\.(output_adapters|layer\.\d)(?=\.adapters)", "")]  # of methods with one adapter, behind the block
PARTS = [
    (r"adapters\.a\.adapter_(down|up)(\.0)?", r"adapter.\1"), (r"adapters\.a\.scaling", "adapter.scale"),
    (r"W_left", "s"), (r"W_right", "t"), (r"\.b$", ".bias"), (r".*phm_rule", "rule.a"),
    (r".*adapters\.a\.F", "coupling.f"), (r".*adapters\.a\.G", "coupling.g"),
    (r"reft_layer\.refts\.a\.units\.0", "intervention"), (r"learned_source", "source"), (r"projection", "base"),
]  # fmt: skip
GATED = [
    (r"adapter\.(down|up)", r"adapter.inner.\1"), (r"adapters\.a\.gate", "adapter.gate.weigh"),
    (r"prefix_tuning\.prefix_gates\.a", "prefix.gate.weigh"), (r"loras\.a\.gate", "update.gate.weigh"),
    (r"loras\.a\.lora_A", "update.inner.0.weight"), (r"loras\.a\.lora_B", "update.inner.1.weight"),
]  # fmt: skip
PREFIXED = {  # the attention of layer {}; all layers' prefixes are one tensor there
    "mbart": {"encoder": "model.encoder.layers.{}.self_attn", "self": "model.decoder.layers.{}.self_attn",
              "cross": "model.decoder.layers.{}.encoder_attn"},
    "t5": {"encoder": "encoder.block.{}.layer.0.SelfAttention", "self": "decoder.block.{}.layer.0.SelfAttention",
           "cross": "decoder.block.{}.layer.1.EncDecAttention"},
    "llama": {"self": "model.layers.{}.self_attn"},
    "gpt2": {"self": "transformer.h.{}.attn"},
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One method, set alike in both libraries."""

    method: str  # ours
    ours: dict[str, Any]  # choices that are not the default
    theirs: list[Any]  # a class of configurations and its choices, which may be such lists again
    remark: str  # begins with what is claimed: equal or differs
    networks: tuple[str, ...] = tuple(SHAPES)
    zero: str = "(?!)"  # parameters, of network or method, that are zero
    dropped: str = "(?!)"  # parameters there that have no place here
    tokens: int = 8
    attention: str = "eager"


SMALL, INVERSE = {"bottleneck": 4}, {"inversion": 8}
COMPACT = {"bottleneck": 4, "rank": 2, "norms": False}
BN, PHM, GELU = {"reduction_factor": 8}, {"phm_rank": 2}, {"non_linearity": "gelu"}
CROSS, AFTER = {"cross_adapter": True}, "cross_adapter=True there"
BESIDE, STREAM = {"before_norm": True}, "before_norm=true here"
PREFIX, MLP = {"length": 3}, {"length": 3, "prefix_bottleneck": 5}
FLAT = ["PrefixTuningConfig", {"prefix_length": 3, "flat": True}]
GROWN = ["PrefixTuningConfig", {"prefix_length": 3, "bottleneck_size": 5}]
MAM = ["MAMConfig", {"prefix_tuning": GROWN, "adapter": ["ParBnConfig", BN]}]
ORDER, EAGER = ("mbart", "llama", "gpt2"), "eager attention there"
BIAS, UNBIASED = r"relative_attention_bias", "T5's bias of positions zero"
COUNTS = "differs: theirs counts the prefix as positions in the bias of T5, ours does not"
PELT = {"rank": 2, **SMALL, **MLP}
UNIPELT = ["UniPELTConfig", {"prefix_tuning": GROWN, "adapter": ["SeqBnConfig", BN], "lora": ["LoRAConfig", {"r": 2}]}]
APART = ("mbart", "t5", "llama")  # UniPELT's LoRA is of query and value; GPT-2 fuses them, which ours refuses
ENDS = {"rank": 3, "first": 2, "last": 1}
TIED = {"r": 3, "prefix_positions": 2, "suffix_positions": 1, "tied_weights": True, "layers": [0, 1]}
ONE = "tied_weights=True and layers=[0, 1], of a pair the encoder's, there"

CASES = [
    Case("houlsby", {**SMALL, "norms": False}, ["DoubleSeqBnConfig", BN | CROSS | GELU], f"equal; {AFTER}; both gelu"),
    Case("houlsby_inv", {**SMALL, "norms": False, **INVERSE}, ["DoubleSeqBnInvConfig", BN | CROSS | GELU],
         f"equal; {AFTER}; both gelu"),
    Case("pfeiffer", SMALL, ["SeqBnConfig", BN], "equal"),
    Case("pfeiffer_inv", SMALL | INVERSE, ["SeqBnInvConfig", BN], "equal"),
    Case("parallel", SMALL | BESIDE, ["ParBnConfig", BN], f"equal; {STREAM}"),
    Case("parallel", SMALL, ["ParBnConfig", BN],
         "differs: ours by default reads what the feed-forward reads, theirs the stream before the norm"),
    Case("scaled_parallel", SMALL | BESIDE, ["ParBnConfig", BN | {"scaling": "learned"}], f"equal; {STREAM}"),
    Case("compacter", COMPACT, ["CompacterConfig", BN | PHM | CROSS], f"equal; {AFTER}"),
    Case("compacter_pp", COMPACT, ["CompacterPlusPlusConfig", BN | PHM], "equal"),
    Case("prefix_flat", PREFIX, FLAT, f"equal; {EAGER}", ORDER),
    Case("prefix_flat", PREFIX, FLAT, f"equal; {UNBIASED}", ("t5",), BIAS),
    Case("prefix_flat", PREFIX, FLAT, COUNTS, ("t5",)),
    Case("prefix_flat", PREFIX, FLAT, "differs: with sdpa, its default, theirs hides the prefix of a padded batch,"
         " and lays the causal mask of an unpadded one from the prefix on", ORDER, attention="sdpa"),
    Case("prefix_mlp", {**PREFIX, "bottleneck": 5}, GROWN, f"equal; {EAGER}", ORDER),
    Case("prefix_mlp", {**PREFIX, "bottleneck": 5}, GROWN, f"equal; {UNBIASED}", ("t5",), BIAS),
    Case("mam", SMALL | BESIDE | MLP, MAM, f"equal; {EAGER}; {STREAM}", ORDER),
    Case("mam", SMALL | BESIDE | MLP, MAM, f"equal; {UNBIASED}; {STREAM}", ("t5",), BIAS),
    Case("unipelt", PELT, UNIPELT,
         f"differs: a gate of each position here, its mean over the sequence there; {UNBIASED}", APART, BIAS),
    Case("unipelt", PELT, UNIPELT, f"equal; inputs of one token, whose mean is itself; {EAGER}; {UNBIASED}", APART,
         BIAS, tokens=1),
    Case("unipelt", PELT, UNIPELT, f"equal; gates of biases alone, alike everywhere; {EAGER}; {UNBIASED}", APART,
         rf"gate.*weight|{BIAS}"),
    Case("loreft", ENDS, ["LoReftConfig", TIED], f"equal; {ONE}"),
    Case("loreft", ENDS, ["LoReftConfig", TIED | {"tied_weights": False}],
         "differs: one intervention for both ends here, by default one for each there", dropped=r"units\.1"),
    Case("loreft", ENDS, ["LoReftConfig", TIED | {"layers": "all"}],
         "differs: by default theirs changes the decoder too", PAIRS, dropped="decoder"),
    Case("noreft", ENDS, ["NoReftConfig", TIED], f"equal; {ONE}"),
    Case("direft", ENDS, ["DiReftConfig", TIED], f"equal; {ONE}"),
]  # fmt: skip
