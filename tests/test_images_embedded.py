"""The embedded section and the networks that ship with it."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from factories import corpus_of
from networks import THREE_CLASSES
from safetensors import safe_open

from benchmark.backbones import vision
from benchmark.backbones.headed import pretraining_loss
from benchmark.config.compose import cell_of
from benchmark.errors import InputError
from tasks.embedded import histology, textures

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')


EMBEDDED = Path(vision.__file__).parent / "embedded"


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
    model, _ = cell.backbone.load(cell.budget, THREE_CLASSES)
    known = cell.backbone.pretraining_loss(model.eval())
    assert known < 0.8 * np.log(len(corpus_of(name).images))  # of the images' other parts; guessing is log(15)
    assert cell.backbone.pretraining_loss(model.eval()) == known
    drawn = cell_of(["task=medical_images", "method=head", f"backbone={name}", "backbone.weights=random"])
    torch.manual_seed(0)
    random, _ = drawn.backbone.load(cell.budget, THREE_CLASSES)
    assert drawn.backbone.pretraining_loss(random.eval()) is None  # it has nothing to forget
    assert pretraining_loss(random, folder) > known
