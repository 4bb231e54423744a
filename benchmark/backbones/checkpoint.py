"""Hugging Face checkpoints: from the hub, a local folder, a package index, or embedded."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchmark.backbones.hub import is_offline, is_pinned
from benchmark.backbones.weights import check_config, check_size, check_whole, count_stored
from benchmark.cache import fetched
from benchmark.errors import InputError, path_of
from benchmark.types import Backbone, Budget, Head

if TYPE_CHECKING:
    from torch import nn

HERE = Path(__file__).parent
FETCHED = "fetched/"  # a folder that python -m benchmark.networks makes
DROPOUTS = (  # names of dropout rates in configurations of architectures
    "dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop", "attn_pdrop",
    "dropout_rate", "classifier_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob",
)  # fmt: skip
LAYER_DROPS = ("layerdrop", "encoder_layerdrop", "decoder_layerdrop")
VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "tekken.json")  # a tokenizer needs one of these


@dataclass(frozen=True, kw_only=True)
class Stored(Backbone):
    """Backbone with weights on the hub, in a local folder, or embedded."""

    checkpoint: str  # hub id, local folder, embedded/<name>, or fetched/<name> of a package index
    revision: str | None  # of the hub; null: the newest, which the record lists as unpinned
    weights: str  # pretrained | random: the architecture alone

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights not in ("pretrained", "random"):
            raise InputError(f"backbone.weights: {self.weights!r} given, pretrained or random wanted")
        if folder := self.found():  # from here on identified by content
            object.__setattr__(self, "checkpoint", str(folder))
        elif self.checkpoint.startswith(FETCHED):
            name = self.checkpoint.removeprefix(FETCHED)
            raise InputError(f"backbone.checkpoint: {name} is not here yet: python -m benchmark.networks get {name}")
        elif self.checkpoint.startswith((".", "/", "~", "embedded/")) or self.checkpoint.count("/") > 1:
            raise InputError(f"backbone.checkpoint: no folder {self.checkpoint!r}")

    def found(self) -> Path | None:
        """Find the folder of a local checkpoint."""
        if self.checkpoint.startswith(FETCHED):
            places = (fetched(self.checkpoint.removeprefix(FETCHED)),)
        else:
            places = (HERE / self.checkpoint, path_of(self.checkpoint).absolute())
        return next((candidate for candidate in places if candidate.is_dir()), None)

    @property
    def local(self) -> bool:
        """True if the checkpoint is a folder on this machine."""
        return Path(self.checkpoint).is_dir()

    @cached_property
    def stored(self) -> tuple[int, int] | None:
        """Number of tensors and of values in a folder's weights, or None."""
        return count_stored(Path(self.checkpoint)) if self.local and self.weights == "pretrained" else None

    def read_config(self) -> dict[str, Any]:
        """Read the folder's config.json. Raises InputError where it is not valid."""
        file = Path(self.checkpoint) / "config.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"backbone.checkpoint: {str(file)!r} cannot be read as JSON ({error})") from error
        if not isinstance(content, dict):
            raise InputError(f"backbone.checkpoint: {str(file)!r} is no JSON object")
        check_config(file, content, self.stored and self.stored[0])
        return content

    def skeleton(self, budget: Budget, head: Head) -> nn.Module:
        import torch

        with torch.device("meta"):
            network = replace(self, weights="random").load(budget, head)[0]
        check_size(self.checkpoint, network, self.stored and self.stored[1])
        return network

    def outline(self, budget: Budget, head: Head) -> nn.Module:
        import torch

        with torch.device("meta"):
            return replace(self, weights="random").build(budget, head)

    @abstractmethod
    def build(self, budget: Budget, head: Head) -> nn.Module:
        """Load the network without a processor, or draw its weights at random."""

    def unpinned(self) -> list[str]:
        return [] if self.local or is_pinned(self.revision) else [self.checkpoint]

    def pretraining_loss(self, model: nn.Module) -> float | None:
        from benchmark.backbones.headed import pretraining_loss

        return pretraining_loss(model, Path(self.checkpoint)) if self.weights == "pretrained" else None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Stored):
    """Network in the Hugging Face layout: config, safetensors, tokenizer or extractor."""

    beside: ClassVar[tuple[str, tuple[str, ...]]] = (
        "tokenizer",
        VOCABULARIES,
    )  # preprocessor that a folder must hold, and its files

    def config(self) -> Any:
        """Read the architecture's configuration. Raises InputError."""
        from transformers import AutoConfig

        if self.local:
            self._check_folder()
        return self._reach(AutoConfig.from_pretrained)

    def configured(self, budget: Budget) -> Any:
        """Read the configuration, with the budget's dropout and without layer drop."""
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()  # a run shows another one
        config = self.config()
        for name, rate in {**dict.fromkeys(DROPOUTS, budget.dropout), **dict.fromkeys(LAYER_DROPS, 0.0)}.items():
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
        return config

    def network(self, auto: Any, config: Any, **options: Any) -> nn.Module:
        """Load weights in fp32, or draw them at random; options go to the constructor."""
        import torch

        if self.weights == "random":
            maker = getattr(auto, "from_config", None) or auto._from_config
            return maker(config, dtype=torch.float32, **options)
        options |= {"config": config, "dtype": torch.float32, "use_safetensors": True}
        options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # check_whole refuses them by name
        logging.disable(logging.WARNING)  # the library's report of the same, which has many lines
        try:
            network, loading = self._reach(auto.from_pretrained, **options)
        finally:
            logging.disable(logging.NOTSET)
        check_whole(self.checkpoint, network, loading)
        return network

    def _check_folder(self) -> None:
        file = Path(self.checkpoint) / "config.json"
        if not file.is_file():
            raise InputError(self._lacking("config.json"))
        if "model_type" not in self.read_config():
            raise InputError(f"backbone.checkpoint: {str(file)!r} names no model_type, as a Hugging Face one does")
        if self.weights == "pretrained" and not any(file.parent.glob("*.safetensors")):  # pickles may hold a program
            raise InputError(self._lacking("safetensors file"))

    def check_processor(self) -> None:
        """Refuse a folder without the files of its processor. Raises InputError."""
        if not self.local:
            return
        what, names = self.beside
        # without these files the library makes an empty processor
        if not any(path for name in names for path in Path(self.checkpoint).glob(name)):
            raise InputError(self._lacking(what))

    def _lacking(self, what: str) -> str:
        here = ", ".join(sorted(f.name for f in Path(self.checkpoint).iterdir())[:6]) or "nothing"
        return (
            f"backbone.checkpoint: no {what} in {self.checkpoint!r} (found: {here}); a Hugging Face checkpoint folder "
            f"has config.json, model.safetensors and {self.beside[1][0]}"
        )

    def _reach(self, load: Any, **options: Any) -> Any:
        options |= {"local_files_only": self.local or is_offline()} | (
            {} if self.local else {"revision": self.revision}
        )
        try:
            return load(self.checkpoint, trust_remote_code=False, **options)
        except Exception as error:  # a damaged file can raise anything
            lines = str(error).strip().splitlines() or [type(error).__name__]
            first = " ".join(line.strip() for line in lines[: 1 + lines[0].endswith(":")])
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r} cannot be loaded: {first} - give a folder instead: "
                f"backbone.checkpoint=DIR with config.json, model.safetensors and the {self.beside[0]}'s files"
            ) from error
