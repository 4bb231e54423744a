"""One table over all tasks: scores and trainable parameters by method."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmark.records.configurations import WHOLE, Configuration
from benchmark.report.tables.scores import explain_marks
from benchmark.report.tables.table import ABSENT, Table, label, significant, states

LEGEND = (
    "Headline score on the test split (mean over seeds), and trainable parameters with those of a new head. "
    f"{ABSENT}: not recorded. skipped: the method does not fit; the table of the task gives the reason."
)


def overview(budget: str, tasks: Mapping[str, Sequence[Configuration]]) -> Table | None:
    """Cross methods with the tasks of one budget; None for a single task.

    On pretrained weights and all data.
    """
    table = Table(f"methods_{budget}", ["method"], legend=LEGEND, names=1)
    columns: dict[tuple[str, str], dict[str, Configuration]] = defaultdict(dict)
    for task, members in tasks.items():
        for one in members:
            if one.records and not one.control and one.part == WHOLE:
                columns[task, one.backbone][label(one, table)] = one
    if len({task for task, _ in columns}) < 2:
        return None
    for task, backbone in columns:
        several = sum(other == task for other, _ in columns) > 1
        metric = next((one.metric() for one in columns[task, backbone].values() if one.metric()), "score")
        table.header += [" ".join(filter(None, (task, backbone if several else "", metric))), "trained"]
    for method in sorted({method for members in columns.values() for method in members}):
        table.rows.append([method, *(cell for members in columns.values() for cell in _cells(members.get(method)))])
    table.legend += explain_marks(one for members in columns.values() for one in members.values())
    return table


def _cells(one: Configuration | None) -> list[str]:
    if one is None:
        return [ABSENT, ""]
    if not one.done:
        return [states(one), ""]
    scores, trained = one.values("test", one.metric() or ""), one.values("cost", "trainable_params")
    return [
        significant(statistics.fmean(scores)) + one.marks if scores else ABSENT,
        f"{statistics.median(trained):,.0f}" if trained else ABSENT,
    ]
