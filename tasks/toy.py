"""Tiny synthetic data set for tests and smoke runs: numbers in words."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmark.types import Example, Splits
from tasks.common import Data

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, kw_only=True)
class Toy(Data):
    """Four digits and their names; the shifted test has six digits."""

    train: int
    test: int  # also the size of valid and of the shifted test

    def splits(self) -> Splits:
        numbers = random.Random(0).sample(range(1000, 10_000), self.train + 2 * self.test)
        shifted = random.Random(1).sample(range(100_000, 1_000_000), self.test)
        cuts = {
            "train": numbers[: self.train],
            "valid": numbers[self.train : -self.test],
            "test": numbers[-self.test :],
        }
        return {name: [_spelled(n) for n in chosen] for name, chosen in {**cuts, "test/longer": shifted}.items()}


def _spelled(number: int) -> Example:
    return Example(str(number), str(number), (" ".join(DIGITS[int(d)] for d in str(number)),))
