"""The errors of this project, and the sentences that explain them to a user."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """Base of every error that this project raises."""


class InputError(BenchmarkError):
    """Unusable input (file, checkpoint, configuration, call): what, where, remedy."""


class IncompatibleError(BenchmarkError):
    """A cell that cannot run, for a reason known before anything is loaded."""


class VacantPlaceError(IncompatibleError):
    """A place of tuning that no trial takes; why."""


class NoSelectionError(BenchmarkError, ValueError):
    """The tuning records choose no trial; why."""


class LeaseHeldError(BenchmarkError):
    """Another process is at work on the cell."""


class RunFailedError(BenchmarkError):
    """A run that broke; its record says why."""


class DivergedError(BenchmarkError):
    """The loss is no number any more."""


class TimeLimitError(BenchmarkError):
    """A run took longer than its budget allows."""


class MergeError(BenchmarkError):
    """The merged network computes something else than the one that was trained."""


class NewerSchemaError(BenchmarkError, ValueError):
    """A record of a schema that this version does not know."""


class MalformedError(BenchmarkError, ValueError):
    """A file that is not what it should be; which, where and why."""


def near(word: str, known: Iterable[str]) -> str:
    """Continue a refusal of an unknown word: near matches, and what is known."""
    known = sorted({str(k) for k in known} - {"_target_"})
    close = get_close_matches(word, known, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Do what stands inside; whatever a library raises there is an InputError about what was given."""
    try:
        yield
    except BenchmarkError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {story(error)}") from error


def story(error: Exception) -> str:
    """Tell an error's kind and first line, without the places of this machine."""
    first = next(iter(str(error).strip().splitlines()), "")
    for prefix in (str(ROOT), str(Path.cwd()), str(Path.home())):
        first = first.replace(prefix, "...") if len(prefix) > 1 else first
    return f"{type(error).__name__}: {first}"
