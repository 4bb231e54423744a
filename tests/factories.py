"""Running a cell as the command does, without recording it."""

from benchmark.engine import data, runner
from benchmark.engine.context import Run


def run_cell(cell, **context):
    """Run on the CPU and return what came of it."""
    run = Run(cell, **context)
    runner.measure(run, data.read(cell, run.result, run.reuse))
    return run.result
