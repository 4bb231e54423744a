"""Base of tasks that read a text, or two as one input, and answer with a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.errors import InputError
from benchmark.types import Features, Input, Kind, Splits
from tasks.common import Data
from tasks.folds import read_splits
from tasks.labelled import Labelled
from tasks.text_rows import with_labels

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Texts(Labelled):
    """Task that reads a text, or two as one input."""

    reads: ClassVar[Input] = Input.TEXT

    max_source_tokens: int  # of a text, or of two together, special tokens included; longer ones are cut and counted

    @cached_property
    def table(self) -> Data:
        """Data of which the target is a label."""
        return with_labels(self.data)

    def read(self) -> Splits:
        return read_splits(self.table, self.fold, self.reading)

    def longest(self, kind: Kind) -> int:
        return self.max_source_tokens

    def largest(self, kind: Kind) -> tuple[float, int]:
        return self.max_source_tokens, 0

    def source(self, given: Any) -> Any:
        """Take a text, or two. Raises InputError."""
        texts = tuple(given) if isinstance(given, list | tuple) else (given,)
        if not 1 <= len(texts) <= 2 or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{given!r:.40}: one text wanted, or two")
        return texts if len(texts) == 2 else texts[0]

    def features(self, source: Any, processor: Any, counts: dict[str, int]) -> Features:
        texts = source if isinstance(source, tuple) else (source,)
        row, cut = processor.read(texts, self.max_source_tokens)
        unknown, length = processor.unknown(row), len(row["input_ids"])
        for name, number in (("truncated_sources", bool(cut)), ("unknown_tokens_in_sources", unknown)):
            if number:
                counts[name] = counts.get(name, 0) + number
        if unknown > length / 2:
            counts["unreadable_sources"] = counts.get("unreadable_sources", 0) + 1
        return {"row": row, "length": length if any(text.strip() for text in texts) else 0}

    def unreadable(self, counts: Mapping[str, int], number: int) -> str | None:
        unreadable = counts.get("unreadable_sources", 0)
        if unreadable <= number / 2:
            return None
        return f"{unreadable:,} of {number:,} sources are mostly characters that the backbone has no token for"

    def inputs(self, features: Sequence[Features], processor: Any) -> dict[str, torch.Tensor]:
        return processor.batch([f["row"] for f in features])

    def tokens(self, batch: Mapping[str, torch.Tensor]) -> int:
        return int(batch["attention_mask"].sum())
