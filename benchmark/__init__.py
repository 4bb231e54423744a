"""CrossPEFT: parameter-efficient fine-tuning methods, compared across domains.

>>> from benchmark import load, report, run  # run and report are modules: run.execute(...), report.build(...)
"""

from importlib import import_module
from typing import Any

__all__ = ["load", "report", "run"]


def __getattr__(name: str) -> Any:
    """Import what a user asks for only on demand: torch and hydra take seconds."""
    if name == "load":
        return import_module("benchmark.saved").load
    if name in __all__:
        return import_module(f"benchmark.{name}")
    raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
