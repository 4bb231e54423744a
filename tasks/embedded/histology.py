"""Patches of a stained colon section (scikit-image): antibody from nuclei.

Colour deconvolution parts the section into its stains (Ruifrok and Johnston 2001). The network reads the haematoxylin;
the level of the antibody's stain (DAB) in the same patch is the label, so that it cannot be read off the colour.
Tiles of the section train, validate or test, and no two tiles share a pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import NamedTuple

import numpy as np

from benchmark.errors import InputError
from benchmark.types import Example, Splits
from tasks.cache import load_or_make
from tasks.common import Data, unit_hash

TILE, GAP = 128, 8  # pixels; the section has 4 x 4 tiles, patches keep half the gap from each edge
TILES = (  # chosen for balanced classes in every split, before any network was trained
    ("test", "train", "test", "valid"),
    ("train", "train", "test", "train"),
    ("train", "test", "train", "test"),
    ("valid", "train", "test", "train"),
)
STRONGEST = 0.06  # haematoxylin of a white pixel, in units of skimage's rgb2hed; 1 % of the section has more
LEVELS = ("low", "middle", "high")


class Scanner(NamedTuple):
    """Properties of another scanner and staining."""

    stain: float  # factor of the stain's strength
    blur: float  # standard deviation of the lens, in pixels
    noise: float  # standard deviation of the sensor, 1 is a white pixel
    resolution: float  # pixels of the other scanner per pixel of this one


@dataclass(frozen=True, kw_only=True)
class Histology(Data):
    """Patches and their antibody stain; the shift simulates another scanner."""

    patch: int  # side in pixels
    stride: int  # between training patches, which overlap; those of a test do not
    scanner: int  # seed of the shifted test's scanner

    def __post_init__(self) -> None:
        if not 8 <= self.patch <= TILE - GAP:
            raise InputError(f"data.patch: {self.patch} given, 8 to {TILE - GAP} pixels fit (task.size sets it)")
        if self.stride < 1:
            raise InputError(f"data.stride: {self.stride} given, at least 1 pixel wanted")

    def splits(self) -> Splits:
        """Cut patches; the thirds of the training patches' stain are the levels."""
        key = {"scanner": self.scanner, "version": skimage().__version__}
        stains = load_or_make("histology", key, lambda: section(scanner(self.scanner)))
        places = {name: list(self._places(name)) for name in ("train", "valid", "test")}
        amounts = {name: [self._cut(stains["dab"], at).mean() for at in points] for name, points in places.items()}
        bounds = np.quantile(amounts["train"], [1 / 3, 2 / 3])
        splits = {}
        for name in (*places, "test/scanner"):
            part, view = ("test", "scanned") if name == "test/scanner" else (name, "haematoxylin")
            cut = self._turned if name == "train" else self._cut
            splits[name] = [
                Example(f"{name}/{y}-{x}", cut(stains[view], (y, x)), (LEVELS[level],), group=tile_of(y, x))
                for (y, x), level in zip(places[part], np.digitize(amounts[part], bounds), strict=True)
            ]
        return splits

    def _places(self, split: str) -> Iterator[tuple[int, int]]:
        """Yield the upper left corners of a split's patches."""
        step = {"train": self.stride, "valid": max(self.patch // 2, 1), "test": self.patch}[split]
        inside = range(GAP // 2, TILE - GAP // 2 - self.patch + 1, step)
        for row, roles in enumerate(TILES):
            for column, role in enumerate(roles):
                if role == split:
                    yield from ((row * TILE + y, column * TILE + x) for y in inside for x in inside)

    def _cut(self, image: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        y, x = at
        return image[y : y + self.patch, x : x + self.patch]

    def _turned(self, image: np.ndarray, at: tuple[int, int]) -> np.ndarray:
        """Cut in one of eight orientations, since tissue has none."""
        way = int(unit_hash(f"turn {at}") * 8)
        patch = np.rot90(self._cut(image, at), way % 4)
        return np.ascontiguousarray(patch[:, ::-1] if way >= 4 else patch)


def skimage() -> ModuleType:
    """Import the package that has the section.

    Raises InputError where it is not installed.
    """
    try:
        import skimage
    except ImportError as error:
        raise InputError("the package 'scikit-image' is not installed: pip install -e \".[embedded]\"") from error
    return skimage


def tile_of(y: int, x: int) -> str:
    """Name the tile that a pixel lies in."""
    return f"tile {y // TILE}-{x // TILE}"


def scanner(seed: int) -> Scanner:
    """Draw a scanner."""
    draw = np.random.default_rng(seed).uniform
    return Scanner(stain=draw(0.6, 0.85), blur=draw(0.4, 0.9), noise=draw(0.02, 0.06), resolution=draw(0.6, 0.8))


def section(other: Scanner) -> dict[str, np.ndarray]:
    """Separate the stains: haematoxylin as 8-bit grey (two scanners), DAB raw."""
    from skimage import color, data

    stains = color.rgb2hed(data.immunohistochemistry())
    haematoxylin = np.clip(stains[..., 0] / STRONGEST, 0, 1)
    scanned = np.zeros_like(haematoxylin)
    for row in range(len(TILES)):  # tile by tile, so that no blur carries a pixel over
        for column in range(len(TILES)):
            tile = np.s_[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
            scanned[tile] = rescan(haematoxylin[tile], other, np.random.default_rng([row, column]))
    return {"haematoxylin": grey(haematoxylin), "scanned": grey(scanned), "dab": stains[..., 2]}


def rescan(image: np.ndarray, other: Scanner, rng: np.random.Generator) -> np.ndarray:
    """Simulate another scanner: weaker stain, softer lens, fewer pixels, noise."""
    from skimage import filters, transform

    coarse = tuple(round(side * other.resolution) for side in image.shape)
    blurred = filters.gaussian(image * other.stain, other.blur)
    blurred = transform.resize(blurred, coarse, order=1, anti_aliasing=True)
    return transform.resize(blurred + rng.normal(0, other.noise, coarse), image.shape, order=1)


def grey(image: np.ndarray) -> np.ndarray:
    """Write intensities from 0 to 1 as 8-bit grey."""
    return np.round(np.clip(image, 0, 1) * 255).astype(np.uint8)
