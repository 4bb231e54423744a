"""Running a cell as the command does, without recording it."""

from benchmark import runner
from benchmark.progress import watching


def run_cell(cell):
    """Run on the CPU and return what was found out."""
    result = runner.Result()
    splits = runner.read(cell, result)
    with watching() as watch:
        runner.run(cell, splits, "cpu", watch, result)
    return result
