"""Tiny random networks of every family, of the shapes that the gate has.

2 layers, width 32, feed-forward 48 (GPT-2: 128), vocabulary 50.
"""

import json
from types import SimpleNamespace

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from benchmark.backbones.hearing import Hearing
from benchmark.backbones.speech import Speech
from benchmark.capabilities import networks as gate
from benchmark.capabilities.networks import BART, GPT2, IMAGES, LLAMA, T5, TOKENS, WAVES, WHISPER
from benchmark.capabilities.probe import method_of
from benchmark.types import Head, Input, Kind
from tasks.toy import Toy

CONFIGS = {
    "llama": (transformers.LlamaConfig, LLAMA),
    "qwen3": (transformers.Qwen3Config, LLAMA),
    "gpt2": (transformers.GPT2Config, GPT2),
    "mbart": (transformers.MBartConfig, BART),
    "m2m_100": (transformers.M2M100Config, BART),
    "t5": (transformers.T5Config, T5),
    "mt5": (transformers.MT5Config, T5),
}
SEQ2SEQ = {"mbart", "m2m_100", "t5", "mt5"}


def network(family, **changes):
    """Build the network in eval mode, with random weights, norms and biases."""
    tokens = TOKENS | ({"decoder_start_token_id": 3} if family in SEQ2SEQ else {})
    kind, shape = CONFIGS[family]
    config = kind(**shape | tokens | changes)
    auto = transformers.AutoModelForSeq2SeqLM if family in SEQ2SEQ else transformers.AutoModelForCausalLM
    torch.manual_seed(0)
    return shake(auto.from_config(config).eval())


def shake(model, scale=0.1):
    """Move every weight, so that none is one or zero by luck."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p), alpha=scale)
    return model


def cell(family):
    """Stand in for a cell: what a method may ask of it."""
    kind = Kind.SEQ2SEQ if family in SEQ2SEQ else Kind.CAUSAL_LM

    def skeleton(budget, head):
        with torch.device("meta"):
            return network(family)

    backbone = SimpleNamespace(family=family, skeleton=skeleton, reads=Input.TEXT)
    budget = SimpleNamespace(steps=20)
    return SimpleNamespace(kind=kind, backbone=backbone, budget=budget, seed=0)


def batch(seed=0):
    """Give random tokens, the network's input and its labels."""
    ids = torch.randint(4, 50, (3, 6), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.flip(0)}


def attach(name, network, noise=0.0, **changes):
    """Attach a method to a network of the gate; noise moves what it adds from its start."""
    place = gate.cell(network, method_of(name, changes))
    assert place.conflict() is None
    model = place.method.attach(gate.bare(network), place)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if noise and p.requires_grad and ".new_head." not in f".{key}" and "base.parametrizations" not in key:
                p.add_(torch.randn_like(p), alpha=noise)
    return place.method, model


# Checkpoints that know the toy data

SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
TOY_LLAMA = LLAMA | {"intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 256}
TOY_MBART = BART | {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 256}


def toy_tokenizer():
    """Train a byte-level BPE tokenizer on the toy strings; every byte is a token."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    splits = Toy(description="", train=64, test=16).splits()
    texts = [text for examples in splits.values() for e in examples for text in (e.source, *e.targets)]
    inner.train_from_iterator(texts, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, clean_up_tokenization_spaces=False, **SPECIAL)


def save_toy(kind, tokenizer, folder):
    """Save a random network of a kind with its tokenizer; an mBART decodes from the end token."""
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
    ids["vocab_size"] = len(tokenizer)
    if kind == "causal_lm":
        auto, config = transformers.AutoModelForCausalLM, transformers.LlamaConfig(**TOY_LLAMA, **ids)
    else:
        auto = transformers.AutoModelForSeq2SeqLM
        config = transformers.MBartConfig(**TOY_MBART, **ids, decoder_start_token_id=ids["eos_token_id"])
    torch.manual_seed(0)
    auto.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


# Networks of timm; the shapes are those of the classes of the hub configurations

THREE_CLASSES = Head(Kind.CLASSIFY, ("a", "b", "c"))
VISION = IMAGES | {"vit_base_patch16_clip_224": IMAGES["vit_base_patch16_224"], "tf_efficientnet_lite0": {}}


def vision_network(architecture, channels=3, **changes):
    torch.manual_seed(0)
    return timm.create_model(architecture, num_classes=0, in_chans=channels, **VISION[architecture], **changes)


def save_timm(folder, architecture, channels=3, prefix=""):
    """Save a network in timm's layout; prefix: of the names of its weights."""
    state = {f"{prefix}{name}": tensor for name, tensor in vision_network(architecture, channels).state_dict().items()}
    save_file(state, folder / "model.safetensors")
    size = [channels, 32, 32]
    config = {
        "architecture": architecture,
        "num_classes": 0,
        "model_args": {**VISION[architecture], "in_chans": channels},
        "pretrained_cfg": {
            "input_size": size, "mean": [0.4] * channels, "std": [0.2] * channels, "interpolation": "bilinear",
            "num_classes": 0, "first_conv": None, "classifier": None,
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


OF_WAVES = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "conv_dim", "conv_kernel",
    "conv_stride", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups",
)  # fmt: skip
SHAPE = {key: WAVES[key] for key in OF_WAVES}  # without the dropouts and masks that the gate takes out
LAYERED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LISTENING = WHISPER | TOKENS | {"max_source_positions": 50}
SPEECH = {  # the class of every configuration of the hub, and our own shape
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model, SHAPE),
    "wav2vec2 layered": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model, SHAPE | LAYERED),
    "hubert": (transformers.HubertConfig, transformers.HubertModel, SHAPE),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel, SHAPE),
    "whisper": (transformers.WhisperConfig, transformers.WhisperModel, LISTENING),
}
SPEECH_LABELS = ("go", "stop", "yes")


def speech_encoder(name):
    """Build a random network whose every parameter is random, norms and biases too."""
    config, model, shape = SPEECH[name]
    torch.manual_seed(0)
    network = model(config(**shape, layerdrop=0.0) if name != "whisper" else config(**shape)).eval()
    return shake(network).get_encoder() if name == "whisper" else shake(network)


def speech_network(name, kind=Kind.CLASSIFY, weighted=False):
    torch.manual_seed(1)
    return Hearing(speech_encoder(name), Head(kind, labels=SPEECH_LABELS), weighted).eval()


def feature_extractor(name):
    if name == "whisper":
        return transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=1)
    return transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, do_normalize=True, return_attention_mask=False)


def sound_batch(name, *lengths):
    """Give random clips as the network reads them."""
    rng = np.random.default_rng(0)
    clips = [rng.standard_normal(n).astype(np.float32) for n in lengths]
    rate = feature_extractor(name).sampling_rate
    padding = "max_length" if name == "whisper" else "longest"
    return dict(
        feature_extractor(name)(
            clips, sampling_rate=rate, padding=padding, return_attention_mask=True, return_tensors="pt"
        )
    )


def speech_family(name):
    return name.split()[0]


def save_speech(name, where):
    where.mkdir(parents=True, exist_ok=True)
    config, model, shape = SPEECH[name]
    torch.manual_seed(0)
    model(config(**shape)).save_pretrained(where)
    feature_extractor(name).save_pretrained(where)
    return where


def speech_backbone(where, **changes):
    fields = {"description": "", "lr_scale": 1.0, "head_lr": None, "revision": None, "weights": "pretrained"}
    return Speech(**{**fields, "layers": "last", "checkpoint": str(where), **changes})
