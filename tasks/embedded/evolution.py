"""Lattice proteins that evolved to be stable: pretraining data, and a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from benchmark.types import Example, Splits
from tasks.cache import load_or_make
from tasks.common import Data
from tasks.embedded.lattice import RESIDUES, Lattice

SPLITS = ("train", "valid", "test", "test/mutations", "test/fold")
DECIMALS = 4  # of a target, in kT


def evolve(lattice: Lattice, folds: np.ndarray, selection: float, steps: int, rng: np.random.Generator) -> Iterator:
    """Mutate a sequence per fold; yield all per step, shape [folds, residues].

    Metropolis steps sample sequences with odds exp(selection * stability).
    """
    rows, length = np.arange(len(folds)), lattice.folds.shape[1]
    sequences = rng.integers(len(RESIDUES), size=(len(folds), length))
    stability = lattice.stability(sequences, folds)
    for _ in range(steps):
        mutants = sequences.copy()
        mutants[rows, rng.integers(length, size=len(rows))] = rng.integers(len(RESIDUES), size=len(rows))
        changed = lattice.stability(mutants, folds)
        accepted = np.log(rng.random(len(rows))) < selection * (changed - stability)
        sequences[accepted], stability[accepted] = mutants[accepted], changed[accepted]
        yield sequences


def mutate(sequences: np.ndarray, most: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Replace most[0] to most[1] random residues of each sequence by others."""
    mutants = sequences.copy()
    for row in mutants:
        places = rng.choice(len(row), rng.integers(most[0], most[1] + 1), replace=False)
        row[places] = (row[places] + rng.integers(1, len(RESIDUES), len(places))) % len(RESIDUES)
    return mutants


def identity(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give the largest share of equal residues with any of the others."""
    letters = np.eye(len(RESIDUES), dtype=np.float32)
    flat = letters[others].reshape(len(others), -1).T
    parts = np.array_split(some, max(1, len(some) // 1000))
    return np.concatenate([(letters[p].reshape(len(p), -1) @ flat).max(1) for p in parts]) / some.shape[1]


def spell(sequences: np.ndarray) -> list[str]:
    """Write sequences as letters."""
    return ["".join(RESIDUES[i] for i in row) for row in sequences]


@cache
def lattice(shape: tuple[int, ...]) -> Lattice:
    """Enumerate a grid's folds once per process."""
    return Lattice(shape)


@dataclass(frozen=True, kw_only=True)
class LatticeMutants(Data):
    """Mutants of evolved parents, and their stability in the parent's fold, in kT.

    No two splits share a parent.
    """

    shape: list[int]  # of the grid
    folds: list[int]  # of train, valid, test and test/mutations
    shifted_folds: list[int]  # of test/fold
    selection: float  # how strongly stability was selected for, per kT
    steps: int  # mutations tried per parent
    mutations: list[int]  # fewest and most, of each mutant
    shifted_mutations: list[int]  # those of test/mutations
    parents: dict[str, int]  # per split
    mutants: dict[str, int]  # per parent
    seed: int

    def splits(self) -> Splits:
        """Evolve parents and mutate them; the target is exact."""
        data = load_or_make("lattice", {**asdict(self), "description": None}, self._make)
        return {
            name: [
                Example(f"{name}/{i}", text, (round(float(kt), DECIMALS),), group=f"{name}/parent{parent}")
                for i, (text, kt, parent) in enumerate(
                    zip(spell(data[f"{name} sequences"]), data[f"{name} kT"], data[f"{name} parents"], strict=True)
                )
            ]
            for name in SPLITS
        }

    def _make(self) -> dict[str, np.ndarray]:
        rng, grid = np.random.default_rng(self.seed), lattice(tuple(self.shape))
        wanted = {name: self.shifted_folds if name == "test/fold" else self.folds for name in SPLITS}
        folds = {name: np.resize(wanted[name], self.parents[name]) for name in SPLITS}
        *_, evolved = evolve(grid, np.concatenate(list(folds.values())), self.selection, self.steps, rng)
        parents = np.split(evolved, np.cumsum([len(f) for f in folds.values()])[:-1])
        arrays = {}
        for name, ancestors in zip(SPLITS, parents, strict=True):
            numbers = np.repeat(np.arange(len(ancestors)), self.mutants[name])
            most = self.shifted_mutations if name == "test/mutations" else self.mutations
            mutants = mutate(ancestors[numbers], most, rng)
            arrays[f"{name} sequences"], arrays[f"{name} parents"] = mutants, numbers
            arrays[f"{name} kT"] = grid.stability(mutants, folds[name][numbers])
        return arrays


@dataclass(frozen=True, kw_only=True)
class Relatives:
    """Sequences that evolved in some folds, not near any task's sequence."""

    shape: list[int]
    folds: list[int]
    selection: list[float]  # each fold's chains are dealt out over these
    chains: int  # that evolve from different random sequences
    steps: int  # before the first sequence is taken, and
    apart: int  # steps between two taken from one chain
    taken: int  # sequences per chain
    most_identity: float  # share of residues equal to any sequence of the task
    held_out: int  # sequences, of chains of their own
    seed: int

    def sequences(self, task: Mapping[str, Sequence[Example]]) -> tuple[np.ndarray, np.ndarray]:
        """Evolve: (sequences to train on, sequences held out).

        Shape [number, residues], indices of RESIDUES.
        """
        texts = [e.source for examples in task.values() for e in examples]
        task_sequences = np.array([[RESIDUES.index(letter) for letter in text] for text in texts])
        data = load_or_make("relatives", {**asdict(self), "most_identity": None}, self._make)
        trained, held_out = (
            data[name][identity(data[name], task_sequences) <= self.most_identity] for name in ("trained", "held_out")
        )
        return trained, held_out

    def _make(self) -> dict[str, np.ndarray]:
        grid, rng = lattice(tuple(self.shape)), np.random.default_rng(self.seed)
        pairs = [(fold, selection) for selection in self.selection for fold in self.folds]
        folds, selection = (np.array(part) for part in zip(*pairs, strict=True))
        number = -(-self.chains // len(pairs)) * len(pairs)
        trained = self._taken(grid, np.resize(folds, number), np.resize(selection, number), self.taken, rng)
        apart = self._taken(grid, np.resize(folds, self.held_out), np.resize(selection, self.held_out), 1, rng)
        return {"trained": trained, "held_out": apart}

    def _taken(self, grid: Lattice, folds: np.ndarray, selection: np.ndarray, number: int, rng) -> np.ndarray:
        steps = self.steps + self.apart * (number - 1)
        history = enumerate(evolve(grid, folds, selection, steps, rng), 1)
        return np.concatenate([s.copy() for i, s in history if i >= self.steps and (i - self.steps) % self.apart == 0])
