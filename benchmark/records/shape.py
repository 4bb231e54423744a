"""Types and ranges of what a record holds, checked where one is read.

Whatever a report, a table or a command does with a record relies on them; other keys may hold any small JSON.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.records.record import Record

NOUNS = ("task", "method", "backbone", "budget")  # nodes of a configuration
EACH = "*"  # in a path: every item of a list, or every value of a dict
FIELDS: dict[type, tuple[str, ...]] = {  # types of fields, all of which a record has
    str: ("run_id", "task", "method", "backbone", "status", "created"),
    int: ("schema", "seed"),
    dict: ("config", "data", "signatures", "environment"),
    list: ("modules",),
}
INSIDE: dict[type | UnionType, tuple[str, ...]] = {  # types of values in fields, which may be absent
    str: (
        "reason", "config.phase", "config.size_of", "config.budget.name", "config.budget.precision", "data.metric",
        "data.headline", "data.headlines.*", "data.proper", "data.majority", "data.fingerprint", "data.sample",
        "data.pool", "data.explicit.*", "data.answers_digest", "data.overrides.*", "data.unpinned.*",
        "data.selected.at_edge.*", "environment.device", "environment.device_name", "environment.commit",
        "signatures.*", "modules.*",
    ),
    int: (
        "config.seed", "config.seed_sample", "config.seed_init", "config.seed_order", "config.trial",
        "config.until", "config.fold", "config.folds", "config.size", "config.budget.steps", "config.budget.batch_size",
        "data.sizes.*", "data.selected.trial", "data.selected.trials", "data.size.reached",
        "data.size.wanted",
    ),
    int | float: ("environment.load_average", "environment.cores", "config.fraction"),
    dict: (
        *(f"config.{noun}" for noun in NOUNS), "config.method.search", "data.sizes", "data.headlines", "data.head",
        "data.counts", "data.counts.*", "data.reading", "data.missing", "data.selected", "data.size",
    ),
    list: ("data.explicit", "data.overrides", "data.unpinned", "data.selected.at_edge"),
}  # fmt: skip
PATHS = {path: (kind, path.split(".")) for kind, paths in INSIDE.items() for path in paths}
REQUIRED = {  # where the first is, the others are read as well
    "data.selected": ("data.selected.trial", "data.selected.trials"),
    "data.size": tuple(f"data.size.{key}" for key in ("knob", "value", "reached", "wanted", "of")),
}
NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")  # one part of a path, not hidden
LARGEST = 1e150  # limit of a value, so that its square is finite
WHOLE = 1 << 63  # limit of a whole number
MOST_FOLDS = 1000
DEEPEST = 40  # objects and lists inside one another


def escaped(text: str) -> str:
    """Escape half characters, which JSON can hold, and neither UTF-8 nor a table can."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def check_shape(record: Record) -> None:
    """Raise ValueError for a value of the wrong type, out of range, or unfit as part of a path."""
    odd = next(_odd_fields(record), None) or next(_odd_values(record), None)
    if odd:
        raise ValueError(f"{odd} is not of the type or range that a record has")


def _odd_fields(record: Record) -> Iterator[str]:
    yield from (name for kind, names in FIELDS.items() for name in names if not isinstance(getattr(record, name), kind))


def _odd_values(record: Record) -> Iterator[str]:
    yield from (f for f in ("config", "data", "environment", "signatures") if not _plain(getattr(record, f)))
    for path, (kind, (field, *keys)) in PATHS.items():
        if any(not isinstance(value, kind | NoneType) for value in _at(getattr(record, field), keys)):
            yield path
    for path, others in REQUIRED.items():
        if _known(record, path):
            yield from (other for other in others if not _known(record, other))
    names = {name: getattr(record, name) for name in ("run_id", "task", "method", "backbone")}
    names["config.budget.name"] = record.budget_name or "none"
    yield from (key for key, name in names.items() if not NAME.fullmatch(name))
    texts = {key: getattr(record, key) for key in ("created", "device")}
    texts |= {f"data.{key}": record.data.get(key) for key in ("metric", "headline", "proper")}
    texts |= {f"data.headlines.{split}": text for split, text in (record.data.get("headlines") or {}).items()}
    yield from (key for key, text in texts.items() if not (text or "").isprintable())
    if abs(record.seed) >= WHOLE:
        yield "seed"
    if not (record.config.get("fold") or 0) < (record.config.get("folds") or 1) <= MOST_FOLDS:
        yield "config.folds"
    yield from _odd_measurements(record.measurements)


def _odd_measurements(measurements: Sequence[tuple]) -> Iterator[str]:
    splits, names, steps = ({*map(itemgetter(n), measurements)} for n in (0, 1, 3))
    if not all(text.isprintable() for text in splits | names):
        yield "the name of a measurement"
    if any(type(step) is not int or not 0 <= step < 1 << 31 for step in steps - {None}):
        yield "a step"


def _plain(value: Any, depth: int = 0) -> bool:
    """Whether all numbers inside are finite, and nothing is nested too deep."""
    kind = type(value)
    if kind is dict or kind is list:
        inner = value.values() if kind is dict else value
        if kind is dict and value.keys() == {"name", "sha256"} and not all(type(one) is str for one in inner):
            return False  # a local file, by its name and hash
        return depth < DEEPEST and all(_plain(one, depth + 1) for one in inner)
    if kind is int:
        return abs(value) < WHOLE
    return kind is not float or math.isfinite(value)


def _at(node: Any, keys: Sequence[str]) -> Iterable[Any]:
    """List the values at a path."""
    nodes = [node]
    for key in keys:
        nodes = [n for n in nodes if isinstance(n, Mapping | list)]
        if key == EACH:
            nodes = [one for n in nodes for one in (n.values() if isinstance(n, Mapping) else n)]
        else:
            nodes = [n[key] for n in nodes if isinstance(n, Mapping) and key in n]
    return nodes


def _known(record: Record, path: str) -> bool:
    field, *keys = path.split(".")
    return any(value is not None for value in _at(getattr(record, field), keys))
