"""The figures, one module each.

A module has `BY`, the columns whose values make a picture each; `data(material)`, everything that is drawn, as a table
of plain columns; `draw(table, width)`, one picture: rows that share BY; width is "one" or "two" columns; and `TAB`, its
name on the page beside others, and `LEADS` if it is the first of them. It notes by `style.mark` where rows are drawn.
The first line of its docstring says what it shows.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def known() -> dict[str, ModuleType]:
    """Import every figure, by name."""
    return {
        module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if not module.ispkg
    }
