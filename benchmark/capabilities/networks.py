"""Random networks of every architecture, of two blocks of width 32, and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import timm
import torch
import transformers
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet
from torch import nn

from benchmark.backbones.checkpoint import DROPOUTS, LAYER_DROPS
from benchmark.backbones.hearing import Hearing
from benchmark.backbones.protein import ProteinNetwork
from benchmark.backbones.recogniser import Recogniser
from benchmark.backbones.text import TextNetwork
from benchmark.backbones.vision import VisionNetwork, set_dropouts
from benchmark.capabilities.inputs import INPUTS
from benchmark.capabilities.shapes import (
    BART,
    BERT,
    DEBERTA,
    ESM,
    GPT2,
    IMAGES,
    LLAMA,
    MODERNBERT,
    T5,
    TOKENS,
    WAVES,
    WHISPER,
)
from benchmark.cell import Cell
from benchmark.types import IGNORED, Backbone, Budget, Head, Input, Kind, Method

LABELS = ("a", "b", "c")
CLASSES = (Kind.CLASSIFY, Kind.REGRESS)
NAMED = (Kind.CLASSIFY, Kind.MULTILABEL)  # answers that tell decoders from encoders in the table of capabilities
WHOLE = (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS)
POSITIONS = (*CLASSES, Kind.TAG)
FRAMES = (*POSITIONS, Kind.CTC)
Maker = Callable[[Head], nn.Module]


def _still(config: Any) -> Any:
    """Turn off every dropout."""
    for name in (*DROPOUTS, *LAYER_DROPS):
        if getattr(config, name, None) is not None:
            setattr(config, name, 0.0)
    return config


def _text(config: type, shape: dict[str, Any], **ids: int) -> Maker:
    auto = transformers.AutoModelForSeq2SeqLM if ids else transformers.AutoModelForCausalLM
    return lambda head: auto.from_config(_still(config(**shape, **TOKENS, **ids)))


def _esm(head: Head) -> nn.Module:
    return ProteinNetwork(
        transformers.EsmModel(_still(transformers.EsmConfig(**ESM)), add_pooling_layer=False), head, 1, 1
    )


def _bert(config: type) -> Maker:
    make = transformers.AutoModel.from_config
    return lambda head: ProteinNetwork(make(_still(config(**BERT, **TOKENS)), **BARE), head, 1, 1)


def _t5_encoder(head: Head) -> nn.Module:
    return ProteinNetwork(transformers.T5EncoderModel(_still(transformers.T5Config(**T5, **TOKENS))), head, 0, 1)


def _reader(config: type, shape: dict[str, Any], pooling: str, **options: bool) -> Maker:
    def make(head: Head) -> nn.Module:
        settings = _still(config(**shape, **TOKENS))
        settings.use_cache = False
        return TextNetwork(transformers.AutoModel.from_config(settings, **options), head, pooling)

    return make


def _waves(config: type, model: type) -> Maker:
    def make(head: Head) -> nn.Module:
        encoder = model(_still(config(**WAVES)))
        encoder.feature_extractor._requires_grad = False
        return Hearing(encoder, head)

    return make


def _whisper(head: Head) -> nn.Module:
    return Hearing(
        transformers.WhisperModel(_still(transformers.WhisperConfig(**WHISPER, **TOKENS))).get_encoder(), head
    )


def _whole_whisper(head: Head) -> nn.Module:
    return Recogniser(_still(transformers.WhisperConfig(**WHISPER | {"decoder_layers": 2}, **TOKENS)))


def _image(architecture: str) -> Maker:
    def make(head: Head) -> nn.Module:
        encoder = timm.create_model(architecture, num_classes=0, **IMAGES[architecture])
        set_dropouts(encoder, 0.0)
        return VisionNetwork(encoder, head)

    return make


def _efficientnet(head: Head) -> nn.Module:
    """Build a network like EfficientNet-Lite, whose makers in timm take no widths."""
    stages = decode_arch_def([["ds_r1_k3_s1_e1_c16"], ["ir_r2_k3_s2_e2_c32"]])
    encoder = EfficientNet(stages, num_classes=0, stem_size=16, num_features=32, act_layer=nn.ReLU6)
    set_dropouts(encoder, 0.0)
    return VisionNetwork(encoder, head)


BARE = {"add_pooling_layer": False}
DECODES = {"decoder_start_token_id": 3}
NETWORKS: dict[str, tuple[str, Input, tuple[Kind, ...], Maker]] = {  # name -> architecture, input, kinds, maker
    "llama": ("llama", Input.TEXT, (Kind.CAUSAL_LM,), _text(transformers.LlamaConfig, LLAMA)),
    "qwen3": ("qwen3", Input.TEXT, (Kind.CAUSAL_LM,), _text(transformers.Qwen3Config, LLAMA)),
    "gpt2": ("gpt2", Input.TEXT, (Kind.CAUSAL_LM,), _text(transformers.GPT2Config, GPT2)),
    "mbart": ("mbart", Input.TEXT, (Kind.SEQ2SEQ,), _text(transformers.MBartConfig, BART, **DECODES)),
    "m2m_100": ("m2m_100", Input.TEXT, (Kind.SEQ2SEQ,), _text(transformers.M2M100Config, BART, **DECODES)),
    "t5": ("t5", Input.TEXT, (Kind.SEQ2SEQ,), _text(transformers.T5Config, T5, **DECODES)),
    "mt5": ("mt5", Input.TEXT, (Kind.SEQ2SEQ,), _text(transformers.MT5Config, T5, **DECODES)),
    "bert": ("bert", Input.TEXT, WHOLE, _reader(transformers.BertConfig, BERT, "first", **BARE)),
    "roberta": ("roberta", Input.TEXT, WHOLE, _reader(transformers.RobertaConfig, BERT, "average", **BARE)),
    "xlm-roberta": ("xlm-roberta", Input.TEXT, WHOLE, _reader(transformers.XLMRobertaConfig, BERT, "average", **BARE)),
    "deberta-v2": ("deberta-v2", Input.TEXT, WHOLE, _reader(transformers.DebertaV2Config, DEBERTA, "average")),
    "modernbert": ("modernbert", Input.TEXT, WHOLE, _reader(transformers.ModernBertConfig, MODERNBERT, "average")),
    "llama states": ("llama", Input.TEXT, NAMED, _reader(transformers.LlamaConfig, LLAMA, "last")),
    "gpt2 states": ("gpt2", Input.TEXT, NAMED, _reader(transformers.GPT2Config, GPT2, "last")),
    "vision_transformer": ("vision_transformer", Input.IMAGE, CLASSES, _image("vit_base_patch16_224")),
    "swin_transformer": ("swin_transformer", Input.IMAGE, CLASSES, _image("swin_tiny_patch4_window7_224")),
    "convnext": ("convnext", Input.IMAGE, CLASSES, _image("convnext_tiny")),
    "resnet": ("resnet", Input.IMAGE, CLASSES, _image("resnet50")),
    "efficientnet": ("efficientnet", Input.IMAGE, CLASSES, _efficientnet),
    "esm": ("esm", Input.PROTEIN, POSITIONS, _esm),
    "bert protein": ("bert", Input.PROTEIN, POSITIONS, _bert(transformers.BertConfig)),
    "roberta protein": ("roberta", Input.PROTEIN, POSITIONS, _bert(transformers.RobertaConfig)),
    "t5 encoder": ("t5", Input.PROTEIN, POSITIONS, _t5_encoder),
    "wav2vec2": ("wav2vec2", Input.AUDIO, FRAMES, _waves(transformers.Wav2Vec2Config, transformers.Wav2Vec2Model)),
    "hubert": ("hubert", Input.AUDIO, FRAMES, _waves(transformers.HubertConfig, transformers.HubertModel)),
    "wavlm": ("wavlm", Input.AUDIO, FRAMES, _waves(transformers.WavLMConfig, transformers.WavLMModel)),
    "whisper": ("whisper", Input.AUDIO, FRAMES, _whisper),
    "whisper text": ("whisper", Input.AUDIO, (Kind.SEQ2SEQ,), _whole_whisper),
}


@dataclass(frozen=True, kw_only=True)
class Tiny(Backbone):
    """Tiny network with random weights, norms and biases."""

    name: str  # a row of NETWORKS
    kinds: ClassVar[tuple[Kind, ...]] = tuple(Kind)

    @property
    def family(self) -> str:
        return NETWORKS[self.name][0]

    @property
    def reads(self) -> Input:
        return NETWORKS[self.name][1]

    def load(self, budget: Budget, head: Head) -> tuple[nn.Module, None]:
        torch.manual_seed(0)
        model = NETWORKS[self.name][3](head).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p), alpha=0.1)
            _settle(model, self.name)
        return model, None

    def skeleton(self, budget: Budget, head: Head) -> nn.Module:
        with torch.device("meta"):
            return NETWORKS[self.name][3](head)


def _settle(model: nn.Module, name: str) -> None:
    """Set running statistics from a batch."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 1.0
        module.train()
    if norms:
        model(**_inputs(name, 16, torch.Generator().manual_seed(0)))
    model.eval()


@dataclass(frozen=True)
class Probe:
    """Substitute for a task, with the attributes that methods read."""

    reads: Input
    kinds: tuple[Kind, ...]

    def longest(self, kind: Kind) -> int:
        return 0

    def fitted(self, _: object) -> Probe:
        return self

    def conflict(self, _: Cell) -> None:
        return None


BUDGET = Budget(
    description="", steps=20, batch_size=4, micro_batches=1, warmup=0.0, weight_decay=0.0, clip=1.0, dropout=0.0,
    precision="fp32", evaluations=1, eval_batch_size=4, max_valid=4, max_test=None, max_seconds=None, shard=None,
)  # fmt: skip

HEAD_LR = {kind: 0.05 for kind in Kind if kind.new_head}


def cell(name: str, method: Method, kind: Kind | None = None) -> Cell:
    """Make a cell of a method and a tiny network, by default of its first kind."""
    _, reads, kinds, _ = NETWORKS[name]
    probe = Probe(reads, (kind or kinds[0],))
    return Cell(task=probe, method=method, backbone=tiny(name), budget=BUDGET, seed=0)


def tiny(name: str) -> Tiny:
    """Make the backbone of a tiny network."""
    return Tiny(description="", lr_scale=1.0, head_lr=HEAD_LR, name=name)


def head(kind: Kind) -> Head:
    """Describe the head for the batches below."""
    return Head(kind, labels=LABELS if kind.new_head and kind != Kind.REGRESS else ())


def bare(name: str, kind: Kind | None = None) -> nn.Module:
    """Build a network in eval mode, with the same weights every time."""
    return tiny(name).load(BUDGET, head(kind or NETWORKS[name][2][0]))[0]


def batch(name: str, kind: Kind | None = None, size: int = 4, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw random inputs and answers; the last row is shorter than the others."""
    kind = kind or NETWORKS[name][2][0]
    rng = torch.Generator().manual_seed(seed)
    inputs = _inputs(name, size, rng)
    return inputs | {"labels": _answers(name, kind, inputs, size, rng)}


def _inputs(name: str, size: int, rng: torch.Generator) -> dict[str, torch.Tensor]:
    return INPUTS[name if name in INPUTS else NETWORKS[name][1]](size, rng)


POSITIONS_OF = {"esm": 6, "bert protein": 6, "roberta protein": 6, "t5 encoder": 7, "whisper": 20}  # others: 12 frames


def _answers(name: str, kind: Kind, inputs: dict[str, torch.Tensor], size: int, rng: torch.Generator) -> torch.Tensor:
    if kind == Kind.REGRESS:
        return 2 + 0.1 * torch.randn(size, generator=rng)
    if kind == Kind.MULTILABEL:
        return (torch.rand(size, len(LABELS), generator=rng) < 0.2).float()
    shape = {Kind.CLASSIFY: (size,), Kind.CTC: (size, 3), Kind.TAG: (size, POSITIONS_OF.get(name, 12))}.get(
        kind, (size, 8)
    )
    rare = torch.rand(shape, generator=rng) < 0.2
    usual, unusual = (7, 9) if not kind.new_head else (0, 1)
    labels = torch.where(rare, unusual, usual)
    if kind == Kind.CAUSAL_LM:
        labels[inputs["attention_mask"] == 0] = IGNORED
        labels[:, 0] = IGNORED  # as in every task: no token precedes it, except those of a prompt
    elif kind == Kind.CTC:
        labels[-1, 2:] = IGNORED
    elif kind == Kind.TAG:
        labels[-1, -2:] = IGNORED
    return labels
