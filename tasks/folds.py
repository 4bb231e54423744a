"""Folds of a cross-validation: every example is in the test of one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmark.errors import InputError
from benchmark.types import Bad, Example, Splits
from benchmark.types.folds import FEWEST, Fold
from tasks.common import Data, Reading, unit_hash
from tasks.splits import SPLITS, classes_of, unit_of

Units = Mapping[str, Sequence[Example]]  # examples that stay together, by unit_of


def read_splits(data: Data, fold: Fold | None, reading: Reading) -> Splits:
    """Read the splits of a data set, or of one fold of it.

    Raises InputError for fewer groups than folds.
    """
    return data.splits() if fold is None else data.merged(deal_folds(data.unmerged(), fold, reading))


def deal_folds(splits: Splits, fold: Fold, reading: Reading) -> Splits:
    """Pool train, valid and test, and deal them into folds: one is test, the next one valid, the others train.

    A shifted test stays as it is, without the groups that train and valid have. Raises InputError.
    """
    pool, units = pooled(splits), {}
    for example in pool:
        units.setdefault(unit_of(example), []).append(example)
    grouped = len(units) < len(pool) and any(example.group for example in pool)
    if len(units) < fold.of:
        noun, fewer = "groups" if grouped else "different examples", f", or folds={len(units)}"
        remedy = f"give more{fewer if len(units) >= FEWEST else ''}"
        raise InputError(f"folds: {fold.of} given, but the data have {len(units)} {noun}: {remedy}")
    parts = deal_units(units, fold.of)
    names = {fold.number: "test", (fold.number + 1) % fold.of: "valid"}
    dealt: dict[str, list[Example]] = {name: [] for name in SPLITS}
    for example in pool:
        dealt[names.get(parts[unit_of(example)], "train")].append(example)
    for name in (name for name in splits if name not in SPLITS):
        apart = [e for e in splits[name] if not e.group or parts.get(e.group, fold.number) == fold.number]
        reading.count(name, "left_out_since_train_or_valid_has_their_group", len(splits[name]) - len(apart))
        dealt |= {name: apart} if apart or not splits[name] else {}
    sizes = ", ".join(f"{name} ({len(splits.get(name, ()))})" for name in SPLITS)
    by = "group" if grouped else "example"
    reading.notes.pop("drawn_from_train", None)  # all of it is dealt anew
    reading.notes["fold"] = f"{fold.number} of {fold.of}; {sizes} were pooled and dealt by the hash of the {by}"
    reading.pool.update({unit: [e for e in units[unit] if not isinstance(e.source, Bad)] for unit in sorted(units)})
    return dealt


def pooled(splits: Splits) -> list[Example]:
    """List the examples of train, valid and test; an id that is taken gets its split's name.

    Raises InputError for an id that a split has twice.
    """
    pool: dict[str, Example] = {}
    for name in SPLITS:
        part = splits.get(name, ())
        named = {e.id: e._replace(id=f"{name}/{e.id}") if e.id in pool else e for e in part}
        if repeated := [key for key, number in Counter(e.id for e in part).items() if number > 1]:
            raise InputError(f"fold: split {name} has two examples of the id {repeated[0]!r}: give each its own")
        pool |= {e.id: e for e in named.values()}
    return [*pool.values()]


def deal_units(units: Units, folds: int) -> dict[str, int]:
    """Deal units to folds, so that each fold gets the same share of every class.

    Large units are dealt first, then by hash. A unit goes where its classes are rarest; of equal folds, where the folds
    beside have few of them, since these are test or valid together and train must keep every class. Raises InputError
    where every class is one unit, such as a speaker: valid would have classes that train lacks.
    """
    members = {e.id: [e] for examples in units.values() for e in examples}
    named = {key: name for name, keys in classes_of(members).items() for key in keys}
    if 1 < len({*named.values()}) == len({(named[e.id], unit) for unit, part in units.items() for e in part}):
        raise InputError("fold: each class is one group, so that no fold has a class of another: leave fold= out")
    total, held = Counter(named.values()), [Counter[str]() for _ in range(folds)]
    parts = {}
    for unit in sorted(units, key=lambda unit: (-len(units[unit]), unit_hash(f"fold {unit}"))):
        here = Counter(named[e.id] for e in units[unit])
        crowd = [sum(number * part[name] / total[name] for name, number in here.items()) for part in held]
        beside = [crowd[part - 1] + crowd[(part + 1) % folds] for part in range(folds)]
        best = min(range(folds), key=lambda part: (crowd[part], beside[part], held[part].total()))
        held[best] += here
        parts[unit] = best
    return parts
