"""Questions with choices from rows: where the choices are, and which of them is right."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmark.types import Bad, Example
from tasks.tables import cell, label, strip_cell
from tasks.text_rows import Table

RIGHT = ("text", "letter", "index", "number", "label")  # what a target may be: 'ice', 'B', 1 from 0, 2 from 1, a label


class Asked(tuple[str, ...]):
    """A question and its choices, in their order."""

    __slots__ = ()

    @property
    def question(self) -> str:
        return self[0]

    @property
    def choices(self) -> tuple[str, ...]:
        return tuple(self[1:])

    def read(self) -> str:
        """Give question and choices as one text, by which questions are compared."""
        return "\n".join(self)


@dataclass(frozen=True)
class ChoiceTable(Table):
    """Mapping of rows to questions; the target is the number of the right choice, from 1."""

    columns_of_choices: Sequence[str] = ()  # one that holds lists, or one per choice
    fixed: Sequence[str] = ()  # choices of every row, in place of columns
    listed_after: str | None = None  # text of the source after which it names its choices: yes/no
    right: str = "text"
    labels: str | None = None  # column with a list of the choices' labels

    def _example(self, row: Mapping[str, Any], split: str, where: str, number: int) -> Example:
        question = self._source(row, where, number + 1)
        try:
            asked = self.ask(row, question, where)
            right = self._right(row, asked.choices, where)
        except ValueError as error:
            asked, right = Bad(f"{where}, row {number + 1}: {error}"), 0
        return Example(f"{split}/{number}", asked, (str(right + 1),), self._group(row, where, number + 1))

    def ask(self, row: Mapping[str, Any], question: str, where: str) -> Asked:
        """Join a question and its choices; empty ones at the end do not count. Raises ValueError."""
        choices = [plain(choice) for choice in self._choices(row, question, where)]
        while choices and not choices[-1]:
            choices.pop()
        if len(choices) < 2 or not all(choices):
            raise ValueError(f"choices: {len(choices)} given, two or more wanted, none of them empty")
        return Asked((question, *choices))

    def _choices(self, row: Mapping[str, Any], question: str, where: str) -> Sequence[Any]:
        if self.listed_after:
            _, found, listed = question.rpartition(self.listed_after)
            return listed.split("/") if found else []
        if self.fixed:
            return self.fixed
        if len(self.columns_of_choices) == 1:
            return as_list(cell(row, self.columns_of_choices[0], where))
        return [cell(row, column, where) for column in self.columns_of_choices]

    def _right(self, row: Mapping[str, Any], choices: Sequence[str], where: str) -> int:
        """Find the right choice, from 0. Raises ValueError."""
        given = label(cell(row, str(self.columns["target"]), where))
        names = {
            "text": lambda: map(label, choices),
            "letter": lambda: map(chr, range(ord("A"), ord("A") + len(choices))),
            "index": lambda: map(str, range(len(choices))),
            "number": lambda: map(str, range(1, len(choices) + 1)),
            "label": lambda: map(label, as_list(cell(row, str(self.labels), where))),
        }
        known = [*names[self.right]()][: len(choices)]
        given = given.strip("(). ").upper() if self.right == "letter" else given
        if given not in known:
            raise ValueError(
                f"the right answer {given!r:.40} is none of {', '.join(known)!s:.80} (data.right={self.right})"
            )
        right = known.index(given)
        if choices.count(choices[right]) > 1:
            raise ValueError(f"the right answer {choices[right]!r:.40} is among the choices twice")
        return right


def as_list(value: Any) -> Sequence[Any]:
    """Read a list, also one that a table holds as the text of JSON or Python. Raises ValueError."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            value = ast.literal_eval(value)
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r:.40} is no list; data.choices=[a,b] names a column per choice")  # noqa: TRY004
    return value


def plain(choice: Any) -> str:
    """Write a choice as text. Raises ValueError."""
    choice = strip_cell(choice)
    if isinstance(choice, list | tuple | dict | bytes):
        raise ValueError(f"{choice!r:.40} stands where one choice is wanted")  # noqa: TRY004 - broken content
    return "" if choice is None else str(choice)
