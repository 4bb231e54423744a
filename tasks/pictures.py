"""Encoded images, decoded on demand by pillow into 8-bit grey or colour."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.types import Bad

if TYPE_CHECKING:
    from PIL.Image import Image

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # grey of more than 8 bits
COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
GREY = ("1", "L", "LA")
OPAQUE = 255
BITS, PHOTOMETRIC, SAMPLE_FORMAT, SIGNED = 258, 262, 339, 2  # tags of a TIFF, and a value of the last
Range = tuple[int, int]  # lowest and highest grey of the training images


@dataclass(frozen=True)
class Picture:
    """Encoded image, with its position for error messages."""

    where: str
    content: Path | bytes = field(repr=False)

    def read(self, side: int, grey: Range | None = None) -> np.ndarray | Bad:
        """Decode into uint8 of shape (side, side) or (side, side, 3), or give the error.

        grey: values of black and white in images of more than 8 bits.
        """
        pixels = self.decode()
        if isinstance(pixels, Bad):
            return pixels
        if pixels.dtype != np.uint8:
            if grey is None:
                return Bad(f"{self.where} has more than 8 bits, and no training image defines black and white")
            pixels = scale_grey(pixels, grey)
        return square(pixels, side)

    def decode(self) -> np.ndarray | Bad:
        """Decode upright: uint8, or int32 for grey of more than 8 bits."""
        if isinstance(self.content, Path) and not self.content.is_file():
            return Bad(f"{self.where}: no such file")
        from PIL.Image import DecompressionBombError

        try:
            return decode(self._opened())
        except (OSError, ValueError, SyntaxError, EOFError, DecompressionBombError) as error:  # of broken files
            return Bad(f"{self.where} cannot be decoded ({error})")

    def extremes(self) -> Range | None:
        """Give the lowest and highest grey of an image of more than 8 bits, else None."""
        if self._header("mode") not in DEEP:
            return None
        pixels = self.decode()
        return None if isinstance(pixels, Bad) else (int(pixels.min()), int(pixels.max()))

    def remarks(self) -> Iterator[str]:
        """Name what of the file is not read: further pages, transparency."""
        if (self._header("n_frames") or 1) > 1:
            yield "images_of_several_pages_of_which_the_first_is_read"
        if self._header("has_transparency_data") and self._alpha() < OPAQUE:
            yield "images_with_transparent_pixels_that_are_read_as_opaque"

    def _alpha(self) -> int:
        """Give the lowest opacity of a pixel."""
        from PIL import Image

        with suppress(OSError, ValueError, SyntaxError), Image.open(self._opened()) as image:
            return image.convert("RGBA").getchannel("A").getextrema()[0]
        return OPAQUE

    def _header(self, name: str) -> Any:
        """Read an attribute of the file's header; None where it cannot be opened."""
        from PIL import Image

        try:
            with Image.open(self._opened()) as image:
                return getattr(image, name, None)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return None

    def _opened(self) -> Path | io.BytesIO:
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content


def decode(content: Path | io.BytesIO) -> np.ndarray:
    """Decode the first page. Raises OSError, ValueError or SyntaxError."""
    from PIL import Image, ImageOps

    with Image.open(content) as image:
        tags = getattr(image, "tag_v2", {})  # of a TIFF
        if reason := _unread(image, tags):
            raise ValueError(reason)
        image = ImageOps.exif_transpose(image)
        if image.mode in DEEP:
            return _deep(np.asarray(image).astype(np.int32), tags)
        image.info.pop("transparency", None)  # counted by remarks(); pillow warns of it on the screen
        return np.asarray(image.convert("L" if image.mode in GREY else "RGB"))


def _unread(image: Image, tags: Mapping[int, Any]) -> str | None:
    """Give the reason why pillow would change an image's values without a word."""
    if image.mode in DEEP:
        return None
    codings = [(codec, *(given if isinstance(given, tuple) else (given,))) for codec, _, _, given in image.tile]
    if any(";16" in str(c) or (c[0].startswith("ppm") and c[-1] > 255) for c in codings):
        return "16 bits per colour, of which the lower 8 would be lost: save it with 8 bits, or as grey"
    if image.mode not in (*COLOUR, *GREY):
        return f"pixels of mode {image.mode}; 8 or 16 bits wanted"
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        return "signed pixels of 8 bits; save it with 16 bits, or without negative values"
    return None


def _deep(pixels: np.ndarray, tags: Mapping[int, Any]) -> np.ndarray:
    """Turn a TIFF's grey in which 0 is white. Raises ValueError for values that 31 bits do not hold."""
    if SIGNED not in tags.get(SAMPLE_FORMAT, ()) and pixels.size and pixels.min() < 0:
        raise ValueError("pixels above 2,147,483,647; save it with 16 bits")
    turned = tags.get(PHOTOMETRIC) == 0 and tags.get(BITS) == (16,)  # of 8 bits pillow turns it
    return 65_535 - pixels if turned else pixels


def scale_grey(pixels: np.ndarray, grey: Range) -> np.ndarray:
    """Scale grey to 8 bits, and clip it to the given black and white."""
    low, high = grey
    return np.round(255.0 * (np.clip(pixels, low, high) - low) / max(high - low, 1)).astype(np.uint8)


def rescan(image: np.ndarray, scanner: int, number: int) -> np.ndarray:
    """Simulate another scanner: less contrast, blur, fewer pixels, noise."""
    from PIL import Image, ImageFilter

    draw = np.random.default_rng(scanner).uniform
    contrast, blur, noise, resolution = draw(0.6, 0.85), draw(0.4, 0.9), draw(0.02, 0.06), draw(0.6, 0.8)
    height, width = image.shape[:2]
    coarse = (max(round(width * resolution), 1), max(round(height * resolution), 1))
    view = Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)).resize(coarse, Image.Resampling.BILINEAR)
    values = np.asarray(view.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)
    values = values.mean() + contrast * (values - values.mean())
    values += np.random.default_rng([scanner, number]).normal(0, 255 * noise, values.shape)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter edge to `side`, and crop the middle."""
    if image.shape[:2] == (side, side):
        return image
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BICUBIC))
