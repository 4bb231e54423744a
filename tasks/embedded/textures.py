"""Non-medical images of scikit-image, to pretrain vision networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmark.errors import InputError

MEDICAL = ("ihc", "cell", "microaneurysms", "retina", "phantom")  # of the same folder, never read
HELD_OUT = 0.15  # share of each image's columns, at its right edge, that pretraining never sees


@dataclass(frozen=True, kw_only=True)
class Textures:
    """Grey images, each standardised as a whole."""

    images: list[str]  # file names without their endings

    def __post_init__(self) -> None:
        if known := sorted(set(self.images) & set(MEDICAL)):
            raise InputError(f"corpus.images: {', '.join(known)} is medical, which pretraining must not use")

    def parts(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Give each image's left part for pretraining, the right one held out."""
        training, held_out = [], []
        for name in self.images:
            image = standardise(read(name))
            border = round(image.shape[1] * (1 - HELD_OUT))
            training.append(image[:, :border])
            held_out.append(image[:, border:])
        return training, held_out

    def crops(
        self, parts: Sequence[np.ndarray], number: int, sizes: tuple[int, int], rng: np.random.Generator
    ) -> list[tuple[np.ndarray, int]]:
        """Draw squares of a side between the sizes, with their image's number."""
        crops_drawn = []
        for _ in range(number):
            which = int(rng.integers(len(parts)))
            image, side = parts[which], int(rng.integers(sizes[0], sizes[1] + 1))
            y, x = (int(rng.integers(0, edge - side + 1)) for edge in image.shape)
            crops_drawn.append((image[y : y + side, x : x + side], which))
        return crops_drawn


def folder() -> Path:
    """Find the images without importing their package."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise InputError("the package 'scikit-image' is not installed: pip install -e \".[embedded]\"")
    return Path(spec.origin).parent / "data"


def read(name: str) -> np.ndarray:
    """Read an image as 8-bit grey."""
    from PIL import Image

    files = sorted(folder().glob(f"{name}.[pj][np]g"))
    if not files:
        raise InputError(f"corpus.images: scikit-image's wheel has no {name}.png or {name}.jpg")
    with Image.open(files[0]) as image:
        return np.asarray(image.convert("L"))


def standardise(image: np.ndarray) -> np.ndarray:
    """Shift and scale an image to mean 0 and standard deviation 1."""
    image = image.astype(np.float32)
    return (image - image.mean()) / image.std()
