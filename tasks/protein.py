"""Tasks of proteins: a number, class or label per residue."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Features, Head, Input, Kind, Splits
from tasks.answers.classification import Classification
from tasks.answers.multilabel import Multilabel
from tasks.answers.regression import Regression, number
from tasks.answers.tagging import Tagging
from tasks.labelled import Labelled
from tasks.tables import label, strip_cell

if TYPE_CHECKING:
    import torch

RESIDUES = frozenset("ACDEFGHIKLMNPQRSTVWYXBZUOJ")  # the twenty, and rare or ambiguous ones


@dataclass(frozen=True, kw_only=True)
class Proteins(Labelled):
    """Task that reads a sequence, or a pair of sequences through one encoder."""

    reads: ClassVar[Input] = Input.PROTEIN

    max_residues: int  # of each sequence; longer ones are cut and counted
    fragment: float | None  # share of each sequence that test/fragments keeps; null: the data has its own shift

    def __post_init__(self) -> None:
        if self.fragment is not None and not 0 < self.fragment < 1:
            raise InputError(f"task.fragment: {self.fragment} given, a share between 0 and 1 wanted, or null")
        if self.max_residues < 1:
            raise InputError(f"task.max_residues: {self.max_residues} given, at least 1 wanted")

    def read(self) -> Splits:
        """Read the data; an unusable sequence or target becomes Bad, with file and row."""
        splits = {name: [self._read(e) for e in examples] for name, examples in super().read().items()}
        if self.fragment is not None:
            splits["test/fragments"] = [self._fragment(e) for e in splits["test"]]
        return splits

    def target(self, value: Any, source: Any) -> Any:
        """Turn a value of a file into a target. Raises ValueError."""
        return value

    def source(self, given: Any) -> Any:
        """Read a sequence, or two. Raises InputError."""
        try:
            return tuple(map(residues, given)) if self.pair else residues(given)
        except ValueError as error:
            raise InputError(f"{given!r}: {error}") from error

    def features(self, source: Any, processor: Any, counts: dict[str, int]) -> Features:
        sequences = source if isinstance(source, tuple | list) else (source,)
        rows = [self._cut(processor.ids(sequence), processor, counts) for sequence in sequences]
        return {"rows": rows, "length": sum(map(len, rows)) if all(rows) else 0}

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad residues; of pairs, all first sequences come before all second ones."""
        return processor.batch([row for rows in zip(*(f["rows"] for f in features), strict=True) for row in rows])

    def largest(self, kind: Kind) -> tuple[float, int]:
        return self.max_residues, 0

    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        return int(batch["attention_mask"].sum())

    def _fragment(self, example: Example) -> Example:
        """Cut an example to its beginning, with labels per residue too."""

        def begun(whole: Any) -> Any:
            return whole[: math.ceil(self.fragment * len(whole))]

        fragment = example._replace(id=f"{example.id}, its beginning")
        if isinstance(example.source, Bad):
            return fragment
        per_residue = Kind.TAG in self.kinds
        targets = tuple(begun(t) if per_residue else t for t in example.targets)
        return fragment._replace(
            source=tuple(map(begun, example.source)) if self.pair else begun(example.source), targets=targets
        )

    def _cut(self, ids: list[int], processor: Any, counts: dict[str, int]) -> list[int]:
        most = min(self.max_residues, processor.longest or self.max_residues)
        counts["residues"] = counts.get("residues", 0) + len(ids)
        if len(ids) > most:
            counts["truncated_sequences"] = counts.get("truncated_sequences", 0) + 1
            counts["residues_cut"] = counts.get("residues_cut", 0) + len(ids) - most
        return ids[:most]

    def sum_up(self, counts: dict[str, Any]) -> None:
        total, cut = counts.pop("residues", 0), counts.pop("residues_cut", 0)
        if cut:
            counts["percent_of_residues_cut"] = round(100 * cut / total, 2)

    def _read(self, example: Example) -> Example:
        if isinstance(example.source, Bad):
            return example
        if isinstance(example.source, tuple) != self.pair:
            wanted = "two sequences (data.columns.partner)" if self.pair else "one sequence"
            raise InputError(f"{example.id}: this task reads {wanted}")
        try:
            source = tuple(map(residues, example.source)) if self.pair else residues(example.source)
            targets = tuple(self.target(target, source) for target in example.targets)
        except (ValueError, TypeError) as error:
            return example._replace(source=Bad(f"{example.id}: {error}"))
        return example._replace(source=source, targets=targets)


def residues(text: Any) -> str:
    """Read a sequence of letters in any case, with blanks, and a stop at the end.

    Raises ValueError for anything else.
    """
    sequence = "".join(str(text or "").split()).upper().removesuffix("*")
    for position, letter in enumerate(sequence, 1):
        if letter not in RESIDUES:
            raise ValueError(f"{letter!r} at position {position} is no residue")
    if not sequence:
        raise ValueError("the sequence is empty")
    return sequence


class Numbers(Regression):
    """Mix-in for targets that are numbers."""

    metric: ClassVar[str] = "spearman"

    def target(self, value: Any, source: Any) -> float:
        return number(value)


class Classes(Classification):
    """Mix-in for targets that are classes."""

    metric: ClassVar[str] = "macro_f1"

    def target(self, value: Any, source: Any) -> str:
        return label(value)


@dataclass(frozen=True, kw_only=True)
class ProteinRegression(Numbers, Proteins):
    """Task with a number per sequence."""


@dataclass(frozen=True, kw_only=True)
class ProteinClassification(Classes, Proteins):
    """Task with a class per sequence."""


@dataclass(frozen=True, kw_only=True)
class ProteinMultilabel(Multilabel, Proteins):
    """Task with any number of labels per sequence, such as functions or places in the cell."""


@dataclass(frozen=True, kw_only=True)
class ProteinTagging(Tagging, Proteins):
    """Task with a label per residue; masked residues are not used."""

    metric: ClassVar[str] = "accuracy"

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        """Encode, and count the labels of cut residues, whose answers are wrong."""
        features = super().encode(example, processor, counts)
        if features and example.targets != (self.placeholder,):
            lost = sum(tag is not None for tag in example.targets[0][features["length"] :])
            if lost:
                counts["labels_of_cut_residues_scored_as_wrong"] = (
                    counts.get("labels_of_cut_residues_scored_as_wrong", 0) + lost
                )
        return features

    def target(self, value: Any, source: str) -> tuple[str | None, ...]:
        if value is None:
            raise ValueError("no labels")
        tags = tuple(None if strip_cell(tag) is None else label(tag) for tag in value)
        if len(tags) != len(source):
            raise ValueError(f"{len(source)} residues, {len(tags)} labels")
        return tags


@dataclass(frozen=True, kw_only=True)
class ProteinPairRegression(Numbers, Proteins):
    """Task with a number per pair, whatever its order."""

    pair: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class ProteinPairClassification(Classes, Proteins):
    """Task with a class per pair, whatever its order, such as interaction."""

    metric: ClassVar[str] = "aupr"
    pair: ClassVar[bool] = True

    def lacking(self, targets: Sequence[tuple[Any, ...]], head: Head) -> str | None:
        """Name a missing class, without which the average precision cannot be computed."""
        if len(head.labels) < 2:
            return f"no class beside {head.labels[0]!r}"
        missing = set(head.labels) - {str(t[0]) for t in targets}
        return f"no example of class {min(missing)!r}" if missing else None
