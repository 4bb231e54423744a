"""Phrases of the Unicode CLDR, rendered in any of over a thousand locales.

An item (a date, an amount of money ...) is rendered in each locale. The hash of the item's key, which names no locale,
sends it to pretraining or to one split of a task, so no locale's pretraining text can carry the translation of another
locale's test phrase.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import NamedTuple

from babel import Locale, UnknownLocaleError, localedata
from babel.dates import format_date, format_interval, format_skeleton, format_timedelta
from babel.lists import format_list
from babel.numbers import format_compact_decimal, format_currency
from babel.units import format_unit

from benchmark.errors import InputError
from tasks.common import unit_hash

PRETRAIN = 0.6  # share of the items that only pretraining may see
VALID, TEST = 0.10, 0.15  # shares of the rest
SHIFTS = ("names", "intervals")  # domains that training never sees
STYLES = ("full", "long", "medium", "yMMMMEEEEd", "yMMMEd", "MMMMd")


class Item(NamedTuple):
    """Phrase of any locale: render(locale) gives its text."""

    key: str
    domain: str
    render: Callable[[Locale], str]
    code: str = ""  # stands in the text where the locale has no words for it


def split_of(item: Item) -> str:
    """Give the split of an item, or "pretrain", the same in every locale."""
    position = unit_hash(item.key)
    if position < PRETRAIN:
        return "pretrain"
    if item.domain in SHIFTS:
        return f"test/{item.domain}"
    task_position = (position - PRETRAIN) / (1 - PRETRAIN)
    return "test" if task_position < TEST else "valid" if task_position < TEST + VALID else "train"


def pairs_of(code: str) -> Iterator[tuple[Item, str, str]]:
    """Yield every item with English and local text, where a locale has it.

    Missing entries fall back to English, to codes or to the root locale; none of those is a translation.
    """
    for item, source, target, fallback in zip(items(), *map(render_all, ("en", code, "und")), strict=True):
        if source and target and target not in (source, fallback):
            yield item, source, target


@lru_cache(maxsize=64)
def render_all(code: str) -> tuple[str | None, ...]:
    """Render every item in a locale; None where the locale lacks it."""
    where = locale(code)
    return tuple(render_item(item, where) for item in items())


def render_item(item: Item, where: Locale) -> str | None:
    """Render an item, or None where the locale lacks it."""
    try:
        text = item.render(where)
    except (KeyError, AttributeError, TypeError, ValueError):  # babel's ways of saying that an entry is missing
        return None
    return None if (item.code and item.code in text) or not any(c.isalpha() for c in text) else text


def locale(code: str) -> Locale:
    """Load a locale with its own data. Raises InputError with near matches.

    babel writes resolved data of one locale into data that it shares with the next, so that Zulu months would be in
    Hebrew after Hebrew was loaded. The cache is therefore cleared before each locale.
    """
    localedata._cache.clear()
    try:
        parsed = Locale.parse(code)
        parsed.days  # noqa: B018  reads the data while the cache is ours
        return parsed
    except (UnknownLocaleError, ValueError) as error:
        from difflib import get_close_matches

        near = get_close_matches(code, localedata.locale_identifiers(), cutoff=0.5)
        raise InputError(f"CLDR has no locale {code!r} (near: {', '.join(near) or 'none'})") from error


@lru_cache(maxsize=1)
def items() -> tuple[Item, ...]:
    """Build every item; random choices come from one fixed seed."""
    rng = random.Random(2404_04212)
    makers = (_dates, _relative, _units, _money, _lists, _numbers, _names, _intervals)
    return tuple({item.key: item for make in makers for item in make(rng)}.values())


def _day(rng: random.Random) -> datetime:
    return datetime(1990, 1, 1) + timedelta(days=rng.randrange(50 * 365))


def _dates(rng: random.Random) -> Iterator[Item]:
    for _ in range(2400):
        day, style = _day(rng), rng.choice(STYLES)
        styled = style in ("full", "long", "medium")
        render = partial(_date, day, style) if styled else partial(_skeleton, day, style)
        yield Item(f"date {style} {day:%Y-%m-%d}", "dates", render)


def _date(day: datetime, style: str, where: Locale) -> str:
    return format_date(day, style, locale=where)


def _skeleton(day: datetime, style: str, where: Locale) -> str:
    return format_skeleton(style, day, locale=where)


def _relative(rng: random.Random) -> Iterator[Item]:
    for unit, days in {"second": 1 / 86400, "minute": 1 / 1440, "hour": 1 / 24, "day": 1, "week": 7}.items():
        for count in range(1, 60):
            for sign in (1, -1):
                delta = timedelta(days=sign * count * days)
                yield Item(f"relative {unit} {sign * count}", "relative", partial(_delta, delta, unit))


def _delta(delta: timedelta, unit: str, where: Locale) -> str:
    return format_timedelta(delta, granularity=unit, threshold=1e9, add_direction=True, locale=where)


def _units(rng: random.Random) -> Iterator[Item]:
    for unit in sorted(Locale.parse("en")._data["unit_patterns"]):
        for count in {1, 2, *(rng.randrange(3, 1000) for _ in range(6))}:
            yield Item(f"unit {unit} {count}", "units", partial(_unit, count, unit), code=unit)


def _unit(count: int, unit: str, where: Locale) -> str:
    return format_unit(count, unit, "long", locale=where)


def _money(rng: random.Random) -> Iterator[Item]:
    for currency in sorted(Locale.parse("en").currencies):
        for amount in {1, *(rng.choice((rng.randrange(2, 100), rng.randrange(100, 9999))) for _ in range(7))}:
            yield Item(f"money {currency} {amount}", "money", partial(_amount, amount, currency), code=currency)


def _amount(amount: int, currency: str, where: Locale) -> str:
    return format_currency(amount, currency, "0", locale=where, format_type="name", currency_digits=False)


def _lists(rng: random.Random) -> Iterator[Item]:
    for _ in range(1500):
        of, style = rng.choice((("days", 7), ("months", 12))), rng.choice(("standard", "or"))
        numbers = tuple(rng.sample(range(of[1]), rng.randint(2, 4)))
        yield Item(f"list {of[0]} {style} {numbers}", "lists", partial(_listed, of[0], numbers, style))


def _listed(of: str, numbers: tuple[int, ...], style: str, where: Locale) -> str:
    names = getattr(where, of)["format"]["wide"]
    return format_list([names[n + (of == "months")] for n in numbers], style, locale=where)


def _numbers(rng: random.Random) -> Iterator[Item]:
    for _ in range(400):
        number = rng.randrange(1, 1000) * 10 ** rng.randrange(3, 12)
        yield Item(f"number {number}", "numbers", partial(_number, number))


def _number(number: int, where: Locale) -> str:
    return format_compact_decimal(number, format_type="long", locale=where)


def _names(rng: random.Random) -> Iterator[Item]:
    english = Locale.parse("en")
    keys = [("languages", k) for k in sorted(english.languages)]
    keys += [("territories", k) for k in sorted(english.territories) if not k.isdigit()]
    for of, key in keys:
        yield Item(f"name {of} {key}", "names", partial(_name, of, key))


def _name(of: str, key: str, where: Locale) -> str:
    return getattr(where, of)[key]


def _intervals(rng: random.Random) -> Iterator[Item]:
    for _ in range(800):
        start, style = _day(rng), rng.choice(("yMMMMd", "yMMMEd", "MMMEd", "yMMMM"))
        end = start + timedelta(days=rng.choice((2, 5, 40, 100, 400)))
        key = f"interval {style} {start:%Y-%m-%d} {end:%Y-%m-%d}"
        yield Item(key, "intervals", partial(_interval, start, end, style))


def _interval(start: datetime, end: datetime, style: str, where: Locale) -> str:
    return format_interval(start, end, style, locale=where)
