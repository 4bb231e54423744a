"""Records become a table of runs, tables of results and figures; all of it can be deleted and rebuilt."""

from pathlib import Path


def build(results: str | Path) -> None:
    """Make tables, figures and the page from the records of a folder, as python -m benchmark.report does."""
    from benchmark.report.__main__ import main

    main([f"results={results}"])
