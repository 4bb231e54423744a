"""Images that are decoded when they are needed, by pillow, into 8-bit grey or colour."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmark.types import Bad

DEEP = ("I;16", "I;16L", "I;16B", "I;16N")  # 16-bit grey: its upper 8 bits are read
COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
GREY = ("1", "L", "LA")


@dataclass(frozen=True)
class Picture:
    """An encoded image, and where it stands for whoever must mend it."""

    where: str
    content: Path | bytes = field(repr=False)

    def read(self, side: int) -> np.ndarray | Bad:
        """Decode into uint8 of shape (side, side) or (side, side, 3), or say what is wrong."""
        if isinstance(self.content, Path) and not self.content.is_file():
            return Bad(f"{self.where}: no such file")
        from PIL.Image import DecompressionBombError

        try:
            return decoded(self.content, side)
        except (OSError, ValueError, SyntaxError, EOFError, DecompressionBombError) as error:  # of broken files
            return Bad(f"{self.where} cannot be decoded ({error})")


def decoded(content: Path | bytes, side: int) -> np.ndarray:
    """Decode and fit to a square. Raises OSError, ValueError or SyntaxError for what is no image."""
    from PIL import Image

    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
        if image.mode in DEEP:
            image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
        elif image.mode not in (*COLOUR, *GREY):
            raise ValueError(f"pixels of mode {image.mode}; 8 or 16 bits wanted")
        return square(np.asarray(image.convert("L" if image.mode in GREY else "RGB")), side)


def rescanned(image: np.ndarray, scanner: int, number: int) -> np.ndarray:
    """See an 8-bit image by another scanner: less contrast, a softer lens, fewer pixels, and noise of its own."""
    from PIL import Image, ImageFilter

    draw = np.random.default_rng(scanner).uniform
    contrast, blur, noise, resolution = draw(0.6, 0.85), draw(0.4, 0.9), draw(0.02, 0.06), draw(0.6, 0.8)
    height, width = image.shape[:2]
    coarse = (max(round(width * resolution), 1), max(round(height * resolution), 1))
    seen = Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)).resize(coarse, Image.Resampling.BILINEAR)
    values = np.asarray(seen.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float64)
    values = values.mean() + contrast * (values - values.mean())
    values += np.random.default_rng([scanner, number]).normal(0, 255 * noise, values.shape)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def square(image: np.ndarray, side: int) -> np.ndarray:
    """Scale the shorter edge to a side and keep the middle; an image of that size stays as it is."""
    if image.shape[:2] == (side, side):
        return image
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(Image.fromarray(image), (side, side), Image.Resampling.BICUBIC))
