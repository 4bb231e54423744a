"""Base of tasks with an input and a label: images, proteins and speech."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import IGNORED, Bad, Example, Features, Head, Kind, Prediction, Splits, Task
from benchmark.types.folds import Fold
from tasks.common import Data, Reading
from tasks.folds import read_splits

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Labelled(Task):
    """Task that reads a source and answers with a label; see answers/."""

    fold: ClassVar[Fold | None] = None  # of a view: in_fold() of benchmark/types/folds.py

    data: Data
    skip_bad: bool

    @abstractmethod
    def features(self, source: Any, processor: Any, counts: dict[str, int]) -> Features:
        """Encode a source for this processor; `length` counts its positions."""

    @abstractmethod
    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        """Pad features into the network's keyword arguments, without labels."""

    def read(self) -> Splits:
        """Read the data; a domain replaces unusable sources by Bad."""
        return read_splits(self.data, self.fold, self.reading)

    def splits(self) -> Splits:
        """Read the data; an example with a label that train lacks becomes Bad.

        Raises InputError where the headline cannot be computed on a test.
        """
        splits = {name: [self._settled(e) for e in examples] for name, examples in self.read().items()}
        train = [e for e in splits.get("train", ()) if not isinstance(e.source, Bad)]
        if not train:  # the caller refuses an empty split
            return splits
        head = self.head(self.kinds[0], train)
        checked = {
            name: [self._checked(e, head) for e in examples] if self.closed(name) else examples
            for name, examples in splits.items()
        }
        for name in (name for name in checked if name.startswith("test")):
            self.measurable(name, checked[name], head)
        if self.skip_bad or len(train) == len(splits["train"]):  # bad rows are refused first
            self.check_varied(head, len(train))
        valid = [e.targets for e in checked.get("valid", ()) if not isinstance(e.source, Bad)]
        if valid and (reason := self.lacking(valid, head)):  # its loss can still select a checkpoint
            self.reading.notes["valid_has"] = reason
        return checked

    def check_varied(self, head: Head, number: int) -> None:
        """Refuse training examples of one class. Raises InputError."""
        if head.kind in (Kind.CLASSIFY, Kind.TAG) and len(head.labels) < 2:
            only = f"class {head.labels[0]!r} alone" if head.labels else "no class"
            raise InputError(f"the {number:,} training examples are of {only}: nothing to learn (data.columns)")

    def closed(self, split: str) -> bool:
        """Say whether the labels of a split must be among those of train."""
        return True

    def lacking(self, targets: Sequence[tuple[Any, ...]], head: Head) -> str | None:
        """Give the reason why the headline cannot be computed on these targets."""
        return None

    def skips_bad(self) -> bool:
        return self.skip_bad

    def unpinned(self) -> list[str]:
        return self.data.unpinned()

    def files(self) -> Mapping[str, Path]:
        return self.data.local()

    @cached_property
    def reading(self) -> Reading:
        return getattr(self.data, "reading", None) or Reading()

    def settled(self, target: Any) -> Any:
        """Turn a value of a file into a target. Raises ValueError."""
        return target

    def encode(self, example: Example, processor: Any, counts: dict[str, int]) -> Features | None:
        features = self.features(example.source, processor, counts)
        if not features["length"]:
            counts["empty_examples"] = counts.get("empty_examples", 0) + 1
            return None
        if example.targets == (self.placeholder,):  # an input without a known answer
            return features
        return {**features, **self.answer(example, features, processor, counts)}

    def answer(self, example: Example, features: Features, processor: Any, counts: dict[str, int]) -> Features:
        """Encode the answer to an encoded source; count what is cut."""
        return {"label": self.label(example, processor.head, features["length"])}

    def length(self, features: Features) -> int:
        return features["length"]

    def collate(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        width = max(f["length"] for f in features)
        return {**self.inputs(features, processor), "labels": self.labels([f["label"] for f in features], width)}

    def items(self, batch: Mapping[str, torch.Tensor]) -> int:
        """Count examples, positions that count, or characters."""
        labels = batch["labels"]
        return len(labels) if labels.ndim == 1 else int((labels != IGNORED).sum())

    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        return 0

    def predict(self, model: nn.Module, features: Sequence[Features], processor: Any) -> list[Prediction]:
        device = next(model.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in self.inputs(features, processor).items()}
        return self.answers(model(**inputs), features, processor.head)

    def measurable(self, split: str, examples: Sequence[Example], head: Head) -> None:
        """Refuse a test on which the headline cannot be computed. Raises InputError."""
        known = [e.targets for e in examples if not isinstance(e.source, Bad)]
        if not known or (len(known) < len(examples) and not self.skip_bad):  # bad rows are refused first
            return
        if reason := self.lacking(known, head):
            raise InputError(
                f"split {split} has {reason}, so that {self.metric} cannot be computed: add such rows "
                f"(the settings under data. choose its rows)"
            )

    def _settled(self, example: Example) -> Example:
        if isinstance(example.source, Bad):
            return example
        try:
            return example._replace(targets=tuple(map(self.settled, example.targets)))
        except ValueError as error:
            return example._replace(source=Bad(f"example {example.id}: {error}"))

    def _checked(self, example: Example, head: Head) -> Example:
        if isinstance(example.source, Bad):
            return example
        reason = self.unknown(example, head)
        return example._replace(source=Bad(f"example {example.id}: {reason}")) if reason else example
