"""Images of odd kinds: signed, white at 0, transparent, animated, printed, of one bit; paths out of the folder."""

import struct

import numpy as np
import pytest
from factories import image_task
from PIL import Image

from benchmark.types import Bad
from tasks.pictures import Picture

GREY = np.array([[0, 40, 90, 200]] * 4, np.uint8)
COLOUR = np.dstack([GREY, GREY.T, 255 - GREY])


def write_tiff(file, pixels, sample_format=1, photometric=1):
    """Write a TIFF of one strip, as pillow cannot: signed, or with 0 for white."""
    content, bits = pixels.tobytes(), 8 * pixels.itemsize
    height, width = pixels.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(content), 339: sample_format}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in sorted(tags.items()))
    start = struct.pack("<4sI", b"II*\0", 8 + len(content))
    file.write_bytes(start + content + struct.pack("<H", len(tags)) + entries + bytes(4))
    return Picture(file.name, file)


def test_signed_grey_and_grey_with_white_at_0_are_read_as_they_are_shown(tmp_path):
    signed = np.array([[-1000, -500, 0, 500]] * 4, np.int16)
    assert write_tiff(tmp_path / "a.tif", signed, sample_format=2).extremes() == (-1000, 500)
    assert write_tiff(tmp_path / "a.tif", signed, sample_format=2).read(4, (-1000, 500))[0].tolist() == [
        0,
        85,
        170,
        255,
    ]
    for number, top in ((np.uint8, 255), (np.uint16, 65_535)):
        white = (top - GREY.astype(np.int64)).astype(number)
        seen = write_tiff(tmp_path / "b.tif", white, photometric=0).read(4, (0, 255))
        assert np.array_equal(seen, GREY), number


@pytest.mark.parametrize(
    ("pixels", "sample_format", "reason"),
    [
        (GREY.astype(np.int8), 2, "signed pixels of 8 bits"),
        (GREY.astype(np.uint32) + 2**31, 1, "pixels above 2,147,483,647"),
        (GREY.astype(np.float32), 3, "pixels of mode F"),
    ],
)
def test_values_that_would_wrap_around_are_refused(pixels, sample_format, reason, tmp_path):
    picture = write_tiff(tmp_path / "a.tif", pixels, sample_format)
    assert reason in picture.read(4, (0, 255)).reason


def test_colour_of_12_bits_in_a_ppm_is_refused_and_its_grey_scaled(tmp_path):
    deep = (GREY.astype(np.uint16) * 16).astype(">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6 2 2 4095\n" + deep[:24])
    assert "16 bits per colour" in Picture("", tmp_path / "a.ppm").read(2).reason
    (tmp_path / "a.pgm").write_bytes(b"P5 4 4 4095\n" + deep)
    picture = Picture("", tmp_path / "a.pgm")
    assert np.array_equal(picture.read(4, picture.extremes()), np.round(GREY / 200 * 255))


def test_printed_palette_and_one_bit_images_are_read(tmp_path):
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "a.tif")
    assert np.array_equal(Picture("", tmp_path / "a.tif").read(4), COLOUR)
    Image.fromarray(GREY).convert("P").save(tmp_path / "p.png")
    assert np.array_equal(Picture("", tmp_path / "p.png").read(4)[..., 1], GREY)
    Image.fromarray(GREY > 60).save(tmp_path / "b.png")
    assert Picture("", tmp_path / "b.png").read(4)[0].tolist() == [0, 0, 255, 255]


def test_transparency_and_frames_are_counted_and_an_opaque_layer_is_not(tmp_path):
    for split in ("train", "val", "test"):
        for kind in "ab":
            (tmp_path / split / kind).mkdir(parents=True)
            Image.fromarray(GREY).save(tmp_path / split / kind / "0.png")
    place = tmp_path / "test" / "a"
    for name, alpha in (("clear.png", GREY), ("opaque.png", np.full_like(GREY, 255))):
        Image.fromarray(np.dstack([COLOUR, alpha])).save(place / name)
    Image.fromarray(COLOUR).convert("P").save(place / "palette.png", transparency=bytes([7] * 99))
    frames = [Image.fromarray(np.full((4, 4), 40 * i, np.uint8)) for i in range(3)]
    frames[0].save(place / "moving.gif", save_all=True, append_images=frames[1:])
    task = image_task("data=image_folder", f"data.folder={tmp_path}")
    assert len(task.splits()["test"]) == 6
    assert task.reading.counts == {
        "test": {
            "images_with_transparent_pixels_that_are_read_as_opaque": 2,
            "images_of_several_pages_of_which_the_first_is_read": 1,
        }
    }


def test_a_table_may_name_images_by_a_whole_path_or_a_link(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "here").mkdir()
    Image.fromarray(GREY).save(tmp_path / "far" / "a.png")
    (tmp_path / "here" / "link.png").symlink_to(tmp_path / "far" / "a.png")
    (tmp_path / "here" / "gone.png").symlink_to(tmp_path / "far" / "nothing.png")
    names = [tmp_path / "far" / "a.png", "link.png", "../far/a.png", "gone.png"]
    rows = "".join(
        f"{name},{'xy'[i % 2]},{split}\n" for split in ("train", "valid", "test") for i, name in enumerate(names)
    )
    (tmp_path / "here" / "t.csv").write_text(f"image,label,split\n{rows}")
    task = image_task("data=image_table", f"data.train={tmp_path / 'here' / 't.csv'}", "data.columns.split=split")
    sources = [e.source for e in task.splits()["train"]]
    assert [isinstance(source, Bad) for source in sources] == [False, False, False, True]
    assert sources[3].reason.endswith("t.csv, row 4: image gone.png: no such file")
    assert len(task.files()) == 4  # the table, and an image by each of its three names
