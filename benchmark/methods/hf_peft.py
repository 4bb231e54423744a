"""Any method of the Hugging Face PEFT library, chosen in YAML by its type."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import peft
from peft.utils import ModulesToSaveWrapper

from benchmark.backbones import roles
from benchmark.backbones.blocks import blocks_of
from benchmark.errors import InputError, near
from benchmark.methods.peft_options import BLOCKS, CONFIGS, configuration, trains_heads, untargeted, wrong_options
from benchmark.methods.peft_prompts import fitted, mended
from benchmark.methods.peft_shapes import refuse_misfits
from benchmark.methods.peft_types import LEFT_OUT, UNREADABLE, WRAPS, Facts, facts
from benchmark.methods.places import chosen, wrapped
from benchmark.types import Category, Head, Kind, Method

if TYPE_CHECKING:
    from torch import nn

    from benchmark.cell import Cell

OWN = ("ADALORA", "BOFT", "CPT", "LILY", "SHADOW", "TRAINABLE_TOKENS")  # a file each: they need more than the library


@dataclass(frozen=True, kw_only=True)
class Peft(Method):
    """Whatever get_peft_model can build."""

    ties: ClassVar[bool] = False  # what else holds a wrapped weight changes with it

    peft_type: str
    targets: list[str]  # roles; none for prompts
    rank: int | None  # null: the type has none
    options: dict[str, Any]  # fields of the type's own configuration

    @property
    def category(self) -> Category:
        return self._facts.category

    @property
    def paper(self) -> str:
        return self._facts.paper

    @property
    def mergeable(self) -> bool:
        return self._facts.mergeable

    @property
    def weightless(self) -> bool:
        return self._facts.weightless

    @property
    def departs(self) -> str | None:
        return self._facts.departs

    @property
    def compiles(self) -> bool:
        return self._facts.compiles

    @property
    def recomputes(self) -> bool:
        return self._facts.recomputes

    @property
    def _facts(self) -> Facts:
        return facts(self.peft_type, self.options)

    @property
    def prepended(self) -> int:
        return self.options.get("num_virtual_tokens") or 0

    def conflict(self, cell: Cell) -> str | None:
        """Check every choice against the library's own configuration class, and shapes where attach() needs weights."""
        reason = self._misnamed() or roles.refusal(cell.backbone.family, self.targets)
        reason = reason or wrong_options(self.peft_type, self.rank, self.options) or self._misplaced(cell)
        if reason:
            return reason
        try:
            self.configuration(cell, [])
        except (TypeError, ValueError, ImportError) as error:  # the library's own reading of the options
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
        if name in LEFT_OUT:
            return f"{name} has no place here: {LEFT_OUT[name]}"
        if type(self) is Peft and name in OWN:
            return f"{name} needs more than the library does: choose method={name.lower()}"
        if untargeted(name) and self.targets:
            return f"{name} wraps no modules: set method.targets=[]"
        if not untargeted(name) and not self.targets:
            return f"{name} needs method.targets, for example [default]"
        return None

    def _misplaced(self, cell: Cell) -> str | None:
        family = cell.backbone.family
        if cell.kind != Kind.CAUSAL_LM and self.peft_type in BLOCKS:
            return f"{self.peft_type} runs beside a decoder alone, {family} is no such network"
        if cell.kind.new_head and untargeted(self.peft_type):  # needs embeddings or a cache of keys; would shift all
            return f"{self.peft_type} prepends to what a language model reads, {family} is no such network here"
        if cell.kind.new_head and not trains_heads(self.peft_type):
            return f"{self.peft_type} cannot train the new head of this task beside it"
        if (self.peft_type, family) in UNREADABLE:
            return f"{self.peft_type} cannot read {family}'s {UNREADABLE[self.peft_type, family]}"
        for layer in sorted(roles.layers(family, self.targets) & WRAPS.keys()):
            if self.peft_type not in WRAPS[layer].split():
                return f"{self.peft_type} cannot wrap {layer} layers, which {family} has at {', '.join(self.targets)}"
        return None

    def configuration(self, cell: Cell, names: list[str]) -> peft.PeftConfig:
        """Make the library's configuration for these modules."""
        return configuration(self.peft_type, self.rank, self.options, cell, names)

    def layers(self, model: nn.Module, cell: Cell) -> dict[str, nn.Module]:
        """Find what is to be wrapped. Raises InputError where its shape, or a weight that it shares, forbids it."""
        if self.peft_type in BLOCKS:
            return {name: model.get_submodule(name) for name in blocks_of(model, cell.backbone.family)}
        if untargeted(self.peft_type):
            return {}
        found = (chosen if self.ties else wrapped)(model, cell.backbone.family, self.targets)
        found = {name: layer for name, layer in found.items() if next(layer.parameters(), None) is not None}
        refuse_misfits(self.peft_type, self.rank, self.options, found)
        return found

    def attach(self, model: nn.Module, cell: Cell) -> nn.Module:
        """Wrap exactly the resolved modules; InputError where the library refuses, or wraps others."""
        names = list(self.layers(model, cell))
        try:
            config = self.configuration(cell, names)
            config = fitted(config, getattr(model, "config", None), len(blocks_of(model, cell.backbone.family)))
            model = mended(peft.get_peft_model(model, config))
        except (ValueError, NotImplementedError) as error:  # a shape that does not divide, a network it does not know
            raise InputError(f"{self.peft_type} does not fit this {cell.backbone.family} network: {error}") from error
        wrapped = set(getattr(model, "targeted_module_names", []))
        if wrapped != set(names) and not untargeted(self.peft_type):
            others = ", ".join(sorted(wrapped ^ set(names))[:3])
            raise InputError(f"{self.peft_type} wrapped other modules than method.targets names: {others}")
        return model

    def merge(self, model: nn.Module) -> nn.Module:
        if not self.mergeable:
            return super().merge(model)
        bare = model.get_base_model()
        if isinstance(head := getattr(bare, "new_head", None), ModulesToSaveWrapper):
            bare.new_head = head.modules_to_save["default"]  # the library would look for a weight in it
        return model.merge_and_unload()

    def modules(self, model: nn.Module) -> list[str]:
        return super().modules(model) if untargeted(self.peft_type) else sorted(model.targeted_module_names)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write PEFT's own format; a local backbone is called by its folder's name, its path is nobody's business."""
        (config,) = model.peft_config.values()
        network = getattr(model.get_base_model(), "config", None)  # a network of timm has none
        source = config.base_model_name_or_path or getattr(network, "name_or_path", "")
        source = source or getattr(network, "model_type", "a network without a name")
        if Path(source).is_absolute() or Path(source).exists():
            source = Path(source).resolve().name
        config.base_model_name_or_path = source
        folder.mkdir(parents=True, exist_ok=True)
        # The library also writes a model card, an empty template that quotes the path: it stays behind in the scratch.
        with tempfile.TemporaryDirectory() as scratch:
            # 'auto' would ask the hub for the backbone's vocabulary size.
            model.save_pretrained(scratch, safe_serialization=True, save_embedding_layers=False)
            for file in Path(scratch).glob("adapter_*"):
                shutil.copyfile(file, folder / file.name)

    def restore(self, model: nn.Module, folder: Path, cell: Cell) -> nn.Module:
        """InputError where the folder holds no adapter of this type, or not all of its weights."""
        if not (folder / "adapter_config.json").is_file():
            raise InputError(f"{folder}: no adapter_config.json; give the folder that save= wrote")
        saved = peft.PeftConfig.from_pretrained(folder).peft_type.value
        if saved != self.peft_type:
            raise InputError(
                f"{folder} holds a {saved} adapter, not {self.peft_type}: restore with the method it is of"
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            try:
                return mended(peft.PeftModel.from_pretrained(model, folder, is_trainable=False))
            except (UserWarning, RuntimeError) as error:  # what is missing, or of another shape
                raise InputError(f"{folder} does not fit this backbone: {error}") from error
