"""Tables, figures and the page, all derived from records."""

from pathlib import Path


def build(results: str | Path) -> None:
    """Make tables, figures and the page, as python -m benchmark.report does."""
    from benchmark.report.__main__ import main

    main([f"results={results}"])
