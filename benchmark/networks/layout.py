"""Checkpoint folders: every key is held against the architecture before one is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError
from benchmark.networks.network import Converted

if TYPE_CHECKING:
    from torch import nn


def write(made: Converted, folder: Path) -> None:
    """Write config.json, model.safetensors and the other files, the same bytes on every machine.

    Raises InputError where keys or shapes are not those of the architecture.
    """
    from safetensors.torch import save_file

    check(made)
    folder.mkdir()
    for name, content in {"config.json": made.config, **made.files}.items():
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            text = json.dumps(content, indent=2, ensure_ascii=False, sort_keys=name != "tokenizer.json")
            (folder / name).write_text(f"{text}\n", encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in sorted(made.tensors.items())}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def check(made: Converted) -> None:
    """Refuse weights whose names or shapes are not those of the architecture. Raises InputError."""
    import torch

    with torch.device("meta"):
        wanted = shapes(architecture(made.config))
    given = {name: tuple(tensor.shape) for name, tensor in made.tensors.items()}
    problems = {
        "lack": sorted(wanted.keys() - given.keys()),
        "have too much:": sorted(given.keys() - wanted.keys()),
        "have other shapes:": sorted(name for name in given.keys() & wanted.keys() if given[name] != wanted[name]),
        "hold what is no number:": sorted(n for n, t in made.tensors.items() if not t.isfinite().all()),
    }
    for problem, names in problems.items():
        if names:
            raise InputError(f"the converted weights {problem} {', '.join(names[:3])} ({len(names)} in all)")


def architecture(config: dict[str, Any]) -> nn.Module:
    """Build the whole network that a config.json describes, of timm or of transformers."""
    if "architecture" in config:
        import timm

        return timm.create_model(config["architecture"], num_classes=config["num_classes"])
    import transformers

    made = transformers.AutoConfig.for_model(**config)
    return getattr(transformers, config["architectures"][0])(made)


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Give the shape of each stored tensor; one that has two names counts once."""
    network_state = network.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(network_state.items())}
    return {name: tuple(network_state[name].shape) for name in first.values()}
