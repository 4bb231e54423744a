"""Make tables, figures and the page: python -m benchmark.report."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from benchmark.command import end
from benchmark.config import registry
from benchmark.errors import InputError, MalformedError
from benchmark.records import file_name
from benchmark.records.folders import PUBLISHED, RUNS
from benchmark.report import frame, views
from benchmark.report.comparisons import Tables
from benchmark.report.figures.drawing import press
from benchmark.report.material import Material, material
from benchmark.report.page import build as site
from benchmark.report.page.contents import Report, TaskTable
from benchmark.report.published import claims, verdicts
from benchmark.report.tables import across, costs, markup, overview, scores
from benchmark.report.tables.table import Table
from benchmark.report.views import Run

USAGE = """usage: python -m benchmark.report [results=DIR] [metric=NAME] [plugins=DIR]

Reads the published sets in DIR/published and your own records in DIR/runs, and rebuilds from them
  DIR/runs.csv      one row per run
  DIR/measurements.parquet
                    one row per measurement, curves included
  DIR/tables/       per task and budget: score with its interval, ties, differences, sizes and costs
                    (Markdown, LaTeX, CSV); methods_<budget>: every method on every task
  DIR/figures/      a folder per figure (PDF and PNG); what was drawn is cached in DIR/.cache/figures
  DIR/site/index.html
                    all of it as one page that needs no network: tables to sort, figures to point at, every run
DIR is "results" unless given. metric shows runs by another of their scores, of which higher is better, on all tasks
that have it."""


def main(arguments: list[str]) -> int:
    """Return the exit status: 0, or 2 for a call that is refused."""
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    given = {"results": "results"}
    try:
        for argument in registry.use(arguments):
            key, _, value = argument.partition("=")
            if key not in ("results", "metric") or not value:
                raise InputError(f"{argument}: the report takes results=DIR, metric=NAME, plugins=DIR and nothing else")
            given[key] = value
        results = Path(given["results"])
        runs = frame.load_and_warn(results, given.get("metric"))
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    if not runs:
        folders = f"{results / PUBLISHED} and {results / RUNS}"
        print(f"no records in {folders}: make one with python -m benchmark.run method=lora task=nmt")
        return 0
    build(runs, results)
    return 0


def build(runs: list[Run], results: Path) -> None:
    """Write everything that is derived from records."""
    for name in ("tables", "figures"):
        (results / name).mkdir(parents=True, exist_ok=True)
    with frame.keeping():
        table = frame.tidy(runs)
        frame.write(table, results / "runs.csv")
        frame.measurements(runs, table).to_parquet(results / "measurements.parquet", index=False)
        made = material(runs, results)
    budgets = order(made.tables)
    keys = sorted(made.tables, key=lambda key: (key[0], budgets.index(key[1])))
    task_tables = [TaskTable(*key, table_of(made, key), made.tables[key], key[1] != views.MEASURING) for key in keys]
    overviews = [table for budget in budgets for table in over_tasks(made, budget)]
    judged = judge(made) if (results / claims.FILE).exists() else None
    written = [*(one.table for one in task_tables), *overviews, *filter(None, [judged])]
    for table in written:
        for ending, write in markup.KINDS.items():
            path = results / "tables" / f"{file_name(table.name)}.{ending}"
            path.write_text(write(table), encoding="utf-8", errors="backslashreplace")
    pictures = press.every(made)
    drawn = press.publish(pictures, results)
    page = site.write(results, Report(runs, task_tables, overviews, judged, drawn))
    derived = f"{results / 'runs.csv'}, measurements.parquet, {len(written)} tables in {results / 'tables'}"
    print(f"{len(runs)} runs: {derived}, {len(drawn)} figures in {results / 'figures'}, {page}")


def judge(made: Material) -> Table | None:
    """Judge the claims; None, with a warning, where they are malformed or other headlines are shown."""
    other = {record.task for _, record in made.runs if record.headline() != record.data.get("metric")}
    try:
        known = claims.load(made.results)
        if tasks := sorted(other & {claim.task for claim in known}):
            raise MalformedError(f"another score of {tasks[0]} is shown than the headline that they are about")
        return verdicts.table(known, verdicts.Judge(made.tables, made.evidence))
    except MalformedError as error:
        print(f"warning: claims are left out: {error}", file=sys.stderr)
        return None


def table_of(made: Material, key: tuple[str, str]) -> Table:
    """Make the table of one task and budget, by scores or by costs."""
    name, members = "_".join(filter(None, key)), made.tables[key]
    if key[1] == views.MEASURING:
        return costs.costs(name, members)
    return scores.table(name, members, made.standing[key], made.costs, made.proper[key])


def order(tables: Tables) -> list[str]:
    """Sort budgets and views: tuned ones first, then by runs, costs last."""
    runs: Counter[str] = Counter()
    for (_, budget), members in tables.items():
        runs[budget] += sum(len(one.records) for one in members)
    return sorted(runs, key=lambda name: (name == views.MEASURING, not name.endswith(views.TUNED), -runs[name], name))


def over_tasks(made: Material, budget: str) -> list[Table]:
    """Make the tables that hold all tasks of a budget."""
    tasks = made.tasks(budget)
    if budget == views.MEASURING:
        return [costs.overview(f"methods_{budget}", tasks)] if len(tasks) > 1 else []
    tables = [overview.overview(budget, tasks)]
    if len(known := made.scores[budget]) > 1:
        tables = [
            across.ranking(budget, known, made.ranks[budget]),
            across.certainty(budget, known, made.evidence),
            *tables,
        ]
    return [table for table in tables if table]


if __name__ == "__main__":
    sys.exit(end(main, sys.argv[1:]))
