"""Roles of modules (query, value, mlp, norm, head) by architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.errors import near

if TYPE_CHECKING:
    from torch import nn

ALIASES = {
    "attention": ("query", "key", "value", "output"),
    "mlp": ("gate", "up", "down"),
    "conv": ("reduce", "spatial", "restore"),  # of a residual block: 1 x 1, 3 x 3, 1 x 1
    "back": ("output", "down", "restore"),  # projections back to the width of the block
}
NORM = "norm"  # the only role given by a layer's type, not its name
LAYERS = {  # types of roles; of all others: Family.projection
    NORM: "norm",
    "embedding": "Embedding",
    "head": "Linear",
    "stem": "Conv2d",
    "spatial": "Conv2d",
}
FITS = {  # layer type -> classes; some ConvNeXts compute their mlp as 1 x 1 convolutions
    "Linear": {"Linear", "Conv2d"},
    "Conv1D": {"Conv1D"},
    "Conv2d": {"Conv2d"},
    "Embedding": {"Embedding"},
}


IDLE = frozenset({"contact_head"})  # modules that no task uses: ESM's head for contacts


@dataclass(frozen=True, kw_only=True)
class Family:
    """Architecture; a fused projection is one suffix with several roles."""

    modules: Mapping[str, str]  # ending of a module's name -> its roles, separated by blanks
    default: tuple[str, ...]  # roles that methods wrap by default
    scaled: tuple[str, ...] = ("key", "value", "down")  # roles that IA3 scales
    projection: str  # layer type of the projections: Linear, Conv2d, or GPT-2's Conv1D
    biases: bool  # some layers carry a bias vector


SETS = ("default", "scaled")  # names of fields of Family
LINEAR = ("attention", "mlp")  # all linear projections of the blocks, as in QLoRA (Dettmers et al. 2023)
FUSED = ("query", "key", "value", "down")  # `scaled` of fused projections; scaling queries is like scaling keys

_LLAMA = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "embed_tokens": "embedding",
    "lm_head": "head",
}
_BART = {  # cross-attention has the roles of self-attention
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "output",
    "fc1": "up",
    "fc2": "down",
    "shared": "embedding",
    "embed_tokens": "embedding",
    "lm_head": "head",
}
_T5 = {  # gated feed-forward (T5 1.1, mT5): the activation acts on wi_0
    "q": "query",
    "k": "key",
    "v": "value",
    "o": "output",
    "wi_0": "gate",
    "wi_1": "up",
    "wo": "down",
    "shared": "embedding",
    "embed_tokens": "embedding",
    "lm_head": "head",
}
_GPT2 = {
    "attn.c_attn": "query key value",
    "attn.c_proj": "output",
    "mlp.c_fc": "up",
    "mlp.c_proj": "down",
    "wte": "embedding",
    "lm_head": "head",
}
_ESM = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "output",
    "intermediate.dense": "up",
    "output.dense": "down",
    "word_embeddings": "embedding",
}
_DEBERTA = {
    "attention.self.query_proj": "query",
    "attention.self.key_proj": "key",
    "attention.self.value_proj": "value",
    "attention.output.dense": "output",
    "intermediate.dense": "up",
    "output.dense": "down",
    "word_embeddings": "embedding",
}
_MODERNBERT = {
    "attn.Wqkv": "query key value",
    "attn.Wo": "output",
    "mlp.Wi": "gate up",
    "mlp.Wo": "down",
    "tok_embeddings": "embedding",
}
_WAV2VEC2 = {  # without its convolutions, which read samples and stay frozen
    "attention.q_proj": "query",
    "attention.k_proj": "key",
    "attention.v_proj": "value",
    "attention.out_proj": "output",
    "feed_forward.intermediate_dense": "up",
    "feed_forward.output_dense": "down",
}
# WavLM's attention reads the weights of its projections directly, so a wrapper around them would never be called.
_WAVLM = {name: role for name, role in _WAV2VEC2.items() if not name.startswith("attention")}
_WHISPER = {  # as in BART; the encoder alone has no tokens
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "output",
    "fc1": "up",
    "fc2": "down",
    "embed_tokens": "embedding",
    "proj_out": "head",
}
_VIT = {
    "attn.qkv": "query key value",
    "attn.proj": "output",
    "mlp.fc1": "up",
    "mlp.fc2": "down",
    "patch_embed.proj": "stem",
}
_SWIN = _VIT | {"downsample.reduction": "merge"}
# Without the depthwise 7 x 7 convolutions, for which no low-rank update exists.
_CONVNEXT = {
    "mlp.fc1": "up",
    "mlp.fc2": "down",
    "stem.0": "stem",
    "stem.1": "stem",  # overlapping convolutions of small variants
    "stem.2": "stem",
    "downsample.1": "spatial",
}
_RESNET = {  # a basic block (ResNet-18, -34) has no third convolution
    "conv1": "reduce",
    "conv2": "spatial",
    "conv3": "restore",
    "downsample.0": "shortcut",
    "downsample.1": "shortcut",  # after an average over 2 x 2
    "encoder.conv1": "stem",
    "conv1.0": "stem",  # a stem of three convolutions, and one instead of the pooling
    "conv1.3": "stem",
    "conv1.6": "stem",
    "maxpool.0": "stem",
}
# A block's first and last 1 x 1 convolutions; without the depthwise ones between them, as in ConvNeXt.
_EFFICIENTNET = {
    "conv_pw": "reduce",  # which widens here; of a block that does not, its only one
    "conv_pwl": "restore",
    "conv_stem": "stem",
    "conv_head": "merge",  # into the features that a head reads
}

PRENORM = {  # feed-forward, and the norm that it reads, in blocks that normalise before the residual sum
    "llama": ("mlp", "post_attention_layernorm"),
    "qwen3": ("mlp", "post_attention_layernorm"),
    "gpt2": ("mlp", "ln_2"),
    "mbart": ("fc1", "final_layer_norm"),
    "m2m_100": ("fc1", "final_layer_norm"),
    "t5": ("DenseReluDense", "layer_norm"),
    "mt5": ("DenseReluDense", "layer_norm"),
    "esm": ("intermediate", "LayerNorm"),
    "modernbert": ("mlp", "mlp_norm"),
    "wav2vec2": ("feed_forward", "final_layer_norm"),
    "hubert": ("feed_forward", "final_layer_norm"),
    "wavlm": ("feed_forward", "final_layer_norm"),
    "whisper": ("fc1", "final_layer_norm"),
    "vision_transformer": ("mlp", "norm2"),
    "swin_transformer": ("mlp", "norm2"),
}

FAMILIES = {  # Hugging Face config.model_type, or timm's module -> names
    "llama": Family(modules=_LLAMA, default=LINEAR, projection="Linear", biases=False),
    "qwen3": Family(modules=_LLAMA, default=LINEAR, projection="Linear", biases=False),
    "gpt2": Family(modules=_GPT2, default=LINEAR, scaled=FUSED, projection="Conv1D", biases=True),
    "mbart": Family(modules=_BART, default=LINEAR, projection="Linear", biases=True),
    "m2m_100": Family(modules=_BART, default=LINEAR, projection="Linear", biases=True),
    "t5": Family(modules=_T5 | {"wi": "up"}, default=LINEAR, projection="Linear", biases=False),  # wi: T5 1.0
    "mt5": Family(modules=_T5, default=LINEAR, projection="Linear", biases=False),
    "bert": Family(modules=_ESM, default=LINEAR, projection="Linear", biases=True),
    "roberta": Family(modules=_ESM, default=LINEAR, projection="Linear", biases=True),
    "xlm-roberta": Family(modules=_ESM, default=LINEAR, projection="Linear", biases=True),
    "deberta-v2": Family(modules=_DEBERTA, default=LINEAR, projection="Linear", biases=True),
    "modernbert": Family(modules=_MODERNBERT, default=LINEAR, scaled=FUSED, projection="Linear", biases=False),
    "esm": Family(modules=_ESM, default=LINEAR, projection="Linear", biases=True),
    "wav2vec2": Family(modules=_WAV2VEC2, default=LINEAR, projection="Linear", biases=True),
    "hubert": Family(modules=_WAV2VEC2, default=LINEAR, projection="Linear", biases=True),
    "wavlm": Family(modules=_WAVLM, default=("mlp",), scaled=("down",), projection="Linear", biases=True),
    "whisper": Family(modules=_WHISPER, default=LINEAR, projection="Linear", biases=True),
    "vision_transformer": Family(modules=_VIT, default=LINEAR, scaled=FUSED, projection="Linear", biases=True),
    "swin_transformer": Family(modules=_SWIN, default=LINEAR, scaled=FUSED, projection="Linear", biases=True),
    "convnext": Family(modules=_CONVNEXT, default=("mlp",), scaled=("down",), projection="Linear", biases=True),
    # IA3's paper has no convolutions: all of a block's are scaled
    "resnet": Family(modules=_RESNET, default=("conv",), scaled=("conv",), projection="Conv2d", biases=True),
    "efficientnet": Family(
        modules=_EFFICIENTNET, default=("conv",), scaled=("conv",), projection="Conv2d", biases=True
    ),
}


def expand(family: str, chosen: Sequence[str]) -> list[str]:
    """Expand SETS and aliases into the atomic roles that the family has."""
    has = _roles(family)
    names = [w for word in chosen for w in (getattr(FAMILIES[family], word) if word in SETS else (word,))]
    return sorted({role for word in names for role in (set(ALIASES[word]) & has if word in ALIASES else {word})})


def refusal(family: str, chosen: Sequence[str]) -> str | None:
    """Give the reason why these roles cannot be chosen, as far as the family decides."""
    if family not in FAMILIES:
        return f"no roles for '{family}': add it to benchmark/backbones/roles.py (known: {', '.join(sorted(FAMILIES))})"
    has, anywhere = _roles(family), {role for name in FAMILIES for role in _roles(name)}
    valid = anywhere | {*ALIASES, *SETS}
    for word in chosen:
        if word not in valid:
            return f"no role '{word}'{near(word, valid)}"
        if word in anywhere - has or (word in ALIASES and not has & set(ALIASES[word])):
            return f"{family} has no module with the role '{word}' (it has: {', '.join(sorted(has))})"
    roles = set(expand(family, chosen))
    for suffix, played in FAMILIES[family].modules.items():
        missing = sorted(set(played.split()) - roles)
        if missing and roles & set(played.split()):
            given = ", ".join(sorted(roles & set(played.split())))
            return f"{family} fuses {played.replace(' ', ', ')} in {suffix}: {given} needs {', '.join(missing)} too"
    return None


def resolve(modules: Mapping[str, nn.Module], family: str, roles_chosen: Sequence[str]) -> list[str]:
    """List the modules with these roles, in order. Raises ValueError with a reason."""
    reason = refusal(family, roles_chosen)
    if reason:
        raise ValueError(reason)
    roles = set(expand(family, roles_chosen))
    chosen, present = [], set()
    for name, module in modules.items():
        played = set(of(name, module, family))
        if played and played <= roles:
            chosen.append(name)
            present |= played
    # A role that is named itself must exist; an alias may have roles that a network lacks: T5 1.0 has no gate.
    absent = sorted({word for word in roles_chosen if word in roles} - present)
    if absent:
        raise ValueError(f"this {family} network has no module with the role {', '.join(absent)}")
    return chosen


def of(name: str, module: nn.Module, family: str) -> list[str]:
    """List the roles of a module, by its name and type.

    The type matters because one name may be a convolution in one network, and a norm or a pooling in another.
    """
    types = {kind.__name__ for kind in type(module).__mro__}
    if any("Norm" in kind for kind in types):
        return [] if getattr(module, "weight", None) is None else [NORM]
    return [role for role in _played(name, family) if types & FITS[LAYERS.get(role, FAMILIES[family].projection)]]


def plays(name: str, family: str, atomic: Sequence[str]) -> bool:
    """Say whether a layer's name has one of these atomic roles; never for norms."""
    return bool(set(_played(name, family)) & set(atomic))


def prenorm(up: str, family: str) -> str | None:
    """Name the norm before an up-projection's feed-forward, if it is known."""
    if family not in PRENORM:
        return None
    feed_forward, norm = PRENORM[family]
    return f"{f'.{up}'.rpartition(f'.{feed_forward}')[0]}.{norm}".removeprefix(".")


def layers(family: str, chosen: Sequence[str]) -> set[str]:
    """Give the layer types of roles: Linear, Conv1D, Conv2d, Embedding, norm."""
    return {LAYERS.get(role, FAMILIES[family].projection) for role in expand(family, chosen)}


def _roles(family: str) -> set[str]:
    return {NORM} | {role for played in FAMILIES[family].modules.values() for role in played.split()}


def _played(name: str, family: str) -> list[str]:
    """Look up the longest matching ending: 'model.norm' before 'norm'."""
    parts = name.split(".")
    for start in range(len(parts)):
        played = FAMILIES[family].modules.get(".".join(parts[start:]))
        if played:
            return played.split()
    return []
