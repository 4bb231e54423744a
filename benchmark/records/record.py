"""What a run leaves behind: measurements, and the record that holds them."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from operator import itemgetter
from types import NoneType
from typing import Any, NamedTuple, TypeVar

from benchmark.errors import NewerSchemaError
from benchmark.identity import choices

Point = TypeVar("Point")

SCHEMA = 1
SEEDS = ("seed", "seed_sample", "seed_init", "seed_order")  # in which runs that are averaged may differ
PHASES = ("load", "attach", "calibrate", "train", "evaluate", "predict")
UNTRAINED = "untrained: no validation had a lower loss than the one before the first step"
MARK = "‡"  # of the score of an untrained record
STATUSES = ("done", "skipped", "failed")


class Measurement(NamedTuple):
    """One number; split is train, valid, test, test/<shift> or cost, step is none for the final value."""

    split: str
    name: str
    value: float
    step: int | None = None


KINDS: dict[type, tuple[str, ...]] = {  # of the fields that a file may hold anything in
    str: ("run_id", "task", "method", "backbone", "status", "created"),
    int: ("schema", "seed"),
    dict: ("config", "data", "signatures", "environment"),
    list: ("modules",),
}
NESTED: dict[type | tuple[type, ...], tuple[str, ...]] = {  # of the fields that may be absent
    str: ("data.metric", "data.fingerprint", "data.answers_digest", "config.phase", "environment.device",
          "environment.commit", "config.budget.name"),
    int: ("config.trial",),
    dict: ("data.sizes", "data.headlines", "data.head", "data.counts"),
    list: ("data.overrides",),
    (int, float): ("environment.load_average", "environment.cores", "config.fraction"),
}  # fmt: skip
NOUNS = ("task", "method", "backbone", "budget")  # what a configuration composes
NAME = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")  # one part of a path, and not a hidden one
LARGEST = 1e150  # of a value: its square is a number too


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything known about one run; the fields, in this order, are the public keys of its file."""

    schema: int = SCHEMA
    run_id: str
    task: str
    method: str
    backbone: str
    seed: int
    status: str
    reason: str | None = None
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    config: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    measurements: tuple[Measurement, ...] = ()

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}: read it with the version that wrote it")
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")
        # JSON has no NaN; a number that was not reached is absent rather than spelled in some private way.
        known = [m for m in self.measurements if abs(m.value) < LARGEST]  # of a NaN this is false as well
        known = [m if type(m.value) is float else m._replace(value=float(m.value)) for m in known]
        object.__setattr__(self, "measurements", tuple(known))

    @property
    def device(self) -> str | None:
        """The device type it ran on: runs on different types stand side by side."""
        return self.environment.get("device")

    @property
    def overrides(self) -> list[str] | None:
        """The overrides of the command that made it, files by their names; None in records of before they were kept."""
        return self.data.get("overrides")

    @property
    def trial(self) -> int:
        """Which draw from the method's search range it is of; 0: the defaults."""
        return self.config.get("trial") or 0

    @property
    def tuning(self) -> bool:
        """Whether it is of the tuning phase; else of the final one."""
        return self.config.get("phase") == "tune"

    @property
    def budget_name(self) -> str | None:
        """The name of its budget."""
        return (self.config.get("budget") or {}).get("name")

    @property
    def busy(self) -> bool:
        """Whether other work ran on its machine: the user said so, or the load was above the number of cores."""
        load, cores = (self.environment.get(name) for name in ("load_average", "cores"))
        return bool(self.environment.get("shared") or (load and cores and load > cores))

    @property
    def untrained(self) -> bool:
        """Whether something was to be trained, and the state that was kept is the one before the first step."""
        return self.value("valid", "selected_step") == 0 and bool(self.value("cost", "trainable_params"))

    def headline(self, split: str = "test") -> str | None:
        """Name the score that stands for a split."""
        return self.data.get("headlines", {}).get(split, self.data.get("metric"))

    def value(self, split: str, name: str) -> float | None:
        """Return the final value of a measurement, or None where there is none."""
        return self.finals.get((split, name))

    @functools.cached_property
    def finals(self) -> dict[tuple[str, str], float]:
        """The measurements without a step, by split and name."""
        return {m[:2]: m.value for m in self.measurements if m.step is None}

    @functools.cached_property
    def choices(self) -> dict[str, Any]:
        """What makes it the cell that it is."""
        return choices(self.config)

    def seconds(self) -> float:
        """Add up what its phases took."""
        return sum(self.value("cost", f"{phase}_seconds") or 0.0 for phase in PHASES)

    def _check(self) -> None:
        """Refuse fields of another kind: what reads records may rely on these."""
        wrong = [f for kind, names in KINDS.items() for f in names if not isinstance(getattr(self, f), kind)]
        wrong += [f"config.{n}" for n in NOUNS if not wrong and not isinstance(self.config.get(n), dict | None)]
        if wrong := wrong or [*self._odd()]:
            raise ValueError(f"{wrong[0]} is of another kind than a record has")

    def _odd(self) -> Iterator[str]:
        """Name what is of the wrong kind within fields, no name of a file, or out of range."""
        for kind, paths in NESTED.items():
            yield from (path for path in paths if not isinstance(self._at(path), (kind, NoneType)))
        names = {name: getattr(self, name) for name in ("run_id", "task", "method", "backbone")}
        names["config.budget.name"] = self.budget_name or "none"
        yield from (key for key, name in names.items() if not isinstance(name, str) or not NAME.fullmatch(name))
        texts = {"data.headlines": (self.data.get("headlines") or {}).values(), "data.overrides": self.overrides or ()}
        yield from (key for key, values in texts.items() if any(not isinstance(text, str) for text in values))
        if not isinstance(self.reason, str | None):
            yield "reason"
        if abs(self.seed) >= 1 << 63:
            yield "seed"
        splits, kinds, steps = ({*map(itemgetter(n), self.measurements)} for n in (0, 1, 3))
        if not all(text.isprintable() for text in splits | kinds):
            yield "the name of a measurement"
        if any(type(step) is not int or not 0 <= step < 1 << 31 for step in steps - {None}):
            yield "a step"

    def _at(self, path: str) -> Any:
        """Look a value up within a field; None where it is not there."""
        first, *rest = path.split(".")
        node = getattr(self, first)
        for key in rest:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def to_json(self) -> str:
        """Write one key, and one measurement, per line: easy to read in a diff. The digest of all that is the last."""
        lines = self._lines()
        return "{\n" + ",\n".join([*lines, f'"digest": "{_digest(lines)}"']) + "\n}\n"

    def _lines(self) -> list[str]:
        lines = [f'"{f.name}": {strict(getattr(self, f.name))}' for f in fields(self)[:-1]]
        return [*lines, _measured(self.measurements)]

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read what to_json wrote. Raises ValueError for anything else, NewerSchemaError for a later schema."""
        content = _content(text)
        digest = content.pop("digest", None)  # the first records had none
        record = cls._of(content, _measurements(content.get("measurements", ())))
        # The digest of the text as it was read comes first, since to write a record takes longer than to read it.
        if digest is None:
            record._lines()  # a number that JSON lacks shows here
        if digest is not None and digest != _digest_of(text) and digest != _digest(record._lines()):
            raise ValueError("its content is not what a run wrote: it was edited or damaged")
        return record

    def to_parts(self) -> tuple[str, str]:
        """Write everything but the measurements as JSON text; beside it the digest of the whole record."""
        lines = self._lines()
        return "{\n" + ",\n".join(lines[:-1]) + "\n}", _digest(lines)

    @classmethod
    def from_parts(cls, header: str, measurements: tuple[Measurement, ...]) -> Record:
        """Put a record together from its header and its measurements. Raises ValueError as from_json does."""
        return cls._of(_content(header), measurements)

    @classmethod
    def _of(cls, content: dict[str, Any], measurements: tuple[Measurement, ...]) -> Record:
        record = cls(**content | {"measurements": measurements})
        record._check()
        if len(record.measurements) < len(measurements):
            raise ValueError("a value is no finite number, or too large for one")
        return record


def _content(text: str | bytes) -> dict[str, Any]:
    """Parse a record's JSON."""
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("holds no object")  # noqa: TRY004 - broken content, as any other
    refuse_newer(content)
    return content


def refuse_newer(content: dict[str, Any]) -> None:
    """Raise NewerSchemaError for what a later version wrote."""
    if isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
        raise NewerSchemaError(
            f"schema {content['schema']} is newer than {SCHEMA}: read it with the version that wrote it"
        )


def _measured(measurements: Sequence[Measurement]) -> str:
    """Write measurements as JSON, a line each; names are few, and quoted once."""
    line = '{"split": %s, "name": %s, "value": %r, "step": %s}'
    rows = ",\n  ".join([line % (_quoted(m[0]), _quoted(m[1]), m[2], _quoted(m[3])) for m in measurements])
    return f'"measurements": [\n  {rows}]'


def _measurements(rows: Sequence[dict[str, Any]]) -> tuple[Measurement, ...]:
    """Make measurements; ten million of them share their few names."""
    new, intern = tuple.__new__, sys.intern  # as Measurement(...), in half the time
    try:
        return tuple([
            new(Measurement, (intern(row["split"]), intern(row["name"]), row["value"], row.get("step")))
            for row in rows
        ])  # fmt: skip
    except KeyError as error:
        raise ValueError(f"a measurement has no {error}") from None


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _digest_of(text: str | bytes) -> str | None:
    """Compute the digest from what to_json wrote, as it stands; None for what looks otherwise."""
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    lines, _, rest = written.rpartition(b',\n"digest": "')
    if not lines.startswith(b"{\n") or not rest.endswith(b'"\n}\n'):
        return None
    # no text holds a bare line end, and within the measurements a line begins with blanks
    return hashlib.sha256(lines[2:].replace(b',\n"', b'\n"')).hexdigest()[:16]


def strict(value: Any) -> str:
    """Write JSON without NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def file_name(text: str) -> str:
    """Make the name of a file from texts of records: no folder, not hidden, another one for another text."""
    slug = re.sub(r"^\.+|[^\w.=+-]+", "-", text)[:80]
    return slug if slug == text else f"{slug}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


_quoted = functools.lru_cache(4096, typed=True)(strict)  # 1 and true are equal, and written otherwise


def thin(points: Sequence[Point], most: int = 100) -> list[Point]:
    """Keep at most so many points of a curve, evenly spread, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
