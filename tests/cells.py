"""Running a cell as the command does, without recording it."""

from benchmark.engine import data, runner
from benchmark.engine.progress import watching


def run_cell(cell, reuse=None, save=None):
    """Run on the CPU and return what was found out."""
    result = data.Result()
    splits = data.read(cell, result, reuse)
    with watching() as watch:
        runner.run(cell, splits, "cpu", watch, result, save, reuse=reuse)
    return result
