"""Names and checks of splits, and drawing splits that a user's data lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmark.errors import InputError, path_of
from benchmark.types import Bad, Example, Splits
from tasks.common import Reading, unit_hash

SPLITS = ("train", "valid", "test")
SHARES = {"test": 0.2, "valid": 0.1}  # default shares of train
CLASSES = 100  # targets with at most so many values, of three examples each on average, are classes


def check_shares(named: Mapping[str, Any], shares: Mapping[str, float]) -> None:
    """Refuse splits that are unknown, or both named and drawn. Raises InputError."""
    for name in [*named, *shares]:
        if name not in SPLITS and not name.startswith("test/"):
            raise InputError(f"data.splits: no split {name!r} ({', '.join(SPLITS)} or test/<name> wanted)")
    if "train" not in named or "train" in shares:
        raise InputError("split train: name its rows (a file or folder, or words of a split column), and no share")
    for name in shares.keys() & named.keys():
        raise InputError(
            f"split {name}: name its rows (a file, folder or words of a split column) or give data.shares.{name}, "
            "not both"
        )
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise InputError(f"data.shares: {dict(shares)} given, fractions with a sum below 1 wanted")


def check_apart(named: Mapping[str, Any], reading: Reading) -> None:
    """Refuse a valid split that is also a test; note a test that is the training data.

    Raises InputError.
    """
    for name in (name for name in named if name.startswith("test")):
        if "valid" in named and _same(named["valid"], named[name]):
            raise InputError(
                f"valid and {name} are the same ({named[name]}), so that the test would select the checkpoint; "
                "leave valid out to draw it from train"
            )
        if "train" in named and _same(named["train"], named[name]):
            reading.notes[f"{name}_is_the_training_data"] = str(named[name])


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):
        return path_of(one).resolve() == path_of(other).resolve()
    if isinstance(one, list) and isinstance(other, list):
        return bool({*one} & {*other})
    return bool(one) and one == other


def complete(
    splits: Mapping[str, Sequence[Example]],
    shares: Mapping[str, float],
    reading: Reading,
    unit: Callable[[Example], str] | None = None,
) -> Splits:
    """Draw splits with a share from train, and valid and test if they are missing."""
    missing = {name: share for name, share in SHARES.items() if name not in splits}
    wanted = {**shares, **missing, **shares}
    return deal({**dict.fromkeys(SPLITS, ()), **splits}, wanted, reading, unit or unit_of)


def deal(
    splits: Mapping[str, Sequence[Example]],
    wanted: Mapping[str, float],
    reading: Reading,
    unit_of: Callable[[Example], str],
) -> Splits:
    """Give splits their shares of train.

    Examples of one group stay together. Without groups, equal sources stay together, and every class gives the same
    share. The draw is by hash, so that it is the same in every process.
    """
    parts: dict[str, list[Example]] = {name: [*splits.get(name, ())] for name in (*splits, *wanted)}
    train, units = parts["train"], {}
    if not wanted or not train:
        return parts
    for example in train:
        units.setdefault(unit_of(example), []).append(example)
    grouped = len(units) < len(train) and any(example.group for example in train)
    chosen = {unit: draw_split(unit, wanted) for unit in units} if grouped else _by_class(units, wanted)
    _fill(chosen, wanted)
    parts["train"] = []
    for example in train:
        split = chosen[unit_of(example)]
        parts[split].append(_renamed(example, split))
    sizes = ", ".join(f"{name} {share:g} ({len(parts[name])} examples)" for name, share in wanted.items())
    by = "group" if grouped else "example, in each class" if len(classes_of(units)) > 1 else "example"
    before = f"{reading.notes['drawn_from_train']}; " if "drawn_from_train" in reading.notes else ""
    reading.notes["drawn_from_train"] = f"{before}{sizes}, by the hash of the {by}"
    return parts


def unit_of(example: Example) -> str:
    """Give the key by which an example is drawn: its group, its text, or its id."""
    parts = example.source if isinstance(example.source, tuple) else (example.source,)
    if all(isinstance(part, str) for part in parts) and not isinstance(example.source, Bad):
        return example.group or "\n".join(sorted(" ".join(part.split()).casefold() for part in parts))
    return example.group or example.id.removeprefix("train/")


def _renamed(example: Example, split: str) -> Example:
    """Replace the split's name in an example's id."""
    return example._replace(id=f"{split}/{example.id[6:]}") if example.id.startswith("train/") else example


def draw_split(unit: str, shares: Mapping[str, float]) -> str:
    """Draw a unit's split by its hash."""
    position = unit_hash(f"split {unit}")
    for name, share in shares.items():
        if position < share:
            return name
        position -= share
    return "train"


def _by_class(units: Mapping[str, Sequence[Example]], shares: Mapping[str, float]) -> dict[str, str]:
    """Take each split's share of every class by hash; of three units, one each."""
    chosen = dict.fromkeys(units, "train")
    for members in classes_of(units).values():
        remaining = sorted(members, key=lambda unit: unit_hash(f"split {unit}"))
        for name, share in shares.items():
            number = max(round(share * len(members)), int(len(members) > len(shares)))
            chosen |= dict.fromkeys(remaining[:number], name)
            remaining = remaining[number:]
    return chosen


def classes_of(units: Mapping[str, Sequence[Example]]) -> dict[str, list[str]]:
    """Sort units by their first target, where targets are classes."""
    groups: dict[str, list[str]] = {}
    for unit, members in units.items():
        groups.setdefault(str(members[0].targets), []).append(unit)
    return groups if len(groups) <= min(CLASSES, len(units) / 3) else {"": [*units]}


def _fill(chosen: dict[str, str], shares: Mapping[str, float]) -> None:
    """Give an empty split the training unit of the lowest hash. Raises InputError."""
    for name in shares:
        if name not in chosen.values():
            remaining = sorted(
                (u for u, split in chosen.items() if split == "train"), key=lambda u: unit_hash(f"{name} {u}")
            )
            if len(remaining) < 2:
                raise InputError(
                    f"split {name} cannot be drawn from train: {len(chosen)} examples or groups are too few"
                )
            chosen[remaining[0]] = name
