"""Trainable parameters by hand without new heads, a file per family."""

from importlib import import_module
from pathlib import Path

FILES = [import_module(f"counts.{file.stem}") for file in sorted(Path(__file__).parent.glob("[a-z]*.py"))]
COUNTS = {pair: count for file in FILES for pair, count in file.COUNTS.items()}
TINY = {method: knobs for file in FILES for method, knobs in getattr(file, "TINY", {}).items()}
