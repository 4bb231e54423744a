"""Which setting stands for a method where several of it were run under the same conditions."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.records import YOURS
from benchmark.report.again import setting
from benchmark.report.groups import Group


def meant(groups: Sequence[Group]) -> Group | None:
    """Choose the setting as it is shipped, of two such the shipped runs; None where that leaves several."""
    if len(groups) < 2:
        return next(iter(groups), None)
    ranked = sorted((_far(group), place) for place, group in enumerate(groups))
    return None if ranked[0][0] == ranked[1][0] else groups[ranked[0][1]]


def _far(group: Group) -> tuple[int, int]:
    """Count the fields in which a setting departs from the method's file; shipped runs come before others."""
    changed = [word for word in setting(group.done[0]) if word.lstrip("+~").startswith("method.")]
    return len(changed), group.settings.get("source") == YOURS
