"""Lattice proteins, solved exactly by enumerating every compact fold.

A fold is a self-avoiding walk through all sites (Shakhnovich & Gutin 1990, J. Chem. Phys. 93:5967). Residues on
neighbouring sites that the chain does not join are in contact, with the energies of Miyazawa & Jernigan (1996, J. Mol.
Biol. 256:623, Table III).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import permutations, product
from pathlib import Path

import numpy as np

RESIDUES = "ACDEFGHIKLMNPQRSTVWY"
UNITS = 100  # to a kT: published energies have two decimals, so that they are counted in whole numbers


@cache
def contact_energies() -> np.ndarray:
    """Read the energy of each pair of residues in contact.

    Shape [20, 20], order of RESIDUES, in kT / UNITS.
    """
    with open(Path(__file__).with_name("miyazawa_jernigan.csv"), newline="") as file:
        table = {row["residue"]: row for row in csv.DictReader(file)}
    whole = [[round(float(table[a][b]) * UNITS) for b in RESIDUES] for a in RESIDUES]
    return np.array(whole, dtype=np.float32)


def neighbours(shape: Sequence[int]) -> list[list[int]]:
    """List the sites beside each site of a grid."""
    sites = list(product(*map(range, shape)))
    number = {site: i for i, site in enumerate(sites)}
    steps = [tuple(sign * (axis == a) for a in range(len(shape))) for axis in range(len(shape)) for sign in (-1, 1)]
    beside = [[tuple(map(sum, zip(site, step, strict=True))) for step in steps] for site in sites]
    return [[number[site] for site in row if site in number] for row in beside]


def symmetries(shape: Sequence[int]) -> list[list[int]]:
    """List the images of all sites under each rotation and reflection of a grid."""
    sites = list(product(*map(range, shape)))
    number = {site: i for i, site in enumerate(sites)}
    turned = [axes for axes in permutations(range(len(shape))) if [shape[a] for a in axes] == list(shape)]
    return [
        [number[tuple(shape[a] - 1 - site[a] if a in flipped else site[a] for a in axes)] for site in sites]
        for axes in turned
        for flipped in (set(np.flatnonzero(bits)) for bits in product((0, 1), repeat=len(shape)))
    ]


def compact_folds(shape: Sequence[int]) -> Iterator[list[int]]:
    """Yield each directed walk through all sites, up to symmetry, by residue."""
    beside, images = neighbours(shape), symmetries(shape)
    free = [True] * len(beside)
    walk: list[int] = []

    def extend(site: int, alike: list[list[int]]) -> Iterator[list[int]]:
        # the smallest of all images stands for them: give up as soon as another one is smaller
        if any(image[site] < site for image in alike):
            return
        walk.append(site)
        free[site] = False
        if len(walk) == len(free):
            yield walk.copy()
        elif sum(sum(free[n] for n in beside[s]) + (s in beside[site]) < 2 for s, f in enumerate(free) if f) < 2:
            # a free site with a single way in is an end of the chain, and there is one such end
            alike = [image for image in alike if image[site] == site]
            for n in beside[site]:
                if free[n]:
                    yield from extend(n, alike)
        free[site] = True
        walk.pop()

    for site in range(len(free)):
        yield from extend(site, images)


def contacts(fold: Sequence[int], shape: Sequence[int]) -> list[tuple[int, int]]:
    """List the pairs of residues on neighbouring sites that do not follow each other."""
    index = {site: i for i, site in enumerate(fold)}
    pairs = {(index[a], index[b]) for a, row in enumerate(neighbours(shape)) for b in row}
    return sorted((i, j) for i, j in pairs if j - i > 1)


class Lattice:
    """Every compact fold of a grid, and the energies of sequences in them."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.folds = np.array(list(compact_folds(shape)), dtype=np.int16)
        maps = [contacts(fold, shape) for fold in self.folds.tolist()]
        self.pairs = np.array(sorted({pair for pairs in maps for pair in pairs}))
        column = {tuple(pair): i for i, pair in enumerate(self.pairs.tolist())}
        self.incidence = np.zeros((len(maps), len(self.pairs)), dtype=np.float32)  # [folds, pairs]: 1 = in contact
        for row, pairs in zip(self.incidence, maps, strict=True):
            row[[column[pair] for pair in pairs]] = 1

    def energies(self, sequences: np.ndarray) -> np.ndarray:
        """Compute energies of sequences in every fold: [S, folds], kT / UNITS.

        Float32 holds whole numbers up to 2**24 exactly: the sums are the same in whatever order a processor adds them.
        """
        return contact_energies()[sequences[:, self.pairs[:, 0]], sequences[:, self.pairs[:, 1]]] @ self.incidence.T

    def stability(self, sequences: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """Compute the free energy of all other folds minus that of the sequence's, in kT.

        stability(s, t) = -ln sum_{f != t} exp(-E(s, f)) - E(s, t): the chain is in t with odds exp(stability).
        Float64 from exact energies: processors differ by 1e-14, far below any decimal that is kept.
        """
        energies = self.energies(sequences).astype(np.float64) / UNITS
        rows = np.arange(len(energies))
        native = energies[rows, folds]
        energies[rows, folds] = np.inf
        lowest = energies.min(1)
        return lowest - np.log(np.exp(lowest[:, None] - energies).sum(1)) - native
