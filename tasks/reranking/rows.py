"""Queries from rows of tables, in the layouts that people have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmark.errors import InputError
from benchmark.types import Example
from tasks.common import Reading
from tasks.reranking.queries import Candidate, Gathered, as_examples, bad, candidate
from tasks.tables import cell, columns_of, strip_cell, text

IDS = ("id", "_id", "docid", "pid")  # names of a candidate's fields
TEXTS = ("text", "contents", "passage")
LISTS = "positive", "negative"  # columns of the layout without grades
Row = Mapping[str, Any]
Found = tuple[list[Candidate], int]  # of a row, and how many relevant ones are no candidates


def read_queries(
    rows: Sequence[Row], columns: Mapping[str, str | None], retrieved: bool, place: tuple[str, str], reading: Reading
) -> list[Example]:
    """Make an example of all rows with one query. Raises InputError for a missing column.

    place: split and file.
    """
    split, where = place
    gathered: dict[str, Gathered] = {}
    broken = []
    lists = bool(rows) and _has_lists(rows[0], columns, where)
    if lists and retrieved:
        raise InputError(f"{where}: lists of positive and negative texts have no order: leave data.retrieved out")
    for number, row in enumerate(rows):
        query = text(row, str(columns["query"]), where, number + 1)
        try:
            if not query:
                raise ValueError("no query")
            found, missed = _of_lists(row, columns, where) if lists else _graded(row, columns, where)
        except ValueError as error:
            broken.append(bad(f"{split}/{number}", f"{where}, row {number + 1}: {error}"))
            continue
        group = text(row, columns["group"], where, number + 1) if columns.get("group") else None
        one = gathered.setdefault(query, Gathered(f"{split}/{number}", query, group or None))
        one.candidates += found
        reading.count(split, "relevant_ones_that_are_no_candidates", missed)
    reading.count(split, "rows_merged_into_those_of_an_equal_query", len(rows) - len(broken) - len(gathered))
    return [*as_examples(split, [*gathered.values()], retrieved, where, reading), *broken]


def _has_lists(row: Row, columns: Mapping[str, str | None], where: str) -> bool:
    """Say whether relevant and other texts stand apart. Raises InputError where no candidates are found."""
    there = {*columns_of(row), *row}
    if columns["candidates"] in there:
        return False
    if columns["positive"] in there:
        return True
    raise InputError(
        f"{where}: neither a column {columns['candidates']!r} (data.columns.candidates) nor {columns['positive']!r} "
        f"(data.columns.positive); it has {', '.join(columns_of(row))}"
    )


def _of_lists(row: Row, columns: Mapping[str, str | None], where: str) -> Found:
    """Read relevant texts and others, each a list or one text. Raises ValueError."""
    found = []
    for role, value in ((role, cell(row, str(columns[role]), where)) for role in LISTS):
        listed = value if isinstance(value, list | tuple) else [] if value is None else [value]
        found += [candidate(*named(one), int(role == LISTS[0])) for one in listed]
    if not found:
        raise ValueError("no candidates")
    return found, 0


def _graded(row: Row, columns: Mapping[str, str | None], where: str) -> Found:
    """Read candidates with their relevance, or one candidate of a row for each. Raises ValueError."""
    value = cell(row, str(columns["candidates"]), where)
    relevance = cell(row, str(columns["relevance"]), where)
    if isinstance(value, str | int | float | dict):
        value, relevance = [value], relevance if isinstance(relevance, list | tuple | dict) else [grade(relevance)]
    if not value:
        raise ValueError("no candidates")
    if not isinstance(value, list | tuple):
        raise ValueError(f"candidates {value!r:.40} are no list")  # noqa: TRY004 - broken content
    pairs = [named(one) for one in value]
    given, missed = grades(pairs, relevance)
    return [candidate(*pair, one) for pair, one in zip(pairs, given, strict=True)], missed


def named(value: Any) -> tuple[str | None, str]:
    """Give id and text of a candidate: a text, or an object with both. Raises ValueError."""
    if isinstance(value, Mapping):
        name = next((str(value[key]) for key in IDS if value.get(key) is not None), None)
        content = next((value[key] for key in TEXTS if key in value), None)
        if isinstance(content, str):
            title = value.get("title")
            return name, f"{title} {content}".strip() if isinstance(title, str) else content.strip()
        raise ValueError(f"a candidate {str(dict(value))[:40]} has no {', '.join(TEXTS[:-1])} or {TEXTS[-1]}")
    if not isinstance(value, str | int | float) or strip_cell(value) is None:
        raise ValueError(f"a candidate {value!r:.40} is no text")
    return None, str(value).strip()


def grades(pairs: Sequence[tuple[str | None, str]], relevance: Any) -> tuple[list[int], int]:
    """Give a grade per candidate, from grades in their order, by id, or from ids or texts of relevant ones.

    Gives also how many relevant ones are no candidates. Raises ValueError.
    """
    names = {part for pair in pairs for part in pair}
    if isinstance(relevance, list | tuple):
        if _are_grades(relevance, names):
            if len(relevance) != len(pairs):
                raise ValueError(f"{len(pairs)} candidates, and {len(relevance)} grades of relevance")
            return [grade(one) for one in relevance], 0
        relevance = {str(strip_cell(one)): 1 for one in relevance if strip_cell(one) is not None}
    if not isinstance(relevance, Mapping):
        raise ValueError(f"relevance {relevance!r:.40} is neither a list nor grades by id")  # noqa: TRY004
    by_name = {str(name).strip(): grade(value) for name, value in relevance.items()}
    found = [by_name.get(str(name), by_name.get(content, 0)) for name, content in pairs]
    return found, sum(value > 0 for name, value in by_name.items() if name not in names)


def _are_grades(relevance: Sequence[Any], names: set[str | None]) -> bool:
    """Say whether a list holds numbers, and not texts that are names of candidates."""
    return bool(relevance) and all(
        isinstance(one, int | float) or (isinstance(one, str) and one not in names and one.strip().isdecimal())
        for one in relevance
    )


def grade(value: Any) -> int:
    """Read a whole number; below 0 is not relevant. Raises ValueError."""
    value = strip_cell(value)
    if value is None:
        raise ValueError("no relevance")
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"relevance {value!r:.40} is no number") from error
    if not number.is_integer():
        raise ValueError(f"relevance {value} is no whole number, as graded relevance is counted")
    return int(number)
