"""Equal and similar sources within a data set, and how similar they are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from benchmark.types import Example

MOST = 5000, 1000  # compared examples of the earlier and of the later split
SIDE = 16  # pixels, or stretches and bands, to which an array is reduced
LIKE_TEXT, LIKE_ARRAY = 0.9, 0.99  # least similarity of near-duplicates


class Nearest(NamedTuple):
    """Similarity of a split's examples to those of an earlier split."""

    pairs: list[tuple[Example, Example]]  # each later example, and the most similar earlier one
    compared: tuple[int, int]  # number of earlier and later examples
    capped: bool  # only a sample of the examples was compared
    unequal: int  # later examples without an equal earlier one; the following fields are about these
    like: int  # number with a near-duplicate
    middle: float  # median of the similarity to the nearest earlier one; NaN where all are equal
    highest: float
    ids: tuple[str, ...]  # of the most similar pair, the earlier one first


def content(value: Any) -> Hashable:
    """Give a hashable key for the content of a source or target."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
    if isinstance(value, (tuple, list)):
        return tuple(content(part) for part in value)
    return value if isinstance(value, (str, int, float, type(None))) else str(value)


def sources(example: Example) -> set[Hashable]:
    return {content(example.source)}


def targets(example: Example) -> set[Hashable]:
    return {content(target) for target in example.targets}


def both(example: Example) -> set[Hashable]:
    return {(content(example.source), target) for target in targets(example)}


def count_repeated(examples: Sequence[Example], keys: Callable[[Example], set[Hashable]]) -> int:
    """Count the examples that share a key with an earlier one of the same split."""
    seen_keys: set[Hashable] = set()
    count = 0
    for example in examples:
        count += bool(keys(example) & seen_keys)
        seen_keys |= keys(example)
    return count


def count_shared(earlier: Sequence[Example], later: Sequence[Example], keys: Callable[[Example], set[Hashable]]) -> int:
    """Count the examples of the second split that share a key with the first split."""
    earlier_keys = {key for e in earlier for key in keys(e)}
    return sum(bool(keys(e) & earlier_keys) for e in later)


def sample(examples: Sequence[Example], most: int) -> Sequence[Example]:
    """Draw at most so many examples by the hash of their ids."""
    if len(examples) <= most:
        return examples
    return sorted(examples, key=lambda e: hashlib.sha256(e.id.encode()).digest())[:most]


def nearest(earlier: Sequence[Example], later: Sequence[Example]) -> Nearest | None:
    """Find the most similar earlier example for each later one.

    None for sources that cannot be compared.
    """
    earlier_keys = {key for e in earlier for key in sources(e)}
    capped = len(earlier) > MOST[0] or len(later) > MOST[1]
    earlier, later = sample(earlier, MOST[0]), sample(later, MOST[1])
    table = similarity([decode(e.source) for e in later], [decode(e.source) for e in earlier])
    if table is None:
        return None
    pairs = [(e, earlier[i]) for e, i in zip(later, table.argmax(1), strict=True)]
    unequal = [i for i, e in enumerate(later) if not sources(e) & earlier_keys]
    best = np.minimum(table[unequal].max(1), 1)
    like = int((best >= threshold(earlier)).sum())
    middle, highest = (float(np.median(best)), float(best.max())) if unequal else (np.nan, np.nan)
    ids = tuple(e.id for e in reversed(pairs[unequal[int(best.argmax())]])) if unequal else ()
    return Nearest(pairs, (len(earlier), len(later)), capped, len(unequal), like, middle, highest, ids)


def threshold(examples: Sequence[Example]) -> float:
    """Give the least similarity of near-duplicates."""
    return LIKE_TEXT if is_textual(examples) else LIKE_ARRAY


def is_textual(examples: Sequence[Example]) -> bool:
    """Say whether sources are strings, or tuples of strings."""
    source = examples[0].source
    return isinstance(source[0] if isinstance(source, tuple) else source, str)


def decode(source: Any) -> Any:
    """Decode sources that are read on demand (clips, images in files)."""
    if isinstance(source, tuple) and type(source) is tuple:
        return tuple(decode(part) for part in source)
    read = source.read() if callable(getattr(source, "read", None)) else source
    return getattr(read, "samples", read)


def similarity(rows: Sequence[Any], columns: Sequence[Any]) -> np.ndarray | None:
    """Compare each with each, 0 to 1.

    Tuples are as similar as their least similar parts, in whichever order is best.
    """
    if isinstance(rows[0], str):
        from rapidfuzz import process
        from rapidfuzz.distance import Indel

        return process.cdist(rows, columns, scorer=Indel.normalized_similarity, dtype=np.float32)
    if isinstance(rows[0], np.ndarray):
        return np.stack([small(a) for a in rows]) @ np.stack([small(a) for a in columns]).T
    if not isinstance(rows[0], tuple):
        return None
    slots = range(len(rows[0]))
    parts = {
        (i, j): similarity([row[i] for row in rows], [column[j] for column in columns]) for i in slots for j in slots
    }
    orders = [[parts[i, j] for i, j in enumerate(order)] for order in permutations(slots)]
    return np.maximum.reduce([np.minimum.reduce(order) for order in orders])


def small(array: np.ndarray) -> np.ndarray:
    """Reduce an array to 16 x 16 values, centred, of length 1.

    Scalar products are then correlations. Images become grey means of blocks, sound the logarithm of its energy in
        stretches of time and bands of frequency.
    """
    array = np.asarray(array, dtype=np.float64)
    if array.ndim == 1:
        array = energies(array)
    elif array.ndim == 3:
        array = array.mean(0 if array.shape[0] <= 4 < array.shape[2] else 2)
    flat = blocks(blocks(array).T).T.ravel()
    flat = flat - flat.mean()
    return flat / max(np.linalg.norm(flat), 1e-12)


def energies(samples: np.ndarray) -> np.ndarray:
    """Compute log energies per stretch and frequency, down to 20 dB below the peak."""
    samples = np.pad(samples, (0, max(0, 4 * SIDE * SIDE - len(samples))))
    stretches = samples[: len(samples) // (2 * SIDE) * 2 * SIDE].reshape(2 * SIDE, -1)
    power = np.abs(np.fft.rfft(stretches * np.hanning(stretches.shape[1]))) ** 2
    return np.log(power / max(power.max(), 1e-30) + 1e-2)


def blocks(array: np.ndarray) -> np.ndarray:
    """Average the rows in 16 blocks of equal height; of few rows some are in several."""
    starts = np.arange(SIDE) * len(array) // SIDE
    heights = np.maximum(np.diff([*starts, len(array)]), 1)
    return np.add.reduceat(array, starts, axis=0) / heights[:, None]
