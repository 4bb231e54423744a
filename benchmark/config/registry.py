"""Registry of the names in configs/, of which this is the only reader.

A name is a YAML file in a folder. Imports neither torch nor Hydra.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from benchmark.errors import InputError, MalformedError, near, path_of
from benchmark.identity import CLASS, CONTENTS, NO_CHOICE, recorded_classes

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
GROUPS = ("task", "method", "backbone", "budget", "data")
PLUGINS = "plugins"  # the run option that names a folder of configurations and modules outside the project

_folders: tuple[Path, ...] = (CONFIGS,)  # with those that use() adds to this process


def read(path: Path) -> dict[str, Any]:
    """Read one mapping from YAML or JSON. Raises MalformedError."""
    if path.exists() and not path.is_file():
        raise MalformedError(f"{path}: cannot be read (a folder or a pipe)")
    try:
        if path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)  # NaN is no number
        else:
            content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)  # ${...} stays text
    except (OSError, ValueError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise MalformedError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise MalformedError(f"{path}: holds no mapping")
    return content


def plugins() -> tuple[Path, ...]:
    """List the folders that plugins= named."""
    return tuple(folder.parent for folder in _folders[1:])


def names(group: str) -> list[str]:
    """List the names of a group, without reading any file."""
    return sorted(file.stem for folder in _folders for file in (folder / group).glob("*.yaml"))


def capability_tables() -> list[Path]:
    """List the capability tables of the project and of plug-ins."""
    return [path for folder in (ROOT / "results", *plugins()) if (path := folder / "capabilities.csv").is_file()]


def path(group: str, name: str, suffix: str = ".yaml") -> Path | None:
    """Find the file of a name."""
    files = (folder / group / f"{name}{suffix}" for folder in _folders if re.fullmatch(r"\w+", name))
    return next((file for file in files if file.is_file()), None)


def entry(group: str, name: str) -> dict[str, Any]:
    """Read the file of a name; empty where there is none."""
    file = path(group, name)
    return _read_once(file) if file else {}


def node(group: str, name: str) -> dict[str, Any]:
    """Read the node of a name; of a task's file the part under `task`."""
    content = entry(group, name)
    return content.get(group, content)


def fact(group: str, name: str, key: str) -> str:
    """Give a fact of a name, such as its category or paper; "" if unknown."""
    return str(node(group, name).get(key) or "")


def descriptions(group: str) -> dict[str, str]:
    """Describe every name of a group, with its paper."""
    return {name: cite(fact(group, name, "description"), fact(group, name, "paper")) for name in names(group)}


def cite(text: str, paper: str) -> str:
    """Cite a paper at the end of a description."""
    return f"{text.removesuffix('.')} ({paper})." if paper else text


def defaults(task: str) -> dict[str, str]:
    """Name the data and the backbone that a task brings."""
    chosen = {key: value for line in entry("task", task).get("defaults", ()) for key, value in line.items()}
    return {group: str(chosen.get(f"override /{group}")) for group in ("data", "backbone")}


@functools.cache
def _read_once(file: Path) -> dict[str, Any]:
    return read(file)


def buildable_node(group: str, recorded: dict[str, Any]) -> dict[str, Any]:
    """Turn the node of a record of any version into one that build() takes.

    Raises InputError for a class path that the registry neither has nor had: a record's class is never imported.
    """
    name, given = recorded.get("name"), recorded.get(CLASS)
    known = [n for n in names(group) if given in (node(group, n).get(CLASS), recorded_classes()[group].get(n))]
    if given is None:
        known = [n for n in names(group) if n == name]
    if not known:
        what = f"{group} {name!r}" if given is None else f"{group}.{CLASS}: {given!r}"
        raise InputError(f"{what} is unknown here: a {group} of another version, or one for plugins=DIR")
    current = node(group, name if name in known else known[0])
    later = recorded_classes()["later"].get(group, {}).get(name, {})
    facts = {key: value for key, value in current.items() if key in NO_CHOICE}
    values = {key: value for key, value in recorded.items() if key not in ("name", CLASS, CONTENTS)}
    return {CLASS: current[CLASS], **facts, **later, **values}


def class_entry(group: str, name: str | None, class_path: str) -> dict[str, str]:
    """Give what a record stores of a node's class: its registry name if it has one."""
    named_by = {} if name is None else {"name": name}
    return named_by if name and node(group, name).get(CLASS) == class_path else {**named_by, CLASS: class_path}


def use(arguments: Sequence[str]) -> list[str]:
    """Remove plugins=DIR from a command, and add its folder.

    Raises InputError.
    """
    for word in arguments:
        if word.startswith(f"{PLUGINS}="):
            add(word.partition("=")[2])
    return [word for word in arguments if not word.startswith(f"{PLUGINS}=")]


def add(folder: str | Path) -> None:
    """Add a folder with configs/ and Python modules, and import them.

    Raises InputError.
    """
    global _folders
    root = path_of(folder).resolve()
    if root / "configs" in _folders:
        return
    call = f"{PLUGINS}={folder}"
    if not (root / "configs").is_dir():
        raise InputError(f"{call}: no folder with configs/ inside")
    groups = {path.name for path in (root / "configs").iterdir() if path.is_dir()}
    if wrong := sorted(groups - {*GROUPS, "sweep"}):
        raise InputError(f"{call}: configs/{wrong[0]}: no such group{near(wrong[0], GROUPS)}")
    for group in sorted(groups):
        for file in sorted((root / "configs" / group).glob("*.yaml")):
            if path(group, file.stem):
                raise InputError(f"{call}: {group}={file.stem} is taken, choose another name")
    modules = sorted(file.stem for file in root.glob("*.py"))
    for module in modules:
        if importlib.util.find_spec(module):
            raise InputError(f"{call}: a module {module} exists elsewhere, choose another name")
    sys.path.append(str(root))
    try:
        for module in modules:
            importlib.import_module(module)
    except Exception as error:
        sys.path.remove(str(root))
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{call}: {module}.py cannot be imported ({reason})") from error
    _folders += (root / "configs",)
