"""Saved adapters: loading what save=DIR wrote, to answer new inputs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.cell import Cell
from benchmark.config import registry
from benchmark.config.build import build, convert
from benchmark.engine.batches import in_order, mates_of
from benchmark.errors import InputError, refusing
from benchmark.identity import CLASS, content_hash
from benchmark.records import Record
from benchmark.records.shape import NOUNS
from benchmark.types import Example, Head, Task

CELL = "cell.json"  # the run's record, beside the adapter
EMBEDDED = Path(__file__).parent / "backbones" / "embedded"


@dataclass(frozen=True)
class Adapted:
    """Network with a trained adapter, ready to answer."""

    model: Any
    processor: Any
    cell: Cell

    def answer(self, sources: Sequence[Any]) -> list[Any]:
        """Answer each source as in the task that the adapter was trained on."""
        import torch

        task = self.cell.task
        features = [task.encode(Example("", task.source(s), (task.placeholder,)), self.processor, {}) for s in sources]
        known = [i for i, f in enumerate(features) if f is not None]
        read = [features[i] for i in known]
        mates, size = mates_of(task, read, self.processor), self.cell.budget.eval_batch_size
        answers = [task.nothing() for _ in features]
        for chunk in in_order([task.length(f) for f in read], size, mates):
            with torch.no_grad():
                answered = task.predict(self.model, [read[i] for i in chunk], self.processor)
            for i, answer in zip(chunk, answered, strict=True):
                answers[known[i]] = answer
        return [answer["prediction"] for answer in answers]


def load(folder: str | Path, checkpoint: str | Path | None = None, plugins: str | Path | None = None) -> Adapted:
    """Load a saved adapter and its backbone, by default from where it was trained.

    Only classes that the registry names are imported; plugins names a folder with more. Raises InputError.
    """
    folder = Path(folder)
    if plugins:
        registry.add(plugins)
    if not (folder / CELL).is_file():
        raise InputError(f"no {CELL} in {str(folder)!r}: give the folder that save=DIR wrote")
    quiet = warnings.catch_warnings(action="ignore", category=FutureWarning)  # of libraries about each other
    with quiet, refusing(f"{str(folder)!r} cannot be loaded"):
        record = Record.from_json((folder / CELL).read_bytes())
        cell = _cell(record, checkpoint)
        facts = record.data.get("head") or {}
        facts = {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
        head = Head(cell.kind, **facts)
        model, processor = cell.load(head)
        return Adapted(cell.method.restore(model, folder, cell).eval(), processor, cell)


def _cell(record: Record, checkpoint: str | Path | None) -> Cell:
    """Build the cell of a saved adapter."""
    config = {noun: _named_files(part) for noun, part in record.config.items()}
    if missing := [noun for noun in NOUNS if not config.get(noun)]:
        raise InputError(f"{CELL} has no {missing[0]}: it is not what save=DIR wrote")
    config["backbone"]["checkpoint"] = _backbone_folder(record.config["backbone"]["checkpoint"], checkpoint)
    parts = {noun: _built(noun, config[noun]) for noun in NOUNS}
    cell = Cell(**parts, seed=convert(config.get("seed"), int, "seed"))
    cell.task.recall(record.data.get("reading") or {})
    return cell


def task_of(record: Record) -> Task:
    """Build a record's task to score its stored answers; no data is read."""
    return _built("task", _named_files(record.config["task"]))


def _backbone_folder(wanted: Any, given: str | Path | None) -> str:
    """Find the backbone's folder. Raises InputError where its content has changed."""
    if not isinstance(wanted, dict):
        return str(given or wanted)
    path = Path(given) if given else EMBEDDED / wanted["name"]
    if not path.is_dir():
        raise InputError(
            f"the adapter belongs to a local backbone {wanted['name']!r}: load(folder, checkpoint=its folder)"
        )
    if content_hash(path.absolute()) != wanted["sha256"]:
        raise InputError(f"{str(path)!r} is not the backbone that the adapter was trained on: its files differ")
    return str(path)


def _named_files(value: Any) -> Any:
    """Replace content hashes of local files by names; no data is read."""
    if isinstance(value, dict):
        return value["name"] if value.keys() == {"name", "sha256"} else {k: _named_files(v) for k, v in value.items()}
    return [_named_files(v) for v in value] if isinstance(value, list) else value


def _built(group: str, recorded: dict[str, Any]) -> Any:
    """Build a part of a cell from a record."""
    node = registry.buildable_node(group, recorded)
    if isinstance(data := node.get("data"), dict):
        node["data"] = registry.buildable_node("data", data)
    for part in (node, node.get("data") or {}):
        if inner := [key for key, value in part.items() if value is not node.get("data") and _names_class(value)]:
            raise InputError(f"{group}.{inner[0]}: names a class, which no record of this project does")
    return build(node, group, lenient=True)


def _names_class(value: Any) -> bool:
    """Say whether a value, or one inside it, names a class to build."""
    if isinstance(value, dict):
        return CLASS in value or any(map(_names_class, value.values()))
    return isinstance(value, list) and any(map(_names_class, value))
