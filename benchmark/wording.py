"""How a refusal says what would have been right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def near(word: str, known: Iterable[str]) -> str:
    """Continue a refusal of an unknown word: what was perhaps meant, and what there is."""
    known = sorted({str(k) for k in known} - {"_target_"})
    close = get_close_matches(word, known, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    return f"{hint} (known: {', '.join(known)})"
