"""Function signatures and documentation's first sentence, read with `ast`.

Nothing is imported: a package is a folder of source text. Which files train, validate or test is decided by the hash of
the module's name.
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import InputError
from benchmark.types import Example, Splits
from tasks.common import Corpus, Data, by_hash, disjoint, unit_hash

VALID, TEST = 0.08, 0.12
HELD_OUT = 128  # documents by which forgetting is measured
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


@dataclass(frozen=True, kw_only=True)
class Docstrings(Data):
    """Signature -> first sentence; another package is the shift. Sizes are bounds."""

    packages: list[str]
    shifted_package: str
    train: int
    valid: int
    test: int
    shift: int

    def splits(self) -> Splits:
        """Split by the hash of the module; shared sentences stay on one side."""
        shifted = f"test/{self.shifted_package}"
        splits: dict[str, list[Example]] = {name: [] for name in ("train", "valid", "test", shifted)}
        for package in (*self.packages, self.shifted_package):
            named = {function.name: function for function in functions(package)}  # the last definition counts
            for function in named.values():
                split = shifted if package == self.shifted_package else split_of(function.module)
                if example := as_example(function):
                    splits[split].append(example)
        sizes = {"train": self.train, "valid": self.valid, "test": self.test, shifted: self.shift}
        return {name: by_hash(examples, sizes[name]) for name, examples in disjoint(splits).items()}


def as_example(function: Function) -> Example | None:
    """Make an example, or None without an English sentence of four words."""
    sentence = function.sentence
    if len(sentence.split()) < 4 or not sentence.isascii() or sentence.startswith((":", ".", ">", "-")):
        return None
    return Example(function.name, function.signature, (sentence,), group=function.module)


def as_document(function: Function) -> str:
    """Render a function's signature and docstring."""
    return f'{function.signature}\n    """{function.documentation}\n"""'


def split_of(module: str) -> str:
    """Say which split a module's functions belong to."""
    position = unit_hash(module)
    return "test" if position < TEST else "valid" if position < TEST + VALID else "train"


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


@dataclass(frozen=True, kw_only=True)
class DocstringCorpus(Corpus):
    """Docstrings of other packages, without those that quote a task's sentence."""

    packages: list[str]
    task_packages: list[str]
    held_out_packages: list[str]

    def texts(self) -> list[str]:
        """Render each function's signature and docstring."""
        sources, sentences = set(), set()
        for package in self.task_packages:
            for function in functions(package):
                sources.add(function.signature)
                sentences.add(function.sentence)
        return [
            as_document(f)
            for package in self.packages
            for f in functions(package)
            if f.signature not in sources and not _quotes(f.documentation, sentences)
        ]

    def held_out(self) -> list[tuple[str, str]]:
        """List documents of packages that neither pretraining nor a task reads."""
        known = {f.documentation for package in self.packages for f in functions(package)}
        documents = {
            f.name: as_document(f)
            for package in self.held_out_packages
            for f in functions(package)
            if f.documentation not in known
        }
        return [("", documents[name]) for name in sorted(documents, key=unit_hash)[:HELD_OUT]]

    def pairs(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (no source, text) without end, in shuffled passes."""
        texts = self.texts()
        while True:
            rng.shuffle(texts)
            yield from (("", text) for text in texts)


def _quotes(documentation: str, sentences: set[str]) -> bool:
    paragraphs = [" ".join(p.split()) for p in documentation.split("\n\n")]
    return any(s in sentences for p in paragraphs for s in (p, *SENTENCE.findall(p)))
