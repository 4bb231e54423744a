"""What a network sees of an image: size, channels, grey values."""

import struct
import zlib

import numpy as np
import pytest
from factories import png, run_cell
from networks import THREE_CLASSES
from PIL import Image

from benchmark import run
from benchmark.backbones import vision
from benchmark.records import Record
from benchmark.saved import load
from tasks.pictures import Picture, square

pytest.importorskip("skimage", reason='the embedded data needs pip install -e ".[embedded]"')


def test_grey_is_repeated_and_colour_becomes_luminance():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    three = vision.ImageProcessor(THREE_CLASSES, 4, 4, 3, (0.1, 0.2, 0.3), (0.5, 0.4, 0.2), "bicubic")
    seen = three.batch([three.fit(grey)])["pixels"]
    for channel, (mean, std) in enumerate(((0.1, 0.5), (0.2, 0.4), (0.3, 0.2))):
        assert np.allclose(seen[0, channel].numpy(), (grey / 255 - mean) / std, atol=1e-6)
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    one = vision.ImageProcessor(THREE_CLASSES, 4, 4, 1, (0.0,), (1.0,), "bicubic")
    seen = one.batch([one.fit(colour)])["pixels"]
    luminance = colour @ np.array([0.299, 0.587, 0.114]) / 255  # ITU-R BT.601
    assert seen.shape == (1, 1, 4, 4)
    assert np.allclose(seen[0, 0].numpy(), luminance, atol=1 / 255)


def test_the_whole_image_is_scaled_to_the_networks_size():
    processor = vision.ImageProcessor(THREE_CLASSES, 8, 8, 1, (0.0,), (1.0,), "bilinear")
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


def test_the_middle_of_an_oblong_image_is_kept():
    image = np.repeat(np.array([[0, 0, 90, 90, 90, 90, 250, 250]], np.uint8), 4, 0)
    assert np.array_equal(square(image, 4), np.full((4, 4), 90))
