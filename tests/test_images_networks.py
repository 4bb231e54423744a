"""Networks of timm: their roles, and what methods do to them."""

import re

import peft
import pytest
import timm
import torch
from networks import THREE_CLASSES, VISION, vision_network
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from benchmark.backbones import roles, vision
from benchmark.config import registry
from benchmark.config.build import build
from benchmark.config.compose import cell_of
from benchmark.config.registry import CONFIGS
from benchmark.errors import InputError
from benchmark.methods import houlsby

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')


def attached(cell, weights=None):
    """Load and attach, with every trained parameter moved from its start."""
    torch.manual_seed(0)
    model, processor = cell.backbone.load(cell.budget, THREE_CLASSES)
    model = cell.method.attach(model, cell)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "new_head" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval(), processor


def pixels_for(side=32):
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(2))


def vision_configurations():
    nodes = {f.stem: OmegaConf.load(f) for f in sorted((CONFIGS / "backbone").glob("*.yaml"))}
    return {name: node for name, node in nodes.items() if node["_target_"].endswith("VisionEncoder")}


def test_every_hub_configuration_has_a_tiny_network_of_its_class():
    known = {timm.models.model_entrypoint(name) for name in VISION}
    hub = [n for n in vision_configurations().values() if not OmegaConf.is_missing(n, "checkpoint")]
    hub = [n.checkpoint for n in hub if n.checkpoint.startswith("timm/")]
    assert len(hub) >= 5
    for checkpoint in hub:
        assert checkpoint.removeprefix("timm/") in timm.list_models(pretrained=True)
        assert timm.models.model_entrypoint(checkpoint[5:].partition(".")[0]) in known


@pytest.mark.parametrize("name", ["vit_base", "vit_base_mae", "resnet50", "convnext_tiny", "swin_tiny"])
def test_a_hub_network_is_known_and_drawn_at_random_without_the_hub(name):
    cell = cell_of(["task=medical_images", "method=lora", f"backbone={name}", "backbone.weights=random"])
    assert cell.conflict() is None
    with torch.device("meta"):
        network = timm.create_model(cell.backbone._architecture, num_classes=0)
    assert roles.resolve(dict(network.named_modules(prefix="encoder")), cell.backbone.family, ["default"])
    with pytest.raises(InputError, match="cannot be downloaded"):
        cell_of(["task=medical_images", "method=lora", f"backbone={name}"]).backbone.load(cell.budget, THREE_CLASSES)


@pytest.mark.parametrize("architecture", VISION)
def test_roles_name_real_modules_and_none_is_forgotten(architecture):
    headed = vision.VisionNetwork(vision_network(architecture), THREE_CLASSES)
    family = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    modules = dict(headed.named_modules())
    played = {name for name, module in modules.items() if roles.of(name, module, family)}
    weighted = {n for n, m in modules.items() if n.startswith("encoder.") and getattr(m, "weight", None) is not None}
    missed = {n for n in weighted - played if not (isinstance(modules[n], nn.Conv2d) and modules[n].groups > 1)}
    assert missed == set()
    assert played <= weighted
    assert {n for n in weighted if roles.of(n, modules[n], family) == ["norm"]} == {
        n for n in weighted if "Norm" in type(modules[n]).__name__
    }
    assert roles.resolve(modules, family, ["stem"]) == [next(n for n, m in modules.items() if isinstance(m, nn.Conv2d))]


@pytest.mark.parametrize("architecture", VISION)
def test_default_is_every_dense_projection_of_the_blocks(architecture):
    modules = dict(vision.VisionNetwork(vision_network(architecture), THREE_CLASSES).named_modules())
    family = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    wanted = nn.Linear if roles.FAMILIES[family].projection == "Linear" else nn.Conv2d
    inside = re.compile(r"(blocks|layer)\.?\d+\.")
    outside = ("downsample.0", "downsample.reduction")  # between blocks, or beside them
    dense = [
        n
        for n, m in modules.items()
        if isinstance(m, wanted) and getattr(m, "groups", 1) == 1 and inside.search(n) and not n.endswith(outside)
    ]
    assert roles.resolve(modules, family, ["default"]) == dense
    assert roles.layers(family, ["default"]) == {wanted.__name__}


@pytest.mark.parametrize("architecture", VISION)
def test_an_adapter_on_any_role_changes_the_output_and_receives_a_gradient(architecture, image_cell):
    plain = image_cell(architecture, "method=head")
    family = plain.backbone.family
    torch.manual_seed(0)
    before = plain.backbone.load(plain.budget, THREE_CLASSES)[0].eval().encoder(pixels_for())
    modules = dict(vision.VisionNetwork(vision_network(architecture), THREE_CLASSES).named_modules())
    found = {role for name, module in modules.items() for role in roles.of(name, module, family)}
    assert found == roles._roles(family)
    fused = {role: played.split() for played in roles.FAMILIES[family].modules.values() for role in played.split()}
    for role in sorted(found - {"norm"}):
        cell = image_cell(architecture, "method=lora", f"method.targets=[{','.join(fused[role])}]", "method.rank=2")
        assert cell.conflict() is None
        model, _ = attached(cell)
        encoded = model.base_model.model.encoder(pixels_for())
        assert not torch.allclose(encoded, before, atol=1e-6), role
        model(pixels=pixels_for(), labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        trained = {n: p.grad for n, p in model.named_parameters() if "lora_" in n}
        assert trained
        assert all(g is not None and g.abs().sum() > 0 for g in trained.values()), role


OF_PEFT = {registry.node("method", name).get("peft_type") for name in registry.names("method")} - {None}
MORE = {"ADALORA", "BOFT", "CPT", "LILY", "SHADOW", "TRAINABLE_TOKENS"}  # they need more than the library


@pytest.mark.parametrize("peft_type", sorted(OF_PEFT - MORE))
def test_who_wraps_a_convolution_is_said_truly(peft_type, image_cell):
    cell = image_cell("resnet50", "method=lora")
    rank = None if peft_type in ("IA3", "LN_TUNING") else 4
    method = build(
        registry.node("method", peft_type.lower()) | {"targets": ["conv"], "rank": rank, "options": {}}, "method"
    )
    if "Conv2d" not in (method.known.wraps or ()):
        assert method.conflict(cell)
        return
    assert method.conflict(cell) is None
    bare, _ = cell.backbone.load(cell.budget, THREE_CLASSES)
    expected = bare.eval()(pixels=pixels_for()).logits
    wrapped = method.attach(bare, cell).eval()
    assert torch.allclose(wrapped(pixels=pixels_for()).logits, expected, rtol=1e-3)  # each starts from the network


def test_oft_does_not_start_from_a_3_by_3_convolution():
    """Once this fails, the facts of OFT may name Conv2d."""
    for kernel, same in ((1, True), (3, False)):
        plain = nn.Sequential(nn.Conv2d(8, 8, kernel, padding=kernel // 2))
        x = torch.randn(2, 8, 9, 9)
        expected = plain(x)
        config = peft.OFTConfig(r=0, oft_block_size=4, target_modules=["0"])
        assert torch.allclose(peft.get_peft_model(plain, config).eval()(x), expected, atol=1e-5) == same


@pytest.mark.parametrize("backbone", ["resnet50", "convnext_tiny", "vit_base"])
@pytest.mark.parametrize("method", ["prompt_tuning", "prefix_tuning"])
def test_prompts_are_refused_before_weights_are_loaded(backbone, method):
    cell = cell_of(["task=medical_images", f"method={method}", f"backbone={backbone}"])
    assert re.search(r"adds tokens to the input of a language model, and \w+ is none here", cell.conflict())


def test_text_tasks_and_image_backbones_refuse_each_other():
    cell = cell_of(["task=text_generation", "method=lora", "backbone=resnet50"])
    assert "reads text, backbone resnet50 reads image" in cell.conflict()


def test_a_bottleneck_on_a_map_is_a_pair_of_1_by_1_convolutions(image_cell):
    cell = image_cell("resnet50", "method=houlsby", "method.bottleneck=3")
    model, _ = attached(cell)
    places = [n for n, m in model.named_modules() if isinstance(m, houlsby.Bottleneck)]
    assert [n.rpartition(".adapter")[0] for n in places] == [
        n for n, _ in model.named_modules() if n.endswith(".conv3")
    ]
    module = model.get_submodule("encoder.layer1.0.conv3")
    h, adapter = torch.randn(2, 16, 5, 6), module.adapter
    plain = F.conv2d(h, module.weight)
    inner = F.gelu(F.conv2d(plain, adapter.down.weight[:, :, None, None], adapter.down.bias))
    expected = plain + F.conv2d(inner, adapter.up.weight[:, :, None, None], adapter.up.bias)
    assert torch.allclose(module(h), expected, atol=1e-5)


def test_frozen_running_statistics_stay(image_cell):
    cell = image_cell("resnet50", "method=lora", "method.rank=4")
    torch.manual_seed(0)
    bare = cell.backbone.load(cell.budget, THREE_CLASSES)[0]
    before = {n: b.clone() for n, b in bare.named_buffers() if "running" in n}
    model = cell.method.attach(bare, cell)
    from benchmark.engine.train import training_mode

    training_mode(model, cell)
    model(pixels=pixels_for())
    after = dict(model.get_base_model().named_buffers())
    assert before
    assert all(torch.equal(b, after[n]) for n, b in before.items())


def test_every_dropout_is_the_budgets_and_no_path_is_dropped():
    network = vision_network("vit_base_patch16_224", drop_path_rate=0.3, proj_drop_rate=0.2)
    vision.set_dropouts(network, 0.1)
    rates = {m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    paths = {m.drop_prob for m in network.modules() if hasattr(m, "drop_prob")}
    assert (rates, paths) == ({0.1}, {0.0})


def test_weights_under_the_names_of_openclip_are_those_of_the_tower(timm_folder):
    folder = timm_folder("vit_base_patch16_224", prefix="visual.trunk.")
    cell = cell_of(["task=medical_images", "method=head", "backbone=biomedclip", f"backbone.checkpoint={folder}"])
    model, _ = cell.backbone.load(cell.budget, THREE_CLASSES)
    expected = vision_network("vit_base_patch16_224").eval()(pixels_for())
    assert torch.equal(model.eval().encoder(pixels_for()), expected)


def test_a_folder_that_timm_cannot_use_is_refused(tmp_path):
    def backbone(folder):
        return cell_of(["task=medical_images", "method=head", "backbone=timm_network", f"backbone.checkpoint={folder}"])

    with pytest.raises(InputError, match=r"no config.json file in .* timm's layout"):
        backbone(tmp_path).backbone.family  # noqa: B018
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="no safetensors file"):
        backbone(tmp_path).backbone.family  # noqa: B018
    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="names no architecture"):
        backbone(tmp_path).backbone.family  # noqa: B018
    (tmp_path / "config.json").write_text('{"architecture": "mobilenetv3_small_050"}')
    with pytest.raises(InputError, match=r"mobilenetv3_small_050 is of timm's mobilenetv3, one of vision_transformer"):
        backbone(tmp_path).backbone.family  # noqa: B018
    (tmp_path / "config.json").write_text('{"architecture": "resnet51"}')
    with pytest.raises(InputError, match="timm has no architecture 'resnet51'"):
        backbone(tmp_path).backbone.family  # noqa: B018
