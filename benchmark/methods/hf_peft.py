"""Methods of the Hugging Face PEFT library, chosen in YAML by their type.

This module contains no name of a type: the properties of a type are `facts` in its YAML, and a type that needs more has
a subclass in another module.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import peft
from peft.utils import ModulesToSaveWrapper
from transformers.pytorch_utils import Conv1D

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.config import registry
from benchmark.errors import InputError, near
from benchmark.methods.layers import inputs_of, modules_with, unshared_modules_with, width_of
from benchmark.methods.peft_options import CONFIGS, configuration, prepends, trains_heads, wrong_options
from benchmark.methods.peft_tokens import count_positions, refuse_crowded
from benchmark.types import Head, Input, Method

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

LAYERS = ("Conv1D", "Conv2d", "Embedding", "norm")  # wrapped by some types; all wrap nn.Linear


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Properties of a type; the defaults hold for most. See benchmark.types.Method."""

    wraps: list[str] | None = field(default_factory=list)  # layers besides nn.Linear; null: no module with a role
    unreadable: dict[str, str] = field(default_factory=dict)  # architecture -> its part that the type cannot read
    rank_within_sides: bool = True  # the rank is at most the smaller side of a layer
    mergeable: bool = True
    weightless: bool = True
    changes_output_at_init: str | None = None
    recomputes: bool = True
    compiles: bool = False


@dataclass(frozen=True, kw_only=True)
class Peft(Method):
    """Method that get_peft_model builds."""

    ties: ClassVar[bool] = False  # other modules that share a wrapped weight change with it

    peft_type: str
    targets: list[str]  # roles; none for prompts
    rank: int | None  # null: the type has none
    options: dict[str, Any]  # fields of the library's configuration
    facts: dict[str, Any]  # fields of Facts

    def __post_init__(self) -> None:
        known = [fact.name for fact in fields(Facts)]
        if unknown := [key for key in self.facts if key not in known]:
            raise InputError(f"method.facts.{unknown[0]}: no such fact{near(unknown[0], known)}")

    @property
    def known(self) -> Facts:
        """Facts of the type."""
        return Facts(**self.facts)

    @property
    def mergeable(self) -> bool:
        return self.known.mergeable

    @property
    def weightless(self) -> bool:
        return self.known.weightless

    @property
    def changes_output_at_init(self) -> str | None:
        return self.known.changes_output_at_init

    @property
    def compiles(self) -> bool:
        return self.known.compiles

    @property
    def recomputes(self) -> bool:
        return self.known.recomputes

    @property
    def prepended(self) -> int:
        return self.options.get("num_virtual_tokens") or 0

    @property
    def untargeted(self) -> bool:
        """True if it wraps no module that method.targets could name."""
        return self.known.wraps is None

    def conflict(self, cell: Cell) -> str | None:
        """Check all choices against the library's class, and shapes if needed."""
        reason = self._misnamed() or roles.refusal(cell.backbone.family, self.targets)
        reason = reason or wrong_options(self.peft_type, self.rank, self.options, self.prepended)
        if reason := reason or self.misplaced(cell):
            return reason
        try:
            self.configuration(cell, [])
        except (TypeError, ValueError, ImportError) as error:  # the library's check of the options
            return f"{self.peft_type} refuses method.options: {error}"
        if self.weightless:
            return None
        try:
            self.layers(cell.backbone.skeleton(cell.budget, Head(cell.kind, labels=("", " "))), cell)
        except InputError as error:
            return str(error)
        return None

    def _misnamed(self) -> str | None:
        name = self.peft_type
        if name not in CONFIGS:
            return f"method.peft_type={name}: no such type{near(name.upper(), CONFIGS)}"
        if not self._registered():
            return f"method.peft_type={name}: this method is made for another type{_methods_of(name)}"
        if self.untargeted and self.targets:
            return f"{name} wraps no modules: set method.targets=[]"
        if not self.untargeted and not self.targets:
            return f"{name} needs method.targets, for example [default]"
        return None

    def _registered(self) -> bool:
        """Say whether a method of the registry has this type, these facts and this class."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        names = [self.peft_type.lower(), *registry.names("method")]  # the first guess is right for most
        nodes = (registry.node("method", name) for name in names)
        wanted = (self.peft_type, self.facts, path)
        return any((node.get("peft_type"), node.get("facts"), node.get("_target_")) == wanted for node in nodes)

    def misplaced(self, cell: Cell) -> str | None:
        """Give the reason why the type cannot run on this network."""
        name, family = self.peft_type, cell.backbone.family
        if self.untargeted and (cell.kind.new_head or cell.backbone.reads != Input.TEXT):
            return f"{name} adds tokens to the input of a language model, and {family} is none here"
        if cell.kind.new_head and not trains_heads(name):
            return f"{name} cannot train the new head of this task together with its own parameters"
        if family in self.known.unreadable:
            return f"{name} cannot read {family}'s {self.known.unreadable[family]}"
        for layer in sorted(roles.layers(family, self.targets) & {*LAYERS} - {*(self.known.wraps or ())}):
            return f"{name} cannot wrap {layer} layers, which {family} has at {', '.join(self.targets)}"
        return None

    def library_options(self, cell: Cell) -> dict[str, Any]:
        """Give the options of the library's configuration; subclasses add some."""
        return self.options

    def configuration(self, cell: Cell, names: list[str]) -> peft.PeftConfig:
        """Make the library's configuration for these modules."""
        return configuration(self.peft_type, self.rank, self.library_options(cell), cell, names)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        """Find the modules to wrap.

        Raises InputError where a shape or a shared weight forbids it.
        """
        if self.untargeted:
            return {}
        find = modules_with if self.ties else unshared_modules_with
        layers = find(model, cell.backbone.family, self.targets)
        layers = {name: layer for name, layer in layers.items() if next(layer.parameters(), None) is not None}
        for name, layer in layers.items():
            if reason := self._misfit(layer):
                raise InputError(reason.format(name=name))
        return layers

    def _misfit(self, layer: nn.Module) -> str | None:
        """Give the reason why a layer cannot be wrapped, with {name} for its name."""
        kind = "Conv1D" if isinstance(layer, Conv1D) else type(layer).__name__
        if kind in LAYERS and kind not in (self.known.wraps or ()):
            return f"{self.peft_type} cannot wrap {kind} layers: {{name}}"
        if kind not in ("Linear", "Conv1D", "Conv2d"):
            return None
        outputs, inputs = sides_of(layer)
        if self.rank is not None and self.known.rank_within_sides and self.rank > min(outputs, inputs):
            return (
                f"method.rank={self.rank} is larger than the smaller side of {{name}}, {inputs} inputs x {outputs} "
                f"outputs: choose at most {min(outputs, inputs)}"
            )
        reason = self.misfit(outputs, inputs)
        return reason and f"{reason}: {{name}}, {inputs} inputs x {outputs} outputs"

    def misfit(self, outputs: int, inputs: int) -> str | None:
        """Give the reason why a matrix of these sides cannot be adapted."""
        return None

    def fit(self, config: peft.PeftConfig, network: Any, blocks: int) -> None:
        """Correct a configuration by the network's shape. Raises InputError."""
        refuse_crowded(config, network)

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Wrap exactly the resolved modules.

        Raises InputError where the library refuses, or wraps others.
        """
        names, family = list(self.layers(model, cell)), cell.backbone.family
        try:
            config = self.configuration(cell, names)
            self.fit(config, getattr(model, "config", None), len(blocks_of(model, family)))
            model = self.corrected(peft.get_peft_model(model, config))
        except (ValueError, NotImplementedError) as error:  # a shape that does not divide, a network it does not know
            raise InputError(f"{self.peft_type} does not fit this {family} network: {error}") from error
        others = set(getattr(model, "targeted_module_names", [])) ^ set(names)
        if others and not self.untargeted:
            shown = ", ".join(sorted(others)[:3])
            raise InputError(f"{self.peft_type} wrapped other modules than method.targets names: {shown}")
        return model

    def corrected(self, model: nn.Module) -> nn.Module:
        """Correct the library's network after attaching or restoring."""
        return count_positions(model) if prepends(self.peft_type) else model

    def merge(self, model: nn.Module) -> nn.Module:
        if not self.mergeable:
            return super().merge(model)
        bare = model.get_base_model()
        if isinstance(head := getattr(bare, "new_head", None), ModulesToSaveWrapper):
            bare.new_head = head.modules_to_save["default"]  # which the library cannot merge
        return model.merge_and_unload()

    def modules(self, model: nn.Module) -> list[str]:
        return super().modules(model) if self.untargeted else sorted(model.targeted_module_names)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write PEFT's format, with a local backbone's name instead of its path."""
        (config,) = model.peft_config.values()
        network = getattr(model.get_base_model(), "config", None)  # a network of timm has none
        source = config.base_model_name_or_path or getattr(network, "name_or_path", "")
        source = source or getattr(network, "model_type", "a network without a name")
        if Path(source).is_absolute() or Path(source).exists():
            source = Path(source).resolve().name
        config.base_model_name_or_path = source
        folder.mkdir(parents=True, exist_ok=True)
        # The library also writes an empty model card that quotes the path, so only other files are copied.
        with tempfile.TemporaryDirectory() as scratch:
            # save_embedding_layers="auto" would ask the hub for the vocabulary size.
            model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
            for file in Path(scratch).glob("adapter_*"):
                shutil.copyfile(file, folder / file.name)

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """Raises InputError where the adapter is of another type or lacks weights."""
        if not (folder / "adapter_config.json").is_file():
            raise InputError(f"{folder}: no adapter_config.json; give the folder that save= wrote")
        saved = peft.PeftConfig.from_pretrained(folder).peft_type.value
        if saved != self.peft_type:
            raise InputError(
                f"{folder} holds a {saved} adapter, not {self.peft_type}: restore it with the method that saved it"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                return self.corrected(peft.PeftModel.from_pretrained(model, folder, is_trainable=False))
            except (UserWarning, RuntimeError) as error:  # missing weights, or of another shape
                raise InputError(f"{folder} does not fit this backbone: {error}") from error


def sides_of(layer: nn.Module) -> tuple[int, int]:
    """Count the outputs and inputs of a layer's matrix; a kernel counts as inputs."""
    inputs = inputs_of(layer) // getattr(layer, "groups", 1) * math.prod(getattr(layer, "kernel_size", (1,)))
    return width_of(layer), inputs


def _methods_of(peft_type: str) -> str:
    names = [name for name in registry.names("method") if registry.node("method", name).get("peft_type") == peft_type]
    return f"; choose method={' or '.join(names)}" if names else ", and no method is of that type"
