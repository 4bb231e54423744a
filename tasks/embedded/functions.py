"""Documented functions of installed packages, read with `ast`.

Nothing is imported: a package is a folder of source text.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import InputError
from benchmark.types import Example

SKIPPED = {
    "tests",
    "test",
    "testing",
    "_vendor",
    "vendor",
    "externals",
    "_lib",
    "_external",
    "site-packages",
    "idlelib",
    "lib2to3",
}
SENTENCE = re.compile(r"(.+?[.!?])(?:\s|$)")


class Function(NamedTuple):
    """Documented public function: module, name, signature, docstring."""

    module: str
    name: str
    signature: str
    documentation: str

    @property
    def sentence(self) -> str:
        """First sentence of the documentation, on one line."""
        paragraph = " ".join(self.documentation.split("\n\n")[0].split())
        match = SENTENCE.match(paragraph)
        return match[1] if match else paragraph


def as_example(function: Function) -> Example | None:
    """Make an example, or None without an English sentence of four words."""
    sentence = function.sentence
    if len(sentence.split()) < 4 or not sentence.isascii() or sentence.startswith((":", ".", ">", "-")):
        return None
    return Example(function.name, function.signature, (sentence,), group=function.module)


def as_document(function: Function) -> str:
    """Render a function's signature and docstring."""
    return f'{function.signature}\n    """{function.documentation}\n"""'


def folder_of(package: str) -> Path:
    """Find a package's source folder without importing it; `stdlib` is Python's own."""
    if package == "stdlib":
        return Path(sysconfig.get_path("stdlib"))
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f'the package {package!r} is not installed: pip install -e ".[embedded]"')
    return Path(spec.origin).parent


def functions(package: str) -> Iterator[Function]:
    """Yield the documented public functions of a package in a fixed order."""
    root = folder_of(package)
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if SKIPPED & set(parts) or any(p.startswith("test_") for p in parts):
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):  # templates and deliberately broken files; no function of the package
            continue
        module = ".".join((package, *(p for p in parts if p != "__init__")))
        yield from _documented(tree.body, module, module)


def _documented(body: Sequence[ast.stmt], module: str, prefix: str) -> Iterator[Function]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _documented(node.body, module, f"{prefix}.{node.name}")
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documentation = ast.get_docstring(node)
            if documentation and not node.name.startswith("_"):
                yield Function(module, f"{prefix}.{node.name}", _signature(node, prefix), documentation)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, prefix: str) -> str:
    return f"# {prefix}\ndef {node.name}({ast.unparse(node.args)}):"
