"""Sources and groups that two splits share, and the score of copying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from benchmark.audit.description import Section, has_texts
from benchmark.audit.duplicates import (
    MOST,
    Nearest,
    both,
    count_repeated,
    count_shared,
    is_textual,
    nearest,
    sources,
    targets,
    threshold,
)
from benchmark.types import Example, Input, Kind, Splits, Task

NAMED = 5  # groups listed by name
LEARNT = ("train", "valid")  # splits that train or select


def exact_duplicates(task: Task, splits: Splits) -> tuple[Section, list[str]]:
    """Count equal sources, examples and text targets, within and across splits."""
    texts = all(has_texts(task, examples) for examples in splits.values())
    keys = (sources, both, *([targets] if texts else []))
    table = [["", "equal sources", "of these with an equal target", *(["equal targets"] if texts else [])]]
    leaks = []
    for name, examples in splits.items():
        table.append([f"within {name}", *(f"{count_repeated(examples, key):,}" for key in keys)])
    for earlier, later in combinations(splits, 2):
        counts = [count_shared(splits[earlier], splits[later], key) for key in keys]
        table.append([f"{later} in {earlier}", *(f"{n:,}" for n in counts)])
        if counts[0] and earlier in LEARNT:
            detail = f"{counts[1]:,} with the same target"
            leaks.append(
                f"LEAK: {counts[0]:,} of {len(splits[later]):,} sources of {later} stand in {earlier} ({detail})"
            )
    return Section("Exact duplicates", table, "Examples that say again what another one says; all are compared."), leaks


def near_duplicates(task: Task, splits: Splits) -> tuple[list[Section], list[str]]:
    """Count near-duplicates of train and valid in later splits; score copying."""
    first = next(iter(splits.values()), None)
    least = threshold(first) if first else 0.0
    table = [["", "compared", f"at {least:g} or more", "median of the nearest", "highest", "its ids"]]
    leaks, capped, copies = [], False, {}
    for earlier, later in combinations(splits, 2):
        if earlier not in LEARNT or (matches := nearest(splits[earlier], splits[later])) is None:
            continue
        capped |= matches.capped
        (here, there), unequal = matches.compared, matches.unequal
        share = f" ({100 * matches.like / unequal:.1f} % of {unequal:,})" if unequal else ""
        row = [f"{there:,} x {here:,}", f"{matches.like:,}{share}", near(matches.middle), near(matches.highest)]
        table.append([f"{later} to {earlier}", *row, " ~ ".join(matches.ids)])
        if matches.like:
            of = f"{matches.like:,} of {there:,} examples of {later}"
            leaks.append(f"NEAR: {of} are at {least:g} or more to one of {earlier}, without being equal")
        if earlier == "train":
            copies[later] = matches
    cap = (
        f" At most {MOST[1]:,} x {MOST[0]:,} examples are compared, drawn by hash: that applied, more may be alike."
        if capped
        else ""
    )
    return [Section("Near-duplicates", table, measure(task, first) + cap), score_copying(task, copies)], leaks


def near(similarity: float) -> str:
    return "" if math.isnan(similarity) else f"{similarity:.3f}"


def measure(task: Task, examples: Sequence[Example] | None) -> str:
    """Explain the similarity of these sources."""
    note = "Exact duplicates are left out."
    if not examples or not is_textual(examples):
        return f"Similarity: correlation of arrays reduced to 16 x 16 (sound: energy per stretch and band). {note}"
    of = "sequence identity, that is " if task.reads == Input.PROTEIN else ""
    return f"Similarity: {of}twice the longest common subsequence over the summed lengths. {note}"


def score_copying(task: Task, matches: dict[str, Nearest]) -> Section:
    """Score the answers of the most similar training examples.

    Empty for labels per position, since sequences differ in length, and for rankings, whose candidates differ.
    """
    table = [["score", *matches]]
    if {Kind.TAG, Kind.RERANK} & set(task.kinds):
        return Section("Copying", table)
    scores = {}
    for name, neighbours in matches.items():
        answers = [{**task.nothing(), "prediction": task.stratum(e) or e.targets[0]} for _, e in neighbours.pairs]
        scores[name] = task.score(answers, [example.targets for example, _ in neighbours.pairs])
    for score in dict.fromkeys(score for of in scores.values() for score in of):
        table.append([score, *(f"{of[score]:.4g}" if score in of else "" for of in scores.values())])
    return Section("Copying", table, "Each example answered by the target of the most similar training example.")


def groups(splits: Splits) -> tuple[Section, list[str]]:
    """List groups (speaker, patient, parent, source file) that splits share."""
    named = {name: {e.group for e in examples if e.group is not None} for name, examples in splits.items()}
    if not any(named.values()):
        return Section("Groups", [["", "groups"], ["all splits", "no groups given"]]), []
    table, leaks = [["", "groups"]], []
    for name, members in named.items():
        without = sum(e.group is None for e in splits[name])
        table.append([name, f"{len(members):,}" + (f" ({without:,} examples without)" if without else "")])
    for earlier, later in combinations(splits, 2):
        common = sorted(named[earlier] & named[later])
        some = ", ".join([*common[:NAMED], *(["..."] if len(common) > NAMED else [])])
        table.append([f"{later} in {earlier}", f"{len(common):,}" + (f" ({some})" if common else "")])
        if common and earlier in LEARNT:
            leaks.append(
                f"LEAK: {len(common):,} of {len(named[later]):,} groups of {later} stand in {earlier} ({some})"
            )
    return Section("Groups", table), leaks
