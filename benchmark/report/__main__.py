"""Rebuild the table of runs, the tables and the figures from the records of a results folder."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path

from benchmark.config import registry
from benchmark.errors import InputError
from benchmark.records.folders import PUBLISHED, RUNS
from benchmark.report import across, claimed, cost_tables, frame, markup, overview, tables, verdicts, views
from benchmark.report.drawing import press
from benchmark.report.drawing.material import Material, material
from benchmark.report.page import build as site
from benchmark.report.page.contents import Board, Report

USAGE = """usage: python -m benchmark.report [results=DIR] [plugins=DIR]

Reads the published sets in DIR/published and your own records in DIR/runs, and rebuilds from them
  DIR/runs.csv      one row per run
  DIR/measurements.parquet
                    one row per measurement, curves included
  DIR/tables/       per task and budget: score with its interval, ties, differences, sizes and costs
                    (Markdown, LaTeX, CSV); methods_<budget>: every method on every task
  DIR/figures/      a folder per figure (PDF and PNG); what was drawn is kept in DIR/.cache/figures
  DIR/site/index.html
                    all of it as one page that needs no network: tables to sort, figures to point at, every run
DIR is "results" unless given."""


def main(arguments: list[str]) -> int:
    """Return the exit status: 0, or 2 for a call that makes no sense."""
    if set(arguments) & {"-h", "--help"}:
        print(USAGE)
        return 0
    results = Path("results")
    try:
        arguments = registry.use(arguments)
    except InputError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 2
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key != "results" or not value:
            print(f"{argument}: the report takes results=DIR, plugins=DIR and nothing else", file=sys.stderr)
            return 2
        results = Path(value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = frame.load(results)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if not runs:
        folders = f"{results / PUBLISHED} and {results / RUNS}"
        print(f"no records in {folders}: make one with python -m benchmark.run method=lora task=nmt")
        return 0
    build(runs, results)
    return 0


def build(runs: list[frame.Run], results: Path) -> None:
    """Write everything that is derived from records."""
    for name in ("tables", "figures"):
        (results / name).mkdir(parents=True, exist_ok=True)
    with frame.keeping():
        table = frame.tidy(runs)
        frame.write(table, results / "runs.csv")
        frame.measurements(runs, table).to_parquet(results / "measurements.parquet", index=False)
        found = material(runs, results)
    budgets = order(found)
    boards = [board(found, task, name) for task, name in sorted(found.grids, key=lambda g: (g[0], budgets.index(g[1])))]
    overviews, judged = [table for budget in budgets for table in over_tasks(found, budget)], None
    if (results / claimed.FILE).exists():
        judged = verdicts.table(claimed.load(results), verdicts.Judge(found.grids, found.evidence))
    made = [*(board.table for board in boards), *overviews, *filter(None, [judged])]
    for table in made:
        for ending, write in markup.KINDS.items():
            (results / "tables" / f"{table.name}.{ending}").write_text(write(table), encoding="utf-8")
    pictures = press.every(found)
    drawn = press.publish(pictures, results)
    page = site.write(results, Report(runs, boards, overviews, judged, pictures))
    derived = f"{results / 'runs.csv'}, measurements.parquet, {len(made)} tables in {results / 'tables'}"
    print(f"{len(runs)} runs: {derived}, {drawn} figures in {results / 'figures'}, {page}")


def board(found: Material, task: str, budget: str) -> Board:
    """Make the table of one task and budget; runs that measured costs have one of their own."""
    name, members = "_".join(filter(None, (task, budget))), found.grids[task, budget]
    if budget == views.MEASURING:
        return Board(task, budget, cost_tables.costs(name, members), members, scored=False)
    standing, proper = found.standing[task, budget], found.proper[task, budget]
    return Board(task, budget, tables.table(name, members, standing, found.costs, proper), members)


def order(found: Material) -> list[str]:
    """Sort budgets and views: what was tuned first, then that of most runs; costs come last."""
    runs = Counter({budget: 0 for _, budget in found.grids})
    for (_, budget), members in found.grids.items():
        runs[budget] += sum(len(group.records) for group in members)
    return sorted(runs, key=lambda name: (name == views.MEASURING, not name.endswith(views.TUNED), -runs[name], name))


def over_tasks(found: Material, budget: str) -> list[tables.Table]:
    """Make the tables that hold all tasks of a budget."""
    tasks = {task: members for (task, of), members in found.grids.items() if of == budget}
    if budget == views.MEASURING:
        return [cost_tables.overview(f"methods_{budget}", tasks)] if len(tasks) > 1 else []
    made = []
    if len(boards := found.boards[budget]) > 1:
        made.append(across.ranking(budget, boards, found.ranks[budget]))
        made.append(across.certainty(budget, boards, found.evidence))
    return made + [table for table in [overview.overview(budget, tasks)] if table]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
