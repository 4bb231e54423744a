"""Architectures: what each calls query, value, mlp, norm and head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Family:
    """Architecture; a fused projection is one suffix with several roles."""

    modules: Mapping[str, str]  # ending of a module's name -> its roles, separated by blanks
    default: tuple[str, ...]  # roles that methods wrap by default
    scaled: tuple[str, ...] = ("key", "value", "down")  # roles that IA3 scales
    projection: str  # layer type of the projections: Linear, Conv2d, or GPT-2's Conv1D
    biases: bool  # some layers carry a bias vector


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
