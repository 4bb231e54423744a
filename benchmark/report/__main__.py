"""Rebuild the table of runs, the tables and the figures from the records of a results folder."""

from __future__ import annotations

import gc
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from benchmark.report import across, claimed, domains, frame, groups, markup, overview, tables, verdicts, views
from benchmark.report.drawing import press
from benchmark.report.drawing.material import material
from benchmark.report.evidence import Evidence
from benchmark.report.site import build as site
from benchmark.report.site.contents import Board, Report

USAGE = """usage: python -m benchmark.report [results=DIR]

Reads the records in DIR/reference (shipped) and DIR/runs (your own), and rebuilds from them
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
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key != "results" or not value:
            print(f"{argument}: the report takes results=DIR and nothing else", file=sys.stderr)
            return 2
        results = Path(value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        runs = frame.load(results)
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    if not runs:
        folders = " and ".join(str(results / source) for source in frame.SOURCES)
        print(f"no records in {folders}: make one with python -m benchmark.run method=lora task=nmt")
        return 0
    gc.freeze()  # statsmodels looks for garbage at every correction: what was read is none
    try:
        build(runs, results)
    finally:
        gc.unfreeze()
    return 0


def build(runs: list[frame.Run], results: Path) -> None:
    """Write everything that is derived from records."""
    for name in ("tables", "figures"):
        (results / name).mkdir(parents=True, exist_ok=True)
    frame.write(frame.tidy(runs), results / "runs.csv")
    frame.measurements(runs).to_parquet(results / "measurements.parquet", index=False)
    found = material(runs, results)
    boards = [
        Board(task, tables.table("_".join(filter(None, (task, budget))), members, standing), members, standing)
        for (task, budget), members in found.grids.items()
        for standing in [found.standing[task, budget]]
    ]
    overviews, judged = over_tasks(found.grids, found.evidence), None
    if (results / claimed.FILE).exists():
        judged = verdicts.table(claimed.load(results), verdicts.Judge(found.grids, found.evidence))
    made = [*(board.table for board in boards), *overviews, *filter(None, [judged])]
    for table in made:
        for ending, write in markup.KINDS.items():
            (results / "tables" / f"{table.name}.{ending}").write_text(write(table), encoding="utf-8")
    drawn = press.publish(found, results / "figures")
    print(
        f"{len(runs)} runs: {results / 'runs.csv'}, measurements.parquet, {len(made)} tables in {results / 'tables'}, ",
        end="",
    )
    print(f"{drawn} figures in {results / 'figures'}, {site.write(results, Report(runs, boards, overviews, judged))}")


def over_tasks(grids: Mapping[tuple[str, str], list[groups.Group]], evidence: Evidence) -> list[tables.Table]:
    """Make the tables that hold all tasks of a budget; first that of most runs, tuned before default."""
    made = []
    runs = Counter({budget: 0 for _, budget in grids})
    for (_, budget), members in grids.items():
        runs[budget] += sum(len(group.records) for group in members)
    for budget in sorted(runs, key=lambda name: (not name.endswith(views.TUNED), -runs[name], name)):
        tasks = {task: members for (task, of), members in grids.items() if of == budget}
        boards = domains.boards(tasks, evidence)
        ways = (across.ranking, across.certainty, across.composites) if len(boards) > 1 else ()
        made += [way(budget, boards) for way in ways]
        made += [table for table in [overview.overview(budget, tasks)] if table]
    return made


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
