"""How a refusal says what would have been right, and a failure what broke."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def near(word: str, known: Iterable[str]) -> str:
    """Continue a refusal of an unknown word: what was perhaps meant, and what there is."""
    known = sorted({str(k) for k in known} - {"_target_"})
    close = get_close_matches(word, known, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"


def story(error: Exception) -> str:
    """Tell an error's kind and first line, without the places of this machine."""
    first = next(iter(str(error).strip().splitlines()), "")
    for place in (str(ROOT), str(Path.cwd()), str(Path.home())):
        first = first.replace(place, "...") if len(place) > 1 else first
    return f"{type(error).__name__}: {first}"
