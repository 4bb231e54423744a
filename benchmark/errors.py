"""Errors of this project, and the sentences that explain them to a user."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """Base of every error that this project raises."""


class InputError(BenchmarkError):
    """Unusable input: a file, checkpoint, configuration or call. Names the remedy."""


class IncompatibleError(BenchmarkError):
    """Cell that cannot run, for a reason known before anything is loaded."""


class VacantPlaceError(IncompatibleError):
    """Position in a tuning rung for which no trial is left; the message says why."""


class NoSelectionError(BenchmarkError, ValueError):
    """Tuning records that select no trial; the message says why."""


class LeaseHeldError(BenchmarkError):
    """Cell that another process is running."""


class RunFailedError(BenchmarkError):
    """Run that failed; its record says why."""


class DivergedError(BenchmarkError):
    """Training whose loss is not finite."""


class TimeLimitError(BenchmarkError):
    """Run that took longer than its budget allows."""


class MergeError(BenchmarkError):
    """Merged network whose outputs differ from those of the trained one."""


class NewerSchemaError(BenchmarkError, ValueError):
    """Record of a schema that this version does not know."""


class MalformedError(BenchmarkError, ValueError):
    """File of the wrong format; the message names file, position and reason."""


def near(word: str, known: Iterable[str]) -> str:
    """End the message about an unknown word with near matches and the known words."""
    known = sorted({str(k) for k in known} - {"_target_"})
    close = get_close_matches(word, known, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn errors that libraries raise in the block into an InputError about `what`."""
    try:
        yield
    except BenchmarkError:
        raise
    except Exception as error:
        raise InputError(f"{what}: {story(error)}") from error


def path_of(text: str | Path) -> Path:
    """Give the path that a user names, `~` expanded. Raises InputError for what no file system takes."""
    try:
        path = Path(text).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            path.stat()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a null character, an unknown user, no leave
        raise InputError(f"{str(text)!r:.80} is no path that can be read: {story(error)[:80]}") from error
    return path


def story(error: BaseException) -> str:
    """Give an error's class and first line, without paths of this machine."""
    first = next(iter(str(error).strip().splitlines()), "")
    for prefix in (str(ROOT), *_folders()):
        first = first.replace(prefix, "...") if len(prefix) > 1 else first
    return f"{type(error).__name__}: {first}"


def _folders() -> Iterator[str]:
    """Name the working folder and the user's, where there are such."""
    with suppress(OSError):
        yield os.getcwd()
    yield os.path.expanduser("~")
