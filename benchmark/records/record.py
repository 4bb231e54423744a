"""Record of a run, with its measurements, and its JSON format."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, NamedTuple, TypeVar

from benchmark.errors import NewerSchemaError
from benchmark.identity import choices
from benchmark.records.shape import LARGEST, check_shape

Point = TypeVar("Point")

SCHEMA = 1
SEEDS = ("seed", "seed_sample", "seed_init", "seed_order")  # averaged runs differ in these
PHASES = ("load", "attach", "calibrate", "train", "evaluate", "predict")
UNTRAINED = "untrained: no validation had a lower loss than the one before the first step"
MARK = "‡"  # after the score of an untrained record
STATUSES = ("done", "skipped", "failed")


class Measurement(NamedTuple):
    """Number of a run.

    split: train, valid, test, test/<shift>, cost or pretraining; step: None for the final value.
    """

    split: str
    name: str
    value: float
    step: int | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """Record of one run; its fields, in this order, are the public keys of its file."""

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
    shown_by: ClassVar[str | None] = None  # of a view: the headline; None: the recorded one

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema {self.schema} is not {SCHEMA}: read it with the version that wrote it")
        if self.status not in STATUSES:
            raise ValueError(f"status {self.status!r} is none of {', '.join(STATUSES)}")
        # JSON has no NaN, so a number that is not finite is left out.
        finite = [m for m in self.measurements if abs(m.value) < LARGEST]  # false for NaN as well
        finite = [m if type(m.value) is float else m._replace(value=float(m.value)) for m in finite]
        object.__setattr__(self, "measurements", tuple(finite))

    @property
    def device(self) -> str | None:
        """Type of the device on which it ran; the same cell has one record per type."""
        return self.environment.get("device")

    @property
    def overrides(self) -> list[str] | None:
        """Overrides of the command, with files by name; None in records of early versions."""
        return self.data.get("overrides")

    @property
    def trial(self) -> int:
        """Number of the draw from the method's search ranges; 0: the defaults."""
        return self.config.get("trial") or 0

    @property
    def tuning(self) -> bool:
        """True for the tuning phase, False for the final one."""
        return self.config.get("phase") == "tune"

    @property
    def budget_name(self) -> str | None:
        """Name of the budget."""
        return (self.config.get("budget") or {}).get("name")

    @property
    def busy(self) -> bool:
        """True if other programs ran: shared=true, or a load above the cores."""
        load, cores = (self.environment.get(name) for name in ("load_average", "cores"))
        return bool(self.environment.get("shared") or (load and cores and load > cores))

    @property
    def untrained(self) -> bool:
        """True if the state before the first step was selected."""
        return self.value("valid", "selected_step") == 0 and bool(self.value("cost", "trainable_params"))

    def headline(self, split: str = "test") -> str | None:
        """Name the headline score of a split."""
        own, chosen = self.data.get("metric"), self.shown_by or self.data.get("headline")
        return chosen if chosen and chosen != own else self.data.get("headlines", {}).get(split, own)

    def under(self, headline: str | None) -> Record:
        """Show it by another of its scores, None: by its task's own; what was recorded stays equal."""
        view = copy.copy(self)
        object.__setattr__(view, "shown_by", headline or self.data.get("metric"))
        return view

    def value(self, split: str, name: str) -> float | None:
        """Return the final value of a measurement."""
        return self.finals.get((split, name))

    @functools.cached_property
    def finals(self) -> dict[tuple[str, str], float]:
        """Final values by split and name."""
        return {m[:2]: m.value for m in self.measurements if m.step is None}

    @functools.cached_property
    def choices(self) -> dict[str, Any]:
        """Choices of the cell, from which the run_id is computed."""
        return choices(self.config)

    def seconds(self) -> float:
        """Add up the seconds of its phases."""
        return sum(self.value("cost", f"{phase}_seconds") or 0.0 for phase in PHASES)

    def to_json(self) -> str:
        """Write one key, and one measurement, per line; the digest of all is the last key."""
        lines = self._lines()
        return "{\n" + ",\n".join([*lines, f'"digest": "{_digest(lines)}"']) + "\n}\n"

    def _lines(self) -> list[str]:
        lines = [f'"{f.name}": {strict(getattr(self, f.name))}' for f in fields(self)[:-1]]
        return [*lines, _measured(self.measurements)]

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read what to_json wrote.

        Raises ValueError for anything else, NewerSchemaError for a later schema.
        """
        content = _content(text)
        digest = content.pop("digest", None)  # the first records had none
        record = cls._of(content, _measurements(content.get("measurements", ())))
        # The digest of the text is tried first, since writing a record takes longer than reading it.
        if digest is None or digest != _digest_of(text):
            json.loads(text, object_pairs_hook=_unique)
            if digest is not None and digest != _digest(record._lines()):
                raise ValueError("its digest does not match its content: it was edited or damaged")
        return record

    def to_parts(self) -> tuple[str, str]:
        """Write all but the measurements as JSON text, and give the digest of the record."""
        lines = self._lines()
        return "{\n" + ",\n".join(lines[:-1]) + "\n}", _digest(lines)

    @classmethod
    def from_parts(cls, header: str, measurements: tuple[Measurement, ...]) -> Record:
        """Build a record from its header and measurements. Raises the errors of from_json."""
        return cls._of(_content(header), measurements)

    @classmethod
    def _of(cls, content: dict[str, Any], measurements: tuple[Measurement, ...]) -> Record:
        record = cls(**content | {"measurements": measurements})
        check_shape(record)
        if len(record.measurements) < len(measurements):
            raise ValueError("the value of a measurement is not finite, or too large")
        return record


def _content(text: str | bytes) -> dict[str, Any]:
    """Parse a record's JSON."""
    content = json.loads(text)
    refuse_newer(content)
    return content


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dict of pairs. Raises ValueError for a key that comes twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return content


def refuse_newer(content: Any) -> None:
    """Raise NewerSchemaError for the content of a later version, ValueError for no object."""
    if not isinstance(content, dict):
        raise ValueError("holds no object")  # noqa: TRY004 - broken content, as any other
    if isinstance(content.get("schema"), int) and content["schema"] > SCHEMA:
        raise NewerSchemaError(
            f"schema {content['schema']} is newer than {SCHEMA}: read it with the version that wrote it"
        )


def _measured(measurements: Sequence[Measurement]) -> str:
    """Write measurements as JSON, a line each; the few names are quoted once."""
    line = '{"split": %s, "name": %s, "value": %r, "step": %s}'
    rows = ",\n  ".join([line % (_quoted(m[0]), _quoted(m[1]), m[2], _quoted(m[3])) for m in measurements])
    return f'"measurements": [\n  {rows}]'


def _measurements(rows: Sequence[dict[str, Any]]) -> tuple[Measurement, ...]:
    """Make measurements that share the strings of their few names."""
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
    """Compute the digest from the text of to_json; None for any other text."""
    written = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    lines, _, end = written.rpartition(b',\n"digest": "')
    if not lines.startswith(b"{\n") or not end.endswith(b'"\n}\n'):
        return None
    # JSON texts hold no bare line end, and lines within the measurements begin with blanks
    return hashlib.sha256(lines[2:].replace(b',\n"', b'\n"')).hexdigest()[:16]


def strict(value: Any) -> str:
    """Write JSON without NaN."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


_quoted = functools.lru_cache(4096, typed=True)(strict)  # typed, since 1 == True


def thin(points: Sequence[Point], most: int = 100) -> list[Point]:
    """Thin a curve to at most `most` points, with the first and the last."""
    if len(points) <= most:
        return list(points)
    return [points[round(i * (len(points) - 1) / (most - 1))] for i in range(most)]
