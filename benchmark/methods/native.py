"""Base of native methods, which are saved in one safetensors file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.errors import InputError
from benchmark.types import Method

if TYPE_CHECKING:
    from benchmark.cell import Cell

FILE = "adapter.safetensors"


class Part(nn.Module):
    """Module added to a network: its parameters are trained, its buffers saved."""


def freeze(model: nn.Module) -> None:
    """Freeze everything except a new head."""
    model.requires_grad_(False)
    if head := getattr(model, "new_head", None):
        head.requires_grad_(True)


def trained_tensors(model: nn.Module, buffers: bool) -> dict[str, torch.Tensor]:
    """Collect the tensors that a method adds or changes, optionally statistics.

    Tied tensors have one name.
    """
    unique, memories = {}, set()
    tensors = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parts = {name for name, module in model.named_modules() if isinstance(module, Part)}
    tensors |= {name: b for name, b in model.named_buffers() if name.rpartition(".")[0] in parts}
    if buffers:
        followers = {
            name for name, module in model.named_modules() if getattr(module, "running_mean", None) is not None
        }
        tensors |= {name: b for name, b in model.named_buffers() if name.rpartition(".")[0] in followers}
    for name, tensor in tensors.items():
        memory = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        if memory not in memories or tensor.numel() == 0:  # safetensors refuses two names of one memory
            unique[name] = tensor.detach()
        memories.add(memory)
    return unique


@dataclass(frozen=True, kw_only=True)
class Native(Method):
    """Method whose adapter is saved and restored by parameter names."""

    def save(self, model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            name: tensor.cpu().contiguous() for name, tensor in trained_tensors(model, self.trains_buffers).items()
        }
        save_file(tensors, folder / FILE, metadata={"format": "pt"})

    def merge(self, model: nn.Module) -> nn.Module:
        """Return the network, for methods that train its own parameters."""
        return model if self.mergeable else super().merge(model)

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Attach, then load. Raises InputError where names or shapes differ."""
        path = folder / FILE
        if not path.is_file():
            raise InputError(f"{folder}: no {FILE}; give the folder that save= wrote")
        return self.load(self.attach(model, cell), path)

    def load(self, model: nn.Module, path: Path) -> nn.Module:
        """Load an attached adapter from a file. Raises InputError."""
        saved = load_file(path)
        tensors = trained_tensors(model, self.trains_buffers)
        for problem, names in (("lacks", tensors.keys() - saved.keys()), ("also has", saved.keys() - tensors.keys())):
            if names:
                raise InputError(
                    f"{path} {problem} {', '.join(sorted(names)[:3])} ({len(names)} in all): "
                    "restore with the method and backbone that it was saved with"
                )
        for name, tensor in tensors.items():
            if tensor.shape != saved[name].shape:
                raise InputError(
                    f"{path}: {name} has shape {tuple(saved[name].shape)}, this network needs {tuple(tensor.shape)}"
                )
            tensor.copy_(saved[name])  # detached from autograd, shared with the network
        return model
