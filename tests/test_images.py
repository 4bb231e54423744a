"""Images: files, embedded section, networks of timm, effects of adapters."""

import csv
import io
import json
import os
import re
import shutil
import struct
import zlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import datasets
import numpy as np
import peft
import pytest
import timm
import torch
from factories import run_cell
from omegaconf import OmegaConf
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')

from benchmark import run
from benchmark.backbones import roles, vision
from benchmark.backbones.headed import pretraining_loss
from benchmark.config import registry
from benchmark.config.build import build
from benchmark.config.compose import CONFIGS, cell_of, task_of
from benchmark.errors import InputError
from benchmark.methods import houlsby
from benchmark.records import Record
from benchmark.saved import load
from benchmark.types import Bad, Example, Head, Kind
from tasks.common import Reading
from tasks.embedded import histology, textures
from tasks.image_files import ImageHub, ImageTable
from tasks.pictures import Picture, square
from tasks.splits import complete

TINY = {  # architecture -> what makes it small; the first four are the classes of the hub configurations
    "vit_base_patch16_224": {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "vit_base_patch16_clip_224": {"img_size": 32, "patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2},
    "swin_tiny_patch4_window7_224": {
        "img_size": 32, "window_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 2]
    },
    "convnext_tiny": {"depths": [1, 1, 1, 2], "dims": [4, 8, 8, 16]},
    "resnet50": {"layers": [2, 1, 1, 1], "channels": [4, 4, 8, 8]},
}  # fmt: skip
THREE = Head(Kind.CLASSIFY, ("a", "b", "c"))
EMBEDDED = Path(vision.__file__).parent / "embedded"


def network_of(architecture, channels=3, **changes):
    torch.manual_seed(0)
    network = timm.create_model(architecture, num_classes=0, in_chans=channels, **TINY[architecture], **changes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm starts some at zero, which lets nothing through
            nn.init.ones_(module.weight)
    return network


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Write a tiny checkpoint in timm's layout: folder_of("resnet50", channels=1)."""

    def write(architecture, channels=3, prefix=""):
        folder = tmp_path_factory.mktemp(architecture)
        network = network_of(architecture, channels)
        state = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
        save_file(state, folder / "model.safetensors")
        size = [channels, 32, 32]
        config = {
            "architecture": architecture,
            "num_classes": 0,
            "model_args": {**TINY[architecture], "in_chans": channels},
            "pretrained_cfg": {
                "input_size": size, "mean": [0.4] * channels, "std": [0.2] * channels, "interpolation": "bilinear",
                "num_classes": 0, "first_conv": None, "classifier": None,
            },
        }  # fmt: skip
        (folder / "config.json").write_text(json.dumps(config))
        return folder

    return write


@pytest.fixture(scope="session")
def tiny(folder_of):
    """The folder of each tiny network, made once."""
    made = {}
    return lambda name, channels=3: made.setdefault((name, channels), folder_of(name, channels))


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """An npz like MedMNIST's: class 0 bright on the left, class 1 on the right."""
    rng = np.random.default_rng(0)
    arrays = {}
    for word, number in (("train", 32), ("val", 8), ("test", 12)):
        labels = np.arange(number) % 2
        images = rng.integers(0, 60, (number, 12, 12), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 6 * label : 6 * label + 6] += 150
        arrays |= {f"{word}_images": images, f"{word}_labels": labels[:, None].astype(np.uint8)}
    file = tmp_path_factory.mktemp("npz") / "halves.npz"
    np.savez(file, **arrays)
    return file


@pytest.fixture
def image_cell(tiny, archive):
    """Build a cell on the npz: image_cell("resnet50", "method=lora")."""

    def make(architecture, *words, channels=3):
        chosen = ["task=medical_images", "data=image_npz", f"data.file={archive}", "task.size=12", "budget=smoke"]
        chosen += ["backbone=timm_network", f"backbone.checkpoint={tiny(architecture, channels)}"]
        return cell_of([*chosen, "backbone.lr_scale=1", *words])

    return make


def attached(cell, weights=None):
    """Load and attach, with every trained parameter moved from its start."""
    torch.manual_seed(0)
    model, processor = cell.backbone.load(cell.budget, THREE)
    model = cell.method.attach(model, cell)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "new_head" not in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval(), processor


def pixels_for(side=32):
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(2))


# --- networks and roles ---


def vision_configurations():
    nodes = {f.stem: OmegaConf.load(f) for f in sorted((CONFIGS / "backbone").glob("*.yaml"))}
    return {name: node for name, node in nodes.items() if node["_target_"].endswith("VisionEncoder")}


def test_every_hub_configuration_has_a_tiny_network_of_its_class():
    known = {timm.models.model_entrypoint(name) for name in TINY}
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
        cell_of(["task=medical_images", "method=lora", f"backbone={name}"]).backbone.load(cell.budget, THREE)


@pytest.mark.parametrize("architecture", TINY)
def test_roles_name_real_modules_and_none_is_forgotten(architecture):
    headed = vision.VisionNetwork(network_of(architecture), THREE)
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


@pytest.mark.parametrize("architecture", TINY)
def test_default_is_every_dense_projection_of_the_blocks(architecture):
    modules = dict(vision.VisionNetwork(network_of(architecture), THREE).named_modules())
    family = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    wanted = nn.Conv2d if architecture == "resnet50" else nn.Linear
    inside = re.compile(r"(blocks|layer)\.?\d+\.")
    outside = ("downsample.0", "downsample.reduction")  # between blocks, or beside them
    dense = [
        n for n, m in modules.items() if isinstance(m, wanted) and inside.search(n) and not n.endswith(outside)
    ]  # fmt: skip
    assert roles.resolve(modules, family, ["default"]) == dense
    assert roles.layers(family, ["default"]) == {wanted.__name__}


@pytest.mark.parametrize("architecture", TINY)
def test_an_adapter_on_any_role_changes_the_output_and_receives_a_gradient(architecture, image_cell):
    plain = image_cell(architecture, "method=head")
    family = plain.backbone.family
    torch.manual_seed(0)
    before = plain.backbone.load(plain.budget, THREE)[0].eval().encoder(pixels_for())
    modules = dict(vision.VisionNetwork(network_of(architecture), THREE).named_modules())
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
    bare, _ = cell.backbone.load(cell.budget, THREE)
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
    h, adapter = torch.randn(2, 4, 5, 6), module.adapter
    plain = F.conv2d(h, module.weight)
    inner = F.gelu(F.conv2d(plain, adapter.down.weight[:, :, None, None], adapter.down.bias))
    expected = plain + F.conv2d(inner, adapter.up.weight[:, :, None, None], adapter.up.bias)
    assert torch.allclose(module(h), expected, atol=1e-5)


def test_frozen_running_statistics_stay(image_cell):
    cell = image_cell("resnet50", "method=lora", "method.rank=4")
    torch.manual_seed(0)
    bare = cell.backbone.load(cell.budget, THREE)[0]
    before = {n: b.clone() for n, b in bare.named_buffers() if "running" in n}
    model = cell.method.attach(bare, cell)
    from benchmark.engine.train import training_mode

    training_mode(model, cell)
    model(pixels=pixels_for())
    after = dict(model.get_base_model().named_buffers())
    assert before
    assert all(torch.equal(b, after[n]) for n, b in before.items())


def test_every_dropout_is_the_budgets_and_no_path_is_dropped():
    network = network_of("vit_base_patch16_224", drop_path_rate=0.3, proj_drop_rate=0.2)
    vision.set_dropouts(network, 0.1)
    rates = {m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    paths = {m.drop_prob for m in network.modules() if hasattr(m, "drop_prob")}
    assert (rates, paths) == ({0.1}, {0.0})


def test_weights_under_the_names_of_openclip_are_those_of_the_tower(folder_of):
    folder = folder_of("vit_base_patch16_224", prefix="visual.trunk.")
    cell = cell_of(["task=medical_images", "method=head", "backbone=biomedclip", f"backbone.checkpoint={folder}"])
    model, _ = cell.backbone.load(cell.budget, THREE)
    expected = network_of("vit_base_patch16_224").eval()(pixels_for())
    assert torch.equal(model.eval().encoder(pixels_for()), expected)


def test_a_folder_that_timm_cannot_use_is_refused(tiny, tmp_path):
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
    (tmp_path / "config.json").write_text('{"architecture": "efficientnet_b0"}')
    with pytest.raises(InputError, match=r"efficientnet_b0 is of timm's efficientnet, one of vision_transformer"):
        backbone(tmp_path).backbone.family  # noqa: B018
    (tmp_path / "config.json").write_text('{"architecture": "resnet51"}')
    with pytest.raises(InputError, match="timm has no architecture 'resnet51'"):
        backbone(tmp_path).backbone.family  # noqa: B018


# --- what a network sees ---


def test_grey_is_repeated_and_colour_becomes_luminance():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    three = vision.ImageProcessor(THREE, 4, 4, 3, (0.1, 0.2, 0.3), (0.5, 0.4, 0.2), "bicubic")
    seen = three.batch([three.fit(grey)])["pixels"]
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.4), (0.3, 0.2))):
        assert np.allclose(seen[0, channel].numpy(), (grey / 255 - mean) / std, atol=1e-6)
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    one = vision.ImageProcessor(THREE, 4, 4, 1, (0.0,), (1.0,), "bicubic")
    seen = one.batch([one.fit(colour)])["pixels"]
    luminance = colour @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601
    assert seen.shape == (1, 1, 4, 4)
    assert np.allclose(seen[0, 0].numpy(), luminance, atol=1 / 255)


def test_the_whole_image_is_scaled_to_the_networks_size():
    processor = vision.ImageProcessor(THREE, 8, 8, 1, (0.0,), (1.0,), "bilinear")
    image = np.zeros((32, 32), np.uint8)
    image[:, 16:] = 255
    seen = processor.fit(image)
    assert seen.shape == (8, 8)
    assert (seen[:, :3] == 0).all()
    assert (seen[:, 5:] == 255).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_learns_the_bright_half(image_cell, channels):
    cell = image_cell("vit_base_patch16_224", "method=lora", "budget.steps=40", channels=channels)
    result = run_cell(cell)
    scores = {m.name: m.value for m in result.measurements if m.split == "test"}
    assert {"accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece"} <= scores.keys()
    assert scores["macro_f1"] > 0.9  # guessing is 0.5
    assert result.data["metric"] == "macro_f1"


# --- the embedded section ---


@pytest.fixture(scope="session")
def section():
    return cell_of(["task=medical_images", "method=head"]).task.splits()


def corners(examples):
    return [tuple(map(int, e.id.rpartition("/")[2].split("-"))) for e in examples]


def test_no_pixel_of_the_section_stands_in_two_splits(section):
    taken = {}
    for name in ("train", "valid", "test"):
        taken[name] = np.zeros((512, 512), int)
        for y, x in corners(section[name]):
            taken[name][y : y + 20, x : x + 20] += 1
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not (taken[one] & taken[other]).any()
        assert not ((taken[one] > 0) & (taken[other] > 0)).any()
        assert not {e.group for e in section[one]} & {e.group for e in section[other]}
    assert taken["test"].max() == 1  # the test's patches do not overlap each other
    assert len(section["test"]) >= 200
    assert corners(section["test/scanner"]) == corners(section["test"])


def test_the_label_is_the_third_of_the_antibody_stain_and_classes_are_balanced(section):
    from skimage import color, data

    dab = color.rgb2hed(data.immunohistochemistry())[..., 2]
    amounts = {}
    for examples in section.values():
        for (y, x), example in zip(corners(examples), examples, strict=True):
            amounts.setdefault(example.targets[0], []).append(dab[y : y + 20, x : x + 20].mean())
        shares = Counter(e.targets[0] for e in examples)
        assert len(shares) == 3
        assert min(shares.values()) > 0.3 * len(examples)
    for lower, higher in pairwise(("low", "middle", "high")):
        assert max(amounts[lower]) < min(amounts[higher])


def test_the_input_is_one_grey_channel_and_another_scanner_sees_less(section):
    plain, scanned = ([e.source for e in section[name]] for name in ("test", "test/scanner"))
    assert all(image.shape == (20, 20) and image.dtype == np.uint8 for image in [*plain, *scanned])
    assert not any(np.array_equal(a, b) for a, b in zip(plain, scanned, strict=True))
    assert 0.6 < np.mean(scanned) / np.mean(plain) < 0.85  # the strength of the stain
    assert [e.targets for e in section["test"]] == [e.targets for e in section["test/scanner"]]


def test_a_scanner_is_drawn_once_by_its_seed():
    assert histology.scanner(0) == histology.scanner(0)
    assert histology.scanner(0) != histology.scanner(1)
    image = np.tile([[0.2, 0.8]], (64, 32))
    seen = histology.rescan(image, histology.Scanner(0.5, 0.01, 0.0, 1.0), np.random.default_rng(0))
    assert np.allclose(seen, image / 2, atol=1e-6)  # neither blur, noise nor fewer pixels


def test_a_patch_that_no_tile_holds_is_refused():
    with pytest.raises(InputError, match="8 to 120 pixels fit"):
        cell_of(["task=medical_images", "method=head", "task.size=121"])


# --- pretraining ---


def corpus_of(name):
    return build(OmegaConf.to_container(OmegaConf.load(CONFIGS / "pretrain" / f"{name}.yaml").corpus), "corpus")


@pytest.mark.parametrize("name", ["vit_textures", "cnn_textures"])
def test_pretraining_reads_no_medical_image_and_holds_a_part_out(name):
    from skimage import color, data

    corpus = corpus_of(name)
    section = data.immunohistochemistry()
    greys = {section[..., c].tobytes() for c in range(3)} | {(color.rgb2gray(section) * 255).astype(np.uint8).tobytes()}
    seen, held_out = corpus.parts()
    for image, left, right in zip(corpus.images, seen, held_out, strict=True):
        whole = textures.read(image)
        assert whole.tobytes() not in greys
        joined = np.concatenate([left, right], 1)
        assert joined.shape == whole.shape  # side by side: no pixel in both
        assert np.allclose(joined, (whole - whole.mean()) / whole.std(), atol=1e-4)
        assert right.shape[1] >= 40  # the largest crop
    with pytest.raises(InputError, match="ihc is medical"):
        textures.Textures(images=["grass", "ihc"])


@pytest.mark.parametrize("name", ["vit_textures", "cnn_textures"])
def test_shipped_networks_are_small_16_bit_and_remember_their_pretraining(name):
    folder = EMBEDDED / name
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 13e6
    assert (EMBEDDED / "held_out" / f"{name}.safetensors").stat().st_size < 2e6
    with safe_open(folder / "model.safetensors", "pt") as weights:
        kinds = {str(weights.get_slice(key).get_dtype()) for key in weights.keys()}  # noqa: SIM118
    assert kinds <= {"F16", "I64"}  # a batch norm counts its batches
    assert f"python scripts/pretrain.py {name}" in (folder / "README.md").read_text()
    cell = cell_of(["task=medical_images", "method=head", f"backbone={name}"])
    model, _ = cell.backbone.load(cell.budget, THREE)
    known = cell.backbone.pretraining_loss(model.eval())
    assert known < 0.8 * np.log(len(corpus_of(name).images))  # of the images' other parts; guessing is log(15)
    assert cell.backbone.pretraining_loss(model.eval()) == known
    drawn = cell_of(["task=medical_images", "method=head", f"backbone={name}", "backbone.weights=random"])
    torch.manual_seed(0)
    random, _ = drawn.backbone.load(cell.budget, THREE)
    assert drawn.backbone.pretraining_loss(random.eval()) is None  # it has nothing to forget
    assert pretraining_loss(random, folder) > known


# --- the user's files ---


def png(file, value=100, size=(10, 10), mode="L"):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(file)
    return file


@pytest.fixture
def folders(tmp_path):
    for split, number in (("train", 4), ("val", 2), ("test", 2)):
        for label, value in (("benign", 40), ("malignant", 200)):
            for i in range(number):
                png(tmp_path / split / label / f"{i}.png", value)
    return tmp_path


def image_task(*words):
    return cell_of(["task=medical_images", "method=head", "task.size=8", "backbone.weights=random", *words]).task


def test_a_folder_of_classes_is_read(folders):
    (folders / "train" / "benign" / "notes.txt").write_text("no image")
    task = image_task("data=image_folder", f"data.folder={folders}")
    splits = task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 8, "valid": 4, "test": 4}
    assert all(e.source.shape == (8, 8) for examples in splits.values() for e in examples)
    assert {(e.targets[0], int(e.source[0, 0])) for e in splits["test"]} == {("benign", 40), ("malignant", 200)}
    with pytest.raises(InputError, match=r"nothere.*no folder with a folder per class"):
        image_task("data=image_folder", f"data.folder={folders}/nothere").splits()


def test_what_a_folder_holds_beside_images_is_counted_and_hidden_folders_are_no_classes(folders):
    train = folders / "train"
    (train / "benign" / "notes.txt").write_text("no image")
    (train / "benign" / "scan.dcm").write_bytes(b"DICM")
    (train / "loose.png").write_bytes((train / "benign" / "0.png").read_bytes())
    png(train / ".ipynb_checkpoints" / "0.png")
    png(train / "benign" / ".0.png")
    pages = [Image.new("L", (9, 9), 40 * i) for i in range(3)]
    pages[0].save(train / "benign" / "pages.tiff", save_all=True, append_images=pages[1:])
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert len(task.splits()["train"]) == 9
    assert task.reading.counts == {
        "train": {
            "files_beside_the_class_folders_not_read": 1,
            "files_not_read (.txt)": 1,
            "files_not_read (.dcm)": 1,
            "images_of_several_pages_of_which_the_first_is_read": 1,
        }
    }


def test_a_class_whose_files_are_all_unreadable_is_refused_and_one_without_test_too(folders):
    for file in (folders / "test" / "malignant").iterdir():
        file.rename(file.with_suffix(".pgm"))
    Image.new("L", (9, 9), 200).save(folders / "test" / "malignant" / "0.pgm")
    Image.new("L", (9, 9), 200).save(folders / "test" / "malignant" / "1.pgm")
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert len(task.splits()["test"]) == 4
    for file in (folders / "test" / "malignant").iterdir():
        file.rename(file.with_suffix(".dcm"))
    with pytest.raises(InputError, match=r"malignant.*none of its 2 files can be read \(.dcm\)"):
        image_task("data=image_folder", f"data.folder={folders}").splits()
    for file in (folders / "test" / "malignant").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="split test has no readable image of class 'malignant'"):
        image_task("data=image_folder", f"data.folder={folders}").splits()


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_the_folder_of_valid_has_one_of_its_usual_names(name, folders):
    (folders / "val").rename(folders / name)
    task = image_task("data=image_folder", f"data.folder={folders}")
    assert {n: len(part) for n, part in task.splits().items()} == {"train": 8, "valid": 4, "test": 4}
    assert task.reading.notes == {}
    with pytest.raises(InputError, match=r"vlaid'?: no folder with a folder per class"):
        image_task("data=image_folder", f"data.folder={folders}", "data.splits_of.valid=vlaid").splits()


def test_splits_without_a_folder_are_drawn_in_each_class_and_said(folders):
    for name in ("val", "test"):
        shutil.rmtree(folders / name)
    for label in ("benign", "malignant"):
        for i in range(4, 20):
            png(folders / "train" / label / f"{i}.png", 90)
    task = image_task("data=image_folder", f"data.folder={folders}")
    splits = task.splits()
    assert {name: Counter(e.targets[0] for e in part) for name, part in splits.items()} == {
        name: {"benign": number, "malignant": number} for name, number in (("train", 14), ("valid", 2), ("test", 4))
    }
    assert task.reading.notes["drawn_from_train"] == (
        "test 0.2 (8 examples), valid 0.1 (4 examples), by the hash of the example, in each class"
    )
    with pytest.raises(InputError, match="valid and test are the same"):
        image_task(
            "data=image_folder", f"data.folder={folders}", "data.splits_of.valid=x", "data.splits_of.test=x"
        ).splits()


def test_a_share_of_train_becomes_a_split_that_has_no_folder(folders):
    words = ["data=image_folder", f"data.folder={folders}", "+data.shares.valid=0.5"]
    task = image_task(*words, "~data.splits_of.valid")
    splits = task.splits()
    assert len(splits["train"]) + len(splits["valid"]) == 8
    assert not {e.id for e in splits["train"]} & {e.id for e in splits["valid"]}
    with pytest.raises(InputError, match="split valid: name its rows"):
        image_task(*words)


def test_a_broken_image_is_named_and_may_be_skipped(folders):
    (folders / "train" / "benign" / "0.png").write_bytes(b"\x89PNG no more")
    png(folders / "test" / "benign" / "1.png").write_bytes(png(folders / "x.png", size=(64, 64)).read_bytes()[:80])
    words = ["task=medical_images", "data=image_folder", f"data.folder={folders}", "task.size=8", "budget=smoke"]
    words += ["method=head", "backbone.weights=random"]
    with pytest.raises(
        InputError, match=r"image train/benign/0.png cannot be decoded \(.*and 1 more.*task.skip_bad=true"
    ):
        run_cell(cell_of(words))
    counts = run_cell(cell_of([*words, "task.skip_bad=true"])).data["counts"]
    assert counts == {"train": {"bad_examples": 1}, "test": {"bad_examples": 1}}


def table(file, rows):
    with open(file, "w", newline="") as lines:
        csv.writer(lines).writerows([["path", "dx", "part", "patient"], *rows])
    return file


COLUMNS = "data.columns={image: path, label: dx, split: part, group: patient}"


def test_a_table_of_paths_names_file_and_row_of_what_is_missing(tmp_path):
    png(tmp_path / "images" / "a.png")
    rows = [[f"images/{name}.png", label, part, "p1"] for name, label, part in (
        ("a", "yes", "train"), ("a", "no", "train"), ("b", "no", "train"), ("a", "no", "val"), ("a", "yes", "test"),
        ("a", "perhaps", "test"), ("a", "no", "unused"))]  # fmt: skip
    file = table(tmp_path / "all.csv", rows)
    splits = image_task("data=image_table", f"data.train={file}", COLUMNS).splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 4, "valid": 1, "test": 2}
    assert splits["train"][3].source == Bad("all.csv, row 7: no split is called 'unused' (data.words)")
    assert splits["train"][2].source == Bad("all.csv, row 3: image images/b.png: no such file")
    assert splits["train"][0].group == "p1"
    assert "label 'perhaps' is not among the training labels" in splits["test"][1].source.reason
    elsewhere = table(
        tmp_path / "sub.csv", [["a.png", "yes", part, p] for p, part in (("p", "train"), ("q", "train"), ("r", "test"))]
    )
    words = [
        f"data.train={elsewhere}",
        f"data.root={tmp_path}/images",
        COLUMNS,
        "~data.words.valid",
    ]
    splits = image_task("data=image_table", *words, "+data.shares.valid=0.5").splits()
    assert not isinstance((splits["train"] + splits["valid"])[0].source, Bad)
    with pytest.raises(InputError, match="no column 'image'; it has path, dx, part, patient"):
        image_task("data=image_table", f"data.train={file}", "data.columns={image: image, label: dx}").splits()


def test_one_table_per_split(tmp_path):
    png(tmp_path / "a.png")
    files = {s: table(tmp_path / f"{s}.csv", [["a.png", s, "", "p"]]) for s in ("train", "valid", "test", "other")}
    words = [f"data.{s}={files[s]}" for s in ("train", "valid", "test")] + [f"+data.shifts.other={files['other']}"]
    splits = image_task("data=image_table", *words, "data.columns={image: path, label: dx}").data.splits()
    assert {name: [e.targets for e in examples] for name, examples in splits.items()} == {
        "train": [("train",)], "valid": [("valid",)], "test": [("test",)], "test/other": [("other",)]
    }  # fmt: skip


def test_a_group_stays_together_whatever_else_there_is(tmp_path):
    rows = [[f"{i}.png", "a", "", f"patient {i % 40}"] for i in range(200)]
    options = {"description": "", "valid": None, "test": None, "shifts": {}, "root": None, "words": {}}
    columns = {"image": "path", "label": "dx", "group": "patient"}
    shares = {"valid": 0.2, "test": 0.3}
    whole = table(tmp_path / "whole.csv", rows)
    splits = ImageTable(train=str(whole), columns=columns, shares=shares, **options).splits()
    groups = {name: {e.group for e in examples} for name, examples in splits.items()}
    assert all(groups.values())
    assert len(set.union(*groups.values())) == sum(map(len, groups.values())) == 40
    half = table(tmp_path / "half.csv", rows[:100])
    again = ImageTable(train=str(half), columns=columns, shares=shares, **options).splits()
    assert all({e.group for e in examples} <= groups[name] for name, examples in again.items())


def test_an_npz_is_read_and_a_wrong_one_refused(archive, tmp_path):
    task = image_task("data=image_npz", f"data.file={archive}", "+data.names.1=right")
    splits = task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 32, "valid": 8, "test": 12}
    assert [e.targets[0] for e in splits["test"][:2]] == ["0", "right"]
    arrays = dict(np.load(archive))
    np.savez(
        tmp_path / "more.npz", **arrays | {"test_labels": arrays["test_labels"] + 2 * (np.arange(12) == 5)[:, None]}
    )
    reason = image_task("data=image_npz", f"data.file={tmp_path}/more.npz").splits()["test"][5].source.reason
    assert reason == "example test/more.npz, row 5: label '3' is not among the training labels"
    for change, words in (
        ({"val_labels": np.ones((8, 14))}, r"val_labels is \(8, 14\), one class per image \(8\) wanted"),
        ({"train_images": arrays["train_images"] / 255}, "train_images is float64 .* uint8"),
        ({"test_images": None}, "cannot be read as npz"),  # an object, which would be unpickled
    ):
        np.savez(tmp_path / "wrong.npz", **{**arrays, **change})
        with pytest.raises(InputError, match=words):
            image_task("data=image_npz", f"data.file={tmp_path}/wrong.npz").splits()
    del arrays["val_images"]
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(InputError, match=r"no array 'val_images'; it has train_images"):
        image_task("data=image_npz", f"data.file={tmp_path}/less.npz").splits()
    with pytest.raises(InputError, match=r"no file .*nothere.npz"):
        image_task("data=image_npz", "data.file=nothere.npz").splits()


def test_grey_of_more_than_8_bits_is_scaled_as_it_is_told(tmp_path):
    deep = np.array([[1000, 1100, 1200], [900, 4095, 1050], [1000, 1000, 1000]], np.uint16)
    for name in ("deep.png", "deep.tif"):
        Image.fromarray(deep).save(tmp_path / name)
        seen = Picture("", tmp_path / name).read(3, (1000, 1200))
        assert seen.tolist() == [[0, 128, 255], [0, 255, 64], [0, 0, 0]]
    assert "no training image defines" in Picture("", tmp_path / "deep.png").read(3).reason
    Image.fromarray(np.ones((3, 3), np.float32)).save(tmp_path / "float.tiff")
    assert (
        "float.tiff cannot be decoded (pixels of mode F"
        in Picture("float.tiff", tmp_path / "float.tiff").read(3).reason
    )
    assert Picture("", png(tmp_path / "c.png", (9, 8, 7, 255), mode="RGBA")).read(4).shape == (4, 4, 3)


def test_colour_of_16_bits_is_refused_with_the_remedy(tmp_path):
    """Pillow would keep the upper 8 bits of it without a word."""
    rows = b"".join(b"\0" + np.full((2, 3), 1000, ">u2").tobytes() for _ in range(2))

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "16 bits per colour" in Picture("", tmp_path / "a.png").read(2).reason


def stripes(kind, level, spread, side=28, seed=0):
    """Draw vertical or horizontal stripes with a little noise."""
    image = np.full((side, side), level, np.int64)
    image[(slice(None), slice(None, None, 4)) if kind == "v" else (slice(None, None, 4), slice(None))] += spread
    return image + np.random.default_rng(seed).integers(0, max(spread // 8, 2), image.shape)


@pytest.mark.parametrize(("level", "spread", "number"), [(1000, 90, np.uint16), (40_000, 40, np.uint16)])
def test_a_narrow_range_of_grey_is_learnt_said_recorded_and_known_to_the_adapter(
    level, spread, number, tmp_path, capsys
):
    for split, count in (("train", 16), ("val", 4), ("test", 6)):
        for kind in "hv":
            (tmp_path / "data" / split / kind).mkdir(parents=True)
            for i in range(count):
                image = stripes(kind, level, spread, seed=i).astype(number)
                Image.fromarray(image).save(tmp_path / "data" / split / kind / f"{i}.png")
    words = ["task=medical_images", "data=image_folder", f"data.folder={tmp_path / 'data'}", "method=lora"]
    words += ["budget=smoke", "budget.steps=60", "device=cpu", f"results={tmp_path / 'r'}", f"save={tmp_path / 'kept'}"]
    assert run.main(words) == 0
    (path,) = (tmp_path / "r").glob("runs/*/*/*.json")
    record = Record.from_json(path.read_text())
    low, high = record.data["reading"]["grey_range_of_the_training_images_scaled_to_8_bits"]
    assert level <= low < high < level + 2 * spread
    assert record.value("test", "macro_f1") > 0.9  # by its upper 8 bits alone: one grey, a third
    assert f"grey range of the training images scaled to 8 bits: [{low}, {high}]" in capsys.readouterr().out
    files = [str(tmp_path / "data" / "test" / kind / "0.png") for kind in "hv"]
    assert load(tmp_path / "kept").answer(files) == ["h", "v"]


@pytest.mark.parametrize(("turn", "shown"), [(6, "v"), (8, "v"), (3, "h")])
def test_an_image_is_read_as_a_person_sees_it(turn, shown, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = turn
    image = Image.fromarray(stripes("h", 60, 120, 16).astype(np.uint8))
    image.save(tmp_path / "turned.jpg", exif=exif)
    seen = Picture("", tmp_path / "turned.jpg").read(16).astype(float)
    assert "hv"[int(seen.mean(0).std() > seen.mean(1).std())] == shown


def test_images_are_read_at_the_backbones_own_size_unless_told(folders, folder_of):
    words = ["task=medical_images", "method=head", "data=image_folder", f"data.folder={folders}"]
    assert cell_of(words).task.size == 24
    assert cell_of([*words, "backbone=timm_network", f"backbone.checkpoint={folder_of('resnet50')}"]).task.size == 32
    assert cell_of([*words, "task.size=9"]).task.size == 9
    assert cell_of([*words, "backbone=vit_base", "backbone.weights=random"]).task.size == 224
    assert task_of([*words])[1].splits()["test"][0].source.shape == (24, 24)
    assert cell_of(words[:2]).task.size == 20  # the section's patches, of which records are shipped


def test_the_middle_of_an_oblong_image_is_kept():
    image = np.repeat(np.array([[0, 0, 90, 90, 90, 90, 250, 250]], np.uint8), 4, 0)
    assert np.array_equal(square(image, 4), np.full((4, 4), 90))


# --- the hub ---


def encoded(value):
    buffer = io.BytesIO()
    Image.new("L", (6, 6), value).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_set_of_the_hub_is_decoded_here_and_named_classes_are_read(monkeypatch):
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["no", "yes"]),
         "lesion": datasets.Value("string"), "key": datasets.Value("string")}
    )  # fmt: skip
    images = [{"bytes": b"broken" if i == 7 else encoded(i), "path": None} for i in range(60)]
    content = {"image": images, "label": [i % 2 for i in range(60)], "lesion": [f"l{i // 4}" for i in range(60)]}
    content["key"] = [str(min(i, 57)) for i in range(60)]  # the last two come twice
    made = datasets.Dataset.from_dict(content, features)
    monkeypatch.setattr(ImageHub, "load", lambda self, part: made)
    task = image_task("data=skin_lesions", "data.columns={image: image, label: label, group: lesion, id: key}")
    splits = task.splits()
    assert sum(map(len, splits.values())) == 60
    groups = [{e.group for e in examples} for examples in splits.values()]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))
    bad = sorted(e.source.reason for examples in splits.values() for e in examples if isinstance(e.source, Bad))
    where = "marmal88/skin_cancer (train+validation+test), row"
    assert bad[:2] == [f"{where} {i}: image 57 is repeated, it is first in row 57" for i in (58, 59)]
    assert bad[2].startswith(f"{where} 7 cannot be decoded")
    assert len(bad) == 3
    assert {e.targets[0] for examples in splits.values() for e in examples} == {"no", "yes"}
    with pytest.raises(InputError, match="no column 'dx'; it has image, label, lesion, key"):
        image_task("data=skin_lesions").splits()


def of_hub(labels):
    """Make a table as the hub's: images, each with its label."""
    images = [{"bytes": encoded(9), "path": None}] * len(labels)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features)


def test_a_label_that_training_never_saw_is_told_by_data_set_and_row(monkeypatch):
    tables = {"train": of_hub(["a", "b"] * 20), "test": of_hub(["a", "b", "c"])}
    monkeypatch.setattr(ImageHub, "load", lambda self, part: tables[part["split"]])
    reason = image_task("data=chest_xray").splits()["test"][2].source.reason
    assert reason.startswith("example test/hf-vision/chest-xray-pneumonia (test), row 2: label 'c' is not among")


def test_rows_without_an_id_are_all_different(monkeypatch):
    monkeypatch.setattr(ImageHub, "load", lambda self, part: of_hub(["a", "b"] * 20))
    splits = image_task("data=chest_xray").splits()
    assert len(splits["test"]) == 40
    assert not [e for examples in splits.values() for e in examples if isinstance(e.source, Bad)]


@pytest.mark.parametrize("name", ["bloodmnist", "skin_lesions", "chest_xray"])
def test_the_hub_sets_say_how_to_do_without_a_network(name):
    task = cell_of([f"task={name}", "method=head"]).task
    assert task.unpinned() == [task.data.id]
    with pytest.raises(InputError, match=re.escape(f"the data set {task.data.id!r} cannot be downloaded")):
        task.splits()


def test_shares_are_as_large_as_they_are_said():
    examples = [Example(f"train/{i}", None, ("ab"[i % 4 == 0],)) for i in range(4000)]
    for group, slack in ((None, 1), ("g", 100)):  # four standard deviations of a binomial count
        given = [e._replace(group=group and f"{group}{i // 2}") for i, e in enumerate(examples)]
        dealt = complete({"train": given}, {"valid": 0.1, "test": 0.2}, Reading())
        sizes = {name: len(part) for name, part in dealt.items()}
        assert sum(sizes.values()) == 4000
        assert abs(sizes["valid"] - 400) <= slack
        assert abs(sizes["test"] - 800) <= slack
        assert len({e.id.partition("/")[2] for part in dealt.values() for e in part}) == 4000


# --- a real set ---


def test_pneumonia_mnist(folder_of):
    place = os.environ.get("BENCHMARK_DATA_DIR")
    if not place:
        pytest.skip("BENCHMARK_DATA_DIR is not set")
    (file,) = Path(place, "pneumoniamnist").glob("*.npz")
    words = ["data=image_npz", f"data.file={file}", "+data.names.0=normal", "+data.names.1=pneumonia", "task.size=28"]
    cell = cell_of(["task=medical_images", "method=head", "budget=smoke", *words, "backbone=vit_textures"])
    splits = cell.task.splits()
    assert {name: len(examples) for name, examples in splits.items()} == {"train": 4708, "valid": 524, "test": 624}
    assert Counter(e.targets[0] for e in splits["test"]) == {
        "pneumonia": 390,
        "normal": 234,
    }  # MedMNIST v2, as published
    scores = {m.name for m in run_cell(cell).measurements if m.split == "test"}
    assert {"macro_f1", "auroc", "ece"} <= scores
