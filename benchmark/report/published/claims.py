"""Claims of studies, in a form that records can confirm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import MalformedError
from benchmark.report import facts
from benchmark.report.statistics.estimates import LEVEL, holm

FILE = "claims.yaml"  # of the results
CONFIRMED, NOT_CONFIRMED = "confirmed", "not confirmed"
INCONCLUSIVE, NOT_TESTED = "inconclusive", "not tested"


class Measured(NamedTuple):
    """A difference with its 95 % interval.

    p is that of a two-sided test against minus the margin of the requirement.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Setting:
    """A method on a task and backbone, with the fields that are changed."""

    task: str
    backbone: str
    method: str
    changes: dict[str, Any]

    def __str__(self) -> str:
        return " ".join([self.method, *(f"{field}={_value(value)}" for field, value in self.changes.items())])


def _value(value: Any) -> str:
    """Write a value as the command line takes it."""
    return f"[{','.join(map(_value, value))}]" if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Requirement:
    """One setting must score higher than the other, less a margin."""

    one: Setting
    other: Setting
    margin: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A claim of a study and its check: one of CHECKS with arguments."""

    id: str
    study: str
    where: str  # section, table or abstract
    words: str  # our own
    original: str  # what the study ran; task and backbone are where it is checked
    task: str | None = None
    backbone: str | None = None
    check: dict[str, Any]

    def __post_init__(self) -> None:
        if len(self.check) != 1 or next(iter(self.check)) not in CHECKS:
            raise ValueError(f"check is not one of {', '.join(CHECKS)}")
        if "untested" not in self.check and not (self.task and self.backbone):
            raise ValueError("task or backbone is missing")
        self.requirements()

    def requirements(self) -> list[Requirement]:
        """List what must hold; nothing where no run here can test it. Raises ValueError."""
        ((kind, given),) = self.check.items()
        try:
            return CHECKS[kind](self, **given) if isinstance(given, dict) else CHECKS[kind](self, given)
        except TypeError:
            raise ValueError(f"check {kind} does not take {given!r}") from None

    def settings(self, named: Any) -> list[Setting]:
        """Read a list of methods, or of mappings with a method and fields.

        Raises ValueError.
        """
        if not isinstance(named, list) or not named:
            raise ValueError(f"{named!r} is no list of methods")
        return [self._setting({"method": one} if isinstance(one, str) else one) for one in named]

    def _setting(self, named: Any) -> Setting:
        if not isinstance(named, dict) or not isinstance(named.get("method"), str):
            raise ValueError(f"{named!r} names no method")  # noqa: TRY004 - broken content, as any other
        changes = {key: value for key, value in named.items() if key != "method"}
        return Setting(self.task or "", self.backbone or "", named["method"], changes)


@dataclass(frozen=True)
class Verdict:
    """A verdict, and each requirement with its numbers; None if not run."""

    word: str
    rests_on: tuple[tuple[Requirement, Measured | None], ...]


def load(results: Path) -> list[Claim]:
    """Read the claims. Raises MalformedError."""
    path = Path(results) / FILE
    entries = facts.rows(path, facts.read(path), "claims")
    claims = [facts.make(Claim, row, f"{path}, claim {row.get('id', n)}") for n, row in enumerate(entries, 1)]
    names = [claim.id for claim in claims]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MalformedError(f"{path}: {', '.join(twice)} stands there twice")
    return claims


def verdict(claim: Claim, difference: Callable[[Requirement], Measured | None]) -> Verdict:
    """Judge a claim by differences in headline score.

    A difference is one minus other; None where one of them was not run.

    That all hold needs no correction for their number; that any of them fails does.
    """
    rests_on = tuple((need, difference(need)) for need in claim.requirements())
    known = {number: (need, measured) for number, (need, measured) in enumerate(rests_on) if measured is not None}
    adjusted = holm({number: measured.p for number, (_, measured) in known.items()})
    if not rests_on or len(known) < len(rests_on):
        word = NOT_TESTED
    elif all(measured.low + need.margin > 0 for need, measured in known.values()):
        word = CONFIRMED
    elif any(
        measured.value + need.margin < 0 and adjusted[number] < 1 - LEVEL for number, (need, measured) in known.items()
    ):
        word = NOT_CONFIRMED
    else:
        word = INCONCLUSIVE
    return Verdict(word, rests_on)


def _beats(claim: Claim, better: Any, worse: Any, among: Any = None) -> list[Requirement]:
    return _pairs(claim, better, worse, among, 0.0)


def _keeps_up(claim: Claim, better: Any, worse: Any, margin: float, among: Any = None) -> list[Requirement]:
    if not isinstance(margin, int | float) or not margin > 0:
        raise ValueError(f"margin={margin!r} is no positive number")
    return _pairs(claim, better, worse, among, float(margin))


def _crosses(claim: Claim, better: Any, worse: Any, few: Any, many: Any) -> list[Requirement]:
    """Require that one leads with few data, and the other with many."""
    for fields in (few, many):
        if not isinstance(fields, dict) or few == many:
            raise ValueError(f"few={few!r} and many={many!r} are not two mappings of fields")
    return [
        *_pairs(claim, _with(better, few), _with(worse, few), None, 0.0),
        *_pairs(claim, _with(worse, many), _with(better, many), None, 0.0),
    ]


def _untested(claim: Claim, why: str) -> list[Requirement]:
    if not isinstance(why, str) or not why.strip():
        raise ValueError("untested does not say why")
    return []


def _pairs(claim: Claim, better: Any, worse: Any, among: Any, margin: float) -> list[Requirement]:
    ahead = claim.settings(better)
    behind = _rest(claim.settings(among), ahead) if worse == "rest" else claim.settings(worse)
    return [Requirement(one, other, margin) for one in ahead for other in behind]


def _rest(among: Iterable[Setting], ahead: list[Setting]) -> list[Setting]:
    rest = [one for one in among if one not in ahead]
    if not rest:
        raise ValueError("nothing is left of among")
    return rest


def _with(named: Any, fields: dict[str, Any]) -> Any:
    """Add fields to each named setting; settings() refuses anything else."""
    whole = [{"method": one} if isinstance(one, str) else one for one in named] if isinstance(named, list) else named
    return [one | fields if isinstance(one, dict) else one for one in whole] if isinstance(whole, list) else whole


CHECKS: dict[str, Callable[..., list[Requirement]]] = {
    "beats": _beats,
    "keeps_up": _keeps_up,
    "crosses": _crosses,
    "untested": _untested,
}
