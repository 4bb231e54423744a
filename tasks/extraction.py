"""Answers within longer texts, such as the number at the end of a solution, by named patterns."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

NUMBER = r"\$?[-+]?\$?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)?(?:\.\d+|(?<=\d))"  # -1,234.5, $42 and .5
Extract = Callable[[str], str | None]


def number(text: str) -> str:
    """Write a number in one way: 1,234.50 and $1234.5 are equal."""
    plain = f"{Decimal(re.sub('[$,]', '', text)):f}"
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return "0" if plain == "-0" else plain


def first(pattern: str, read: Callable[[str], str]) -> Extract:
    """Make a function that reads the first match of a pattern's group."""
    compiled = re.compile(pattern)

    def extract(text: str) -> str | None:
        found = compiled.search(text)
        return None if found is None else read(found[1])

    return extract


def last(pattern: str, read: Callable[[str], str]) -> Extract:
    """Make a function that reads the last match of a pattern's group."""
    compiled = re.compile(pattern)

    def extract(text: str) -> str | None:
        found = compiled.findall(text)
        return read(found[-1]) if found else None

    return extract


def boxed(text: str) -> str | None:
    r"""Read what the last complete \boxed{...} holds, without blanks; braces inside are matched."""
    for start in reversed([found.end() for found in re.finditer(r"\\boxed\s*\{", text)]):
        depth = 1
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if not depth:
                return "".join(text[start:end].split())
    return None


PATTERNS: dict[str, Extract] = {
    "gsm8k": last(rf"####\s*({NUMBER})", number),
    "last_number": last(rf"(?<![\w.])({NUMBER})", number),
    "boxed": boxed,
    "first_letter": first(r"(?<![A-Za-z'])([A-H])(?![A-Za-z'])", str),
    "yes_no": first(r"(?i)\b(yes|no)\b", str.lower),
    "true_false": first(r"(?i)\b(true|false)\b", str.lower),
    "llm_adapters": first(r"(true|false|(?:answer|solution|ending|option)\d)", str),  # Hu et al. 2023
}
