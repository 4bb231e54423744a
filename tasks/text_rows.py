"""Examples of texts from rows: columns, templates of columns, several references."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.errors import InputError
from benchmark.types import Example
from tasks.common import Reading
from tasks.tables import answer, cell, text

FIELD = re.compile(r"""\{([^{}\n"']+)\}""")  # a column within a template


def apply_template(data: Any, template: str) -> Any:
    """Use a template of columns as source; {source} in it is the column of the source."""

    def source(columns: Mapping[str, str]) -> dict[str, str]:
        field = f"{{{columns['source']}}}"
        return {
            **columns,
            "source": FIELD.sub(lambda found: field if found[1] == "source" else found[0], template),
        }

    shifts = {
        name: {**shift, "columns": source(shift["columns"])}
        if isinstance(shift, Mapping) and "columns" in shift
        else shift
        for name, shift in data.shifts.items()
    }
    return replace(data, columns=source(data.columns), shifts=shifts)


def with_labels(data: Any) -> Any:
    """Return a view of rows of texts whose target is a label or a number; other data have them already."""
    if not hasattr(data, "labelled"):
        return data
    assert data.reading is not None  # made first, so that both have the same
    view = copy.copy(data)
    object.__setattr__(view, "labelled", True)
    return view


@dataclass(frozen=True)
class Table:
    """Mapping of rows to examples."""

    columns: Mapping[str, str | None]  # a source may be a template of several columns
    reading: Reading
    labelled: bool = False  # the target is a label or a number

    def examples(self, table: Iterable[Mapping[str, Any]], split: str, where: str) -> list[Example]:
        """Map each row to an example; a list of texts is several references."""
        return [self._example(row, split, where, number) for number, row in enumerate(table)]

    def _example(self, row: Mapping[str, Any], split: str, where: str, number: int) -> Example:
        if self.labelled:
            return self._with_label(row, split, where, number)
        if self.columns.get("partner") or self.columns.get("separator"):
            raise InputError("data.columns.partner and .separator: this task writes texts, which have neither")
        source, column = self._source(row, where, number + 1), str(self.columns["target"])
        target = cell(row, column, where)
        many = target if isinstance(target, list | tuple) else [target]
        targets = tuple(text({column: one}, column, where, number + 1) for one in many) or ("",)
        return Example(f"{split}/{number}", source, targets, self._group(row, where, number + 1))

    def _with_label(self, row: Mapping[str, Any], split: str, where: str, number: int) -> Example:
        """Map a row to a text, or two, with what a cell holds as its label."""
        columns = [self.columns["source"], self.columns.get("partner")]
        texts = tuple(text(row, column, where, number + 1) for column in columns if column)
        target = answer(row, self.columns, "target", where)
        group = self._group(row, where, number + 1)
        return Example(f"{split}/{number}", texts if len(texts) > 1 else texts[0], (target,), group)

    def _group(self, row: Mapping[str, Any], where: str, number: int) -> str | None:
        return (text(row, self.columns["group"], where, number) or None) if self.columns.get("group") else None

    def _source(self, row: Mapping[str, Any], where: str, number: int) -> str:
        column = str(self.columns["source"])
        if column in row or not FIELD.search(column):
            return text(row, column, where, number)
        return FIELD.sub(lambda found: text(row, found[1], where, number), column)


def learn_each(examples: Sequence[Example], reading: Reading) -> list[Example]:
    """Make each reference of train an example, as it is where every reference has a row."""
    reading.count("train", "further_references_learnt_as_examples", sum(len(e.targets) - 1 for e in examples))
    return [
        e._replace(id=f"{e.id}, reference {number}" if number > 1 else e.id, targets=(target,))
        for e in examples
        for number, target in enumerate(e.targets, 1)
    ]


def merge_equal(split: str, examples: Sequence[Example], reading: Reading) -> list[Example]:
    """Merge examples with equal sources, except empty ones."""
    by_source: dict[str, Example] = {}
    for example in examples:
        key = example.source or example.id
        known = by_source.get(key)
        by_source[key] = known._replace(targets=(*known.targets, *example.targets)) if known else example
    reading.count(split, "rows_merged_into_those_of_an_equal_source", len(examples) - len(by_source))
    return [*by_source.values()]
