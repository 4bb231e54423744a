"""Roles in any network of timm: layers of the right type, every norm."""

import pytest
import timm
import torch
from timm.layers import EvoNorm2dS0, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d
from timm.layers.grn import GlobalResponseNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.backbones import roles
from benchmark.backbones.vision import VisionNetwork
from benchmark.errors import InputError
from benchmark.methods.layers import modules_with
from benchmark.types import Head, Kind

NORMS = (
    nn.LayerNorm, nn.GroupNorm, _BatchNorm, RmsNorm, RmsNorm2d, SimpleNorm, SimpleNorm2d, GlobalResponseNorm,
    EvoNorm2dS0,
)  # fmt: skip
FEW = (  # each has something that its family's first network has not: a deep stem, pooled shortcuts, norms of attention
    "resnet18d", "resnetrs50", "seresnext26d_32x4d", "convnext_atto_ols", "convnext_zepto_rms_ols", "convnextv2_atto",
    "convnext_tiny_hnf", "test_vit3", "aimv2_large_patch14_224", "beit3_base_patch16_224", "vit_small_patch16_18x2_224",
    "vit_pwee_patch16_reg1_gap_256", "vit_dpwee_patch16_reg1_gap_256", "swin_tiny_patch4_window7_224",
    "tf_efficientnet_lite0", "efficientnetv2_rw_t", "test_efficientnet_evos",
)  # fmt: skip


def family_of(architecture):
    return timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]


def network(architecture):
    """Build it without weights, under a head."""
    with torch.device("meta"):
        return VisionNetwork(timm.create_model(architecture, num_classes=0), Head(Kind.CLASSIFY, ("a", "b", "c")))


def numbers(modules):
    return {id(p): p.numel() for module in modules for p in module.parameters(recurse=False)}


def misplaced(architecture):
    """List where roles disagree with the types of layers."""
    model, family = network(architecture), family_of(architecture)
    wanted = sum(numbers(m for m in model.modules() if isinstance(m, NORMS)).values())
    found = sum(p.numel() for module in modules_with(model, family, ["norm"]).values() for p in module.parameters())
    wrong = [] if found == wanted else [f"norms of {found:,} parameters, {wanted:,} wanted"]
    for role in sorted(roles._roles(family) - {"norm"}):
        try:
            modules = modules_with(model, family, [role])
        except InputError:  # a role of the family that this network lacks, or has in one with others
            continue
        wrong += [f"{role}: {n}" for n, m in modules.items() if not isinstance(m, nn.Linear | nn.Conv2d)]
    return wrong


@pytest.mark.parametrize("architecture", FEW)
def test_what_plays_a_role_is_a_layer_of_its_type(architecture):
    assert misplaced(architecture) == []


@pytest.mark.slow
def test_so_it_is_in_every_network_of_timm():
    names = [name for name in timm.list_models() if family_of(name) in roles.FAMILIES]
    assert len(names) > 250
    assert {name: wrong for name in names if (wrong := misplaced(name))} == {}


def test_a_pooled_shortcut_is_no_norm():
    model = network("resnet18d")
    # two of a block of 64, 128, 256 and 512 channels twice over, three more at shortcuts, and a stem of 32, 32 and 64
    gains = 4 * (64 + 128 + 256 + 512) + (128 + 256 + 512) + (32 + 32 + 64)
    found = modules_with(model, "resnet", ["norm"])
    assert sum(p.numel() for module in found.values() for p in module.parameters()) == 2 * gains == 9_728
    shortcuts = modules_with(model, "resnet", ["shortcut"])
    assert list(shortcuts) == [f"encoder.layer{i}.0.downsample.1" for i in (2, 3, 4)]
