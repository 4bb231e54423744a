"""One table over all tasks: a row per method, its headline scores and trainable parameters."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from benchmark.report.groups import WHOLE, Group
from benchmark.report.tables import ABSENT, UNLEARNT, Table, label, significant

LEGEND = (
    "Headline score on the test split (mean over seeds) and trainable parameters, the new head's among them where "
    f"there is one. {ABSENT}: not recorded. skipped: the method does not fit; the task's own table says why."
)


def overview(budget: str, tasks: Mapping[str, list[Group]]) -> Table | None:
    """Cross methods with the tasks that were run under one budget, on pretrained weights; None for a single task."""
    table = Table(f"methods_{budget}", ["method"], legend=LEGEND, words=1)
    columns: dict[tuple[str, str], dict[str, Group]] = {}
    for task, groups in tasks.items():
        for group in groups:
            if group.records and not group.control and group.part == WHOLE:
                columns.setdefault((task, group.backbone), {})[label(group, table)] = group
    if len({task for task, _ in columns}) < 2:
        return None
    for task, backbone in columns:
        several = sum(other == task for other, _ in columns) > 1
        metric = next((g.metric() for g in columns[task, backbone].values() if g.metric()), "score")
        table.header += [" ".join(filter(None, (task, backbone if several else "", metric))), "trained"]
    for method in sorted({method for groups in columns.values() for method in groups}):
        cells = [cell for groups in columns.values() for cell in _cells(groups.get(method))]
        table.rows.append([method, *cells])
    found = (group for groups in columns.values() for group in groups.values())
    table.legend += UNLEARNT * any(group.untrained for group in found)
    return table


def _cells(group: Group | None) -> list[str]:
    if group is None:
        return [ABSENT, ""]
    if not group.done:
        return [" or ".join(sorted({record.status for record in group.records})), ""]
    scores, trained = group.values("test", group.metric() or ""), group.values("cost", "trainable_params")
    return [
        significant(statistics.fmean(scores)) + group.untrained if scores else ABSENT,
        f"{statistics.median(trained):,.0f}" if trained else ABSENT,
    ]
