"""Splits: which there are, and drawing those that a user's data does not have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Splits
from tasks.common import Reading, unit_hash

SPLITS = ("train", "valid", "test")
SHARES = {"test": 0.2, "valid": 0.1}  # of what is drawn from, where nobody says another share
CLASSES = 100  # targets of so many values, and of three examples each, are classes: each is drawn from


def check_shares(named: Mapping[str, Any], shares: Mapping[str, float]) -> None:
    """Refuse splits that are unknown, or both named and drawn. Raises InputError."""
    for name in [*named, *shares]:
        if name not in SPLITS and not name.startswith("test/"):
            raise InputError(f"data.splits: no split {name!r} ({', '.join(SPLITS)} or test/<name> wanted)")
    if "train" not in named or "train" in shares:
        raise InputError("split train: its rows wanted once (a file or folder, or words of a split column)")
    for name in shares.keys() & named.keys():
        raise InputError(
            f"split {name}: its rows wanted once: a file, folder or words of a split column, or data.shares.{name}"
        )
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(f"data.shares: {dict(shares)} given, fractions that leave something to train wanted")


def check_apart(named: Mapping[str, Any], reading: Reading) -> None:
    """Refuse a valid split that is a test as well; note a test that is the training data. Raises InputError."""
    for name in (name for name in named if name.startswith("test")):
        if "valid" in named and _same(named["valid"], named[name]):
            raise InputError(
                f"valid and {name} are the same ({named[name]}): the test would choose the state that it scores; "
                "leave valid out, and it is drawn from train"
            )
        if "train" in named and _same(named["train"], named[name]):
            reading.notes[f"{name}_is_the_training_data"] = str(named[name])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
    if isinstance(one, list) and isinstance(other, list):
        return bool({*one} & {*other})
    return bool(one) and one == other


def completed(splits: Mapping[str, Sequence[Example]], shares: Mapping[str, float], reading: Reading) -> Splits:
    """Draw from train what has a share, and valid and test where they are not among the splits."""
    missing = {name: share for name, share in SHARES.items() if name not in splits}
    return dealt({**dict.fromkeys(SPLITS, ()), **splits}, {**shares, **missing, **shares}, reading, unit_of)


def dealt(
    splits: Mapping[str, Sequence[Example]],
    wanted: Mapping[str, float],
    reading: Reading,
    unit_of: Callable[[Example], str],
) -> Splits:
    """Give splits their shares of train.

    What belongs to one group stays together, whatever else is in the data. Where there are no groups, equal sources
    stay together, and each class is drawn from alike. The draw is a hash's: the same in every process.
    """
    found: dict[str, list[Example]] = {name: [*splits.get(name, ())] for name in (*splits, *wanted)}
    train, units = found["train"], {}
    if not wanted or not train:
        return found
    for example in train:
        units.setdefault(unit_of(example), []).append(example)
    grouped = len(units) < len(train) and any(example.group for example in train)
    chosen = {unit: drawn(unit, wanted) for unit in units} if grouped else _by_class(units, wanted)
    _fill(chosen, wanted)
    found["train"] = []
    for example in train:
        split = chosen[unit_of(example)]
        found[split].append(_renamed(example, split))
    sizes = ", ".join(f"{name} {share:g} ({len(found[name])} examples)" for name, share in wanted.items())
    by = "group" if grouped else "example, in each class" if len(_classes(units)) > 1 else "example"
    before = f"{reading.notes['drawn_from_train']}; " if "drawn_from_train" in reading.notes else ""
    reading.notes["drawn_from_train"] = f"{before}{sizes}, by the hash of the {by}"
    return found


def unit_of(example: Example) -> str:
    """Name what an example is drawn by: its group, or else what it holds, or its place in its data."""
    parts = example.source if isinstance(example.source, tuple) else (example.source,)
    if all(isinstance(part, str) for part in parts) and not isinstance(example.source, Bad):
        return example.group or "\n".join(sorted(" ".join(part.split()).casefold() for part in parts))
    return example.group or example.id.partition("/")[2] or example.id


def _renamed(example: Example, split: str) -> Example:
    """Put an example's id into another split, where it names one."""
    return example._replace(id=f"{split}/{example.id[6:]}") if example.id.startswith("train/") else example


def drawn(unit: str, shares: Mapping[str, float]) -> str:
    """Draw a unit's split by its hash."""
    place = unit_hash(f"split {unit}")
    for name, share in shares.items():
        if place < share:
            return name
        place -= share
    return "train"


def _by_class(units: Mapping[str, Sequence[Example]], shares: Mapping[str, float]) -> dict[str, str]:
    """Take each split's share of every class, in the order of the hashes; of three units one each."""
    chosen = dict.fromkeys(units, "train")
    for members in _classes(units).values():
        left = sorted(members, key=lambda unit: unit_hash(f"split {unit}"))
        for name, share in shares.items():
            number = max(round(share * len(members)), int(len(members) > len(shares)))
            chosen |= dict.fromkeys(left[:number], name)
            left = left[number:]
    return chosen


def _classes(units: Mapping[str, Sequence[Example]]) -> dict[str, list[str]]:
    """Sort units by their first target, where targets are classes."""
    found: dict[str, list[str]] = {}
    for unit, members in units.items():
        found.setdefault(str(members[0].targets), []).append(unit)
    return found if len(found) <= min(CLASSES, len(units) / 3) else {"": [*units]}


def _fill(chosen: dict[str, str], shares: Mapping[str, float]) -> None:
    """Give a split that came out empty the training unit of the lowest hash. Raises InputError where none is left."""
    for name in shares:
        if name not in chosen.values():
            left = sorted(
                (u for u, split in chosen.items() if split == "train"), key=lambda u: unit_hash(f"{name} {u}")
            )
            if len(left) < 2:
                raise InputError(
                    f"split {name} cannot be drawn from train: {len(chosen)} examples or groups are too few"
                )
            chosen[left[0]] = name
