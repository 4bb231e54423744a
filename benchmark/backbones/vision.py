"""Networks of timm: from the hub, a local folder in timm's layout, or embedded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmark.backbones import roles
from benchmark.backbones.checkpoint import Stored
from benchmark.backbones.headed import Headed
from benchmark.backbones.hub import is_offline
from benchmark.backbones.weights import check_whole, collect_left
from benchmark.errors import InputError
from benchmark.types import Budget, Head, Input, Kind

NEEDED = ("config.json", "*.safetensors")  # files of a hub id; pickles may hold a program and are not downloaded
PREPARED = ("input_size", "interpolation", "mean", "std")  # what pretraining did with images
LARGEST = 4096  # pixels a side: more than any network reads


class VisionNetwork(Headed):
    """Network of `pixels`, shape (batch, channels, height, width)."""

    def __init__(self, encoder: nn.Module, head: Head) -> None:
        super().__init__(encoder, encoder.num_features, head)

    def states(self, pixels: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.encoder(pixels), None


@dataclass(frozen=True, eq=False)
class ImageProcessor:
    """Preparation of images as in pretraining: size, channels, mean, deviation."""

    head: Head
    height: int
    width: int
    channels: int  # 1: colour becomes its luminance (ITU-R 601); 3: grey is repeated
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str

    def fit(self, image: np.ndarray) -> np.ndarray:
        """Resize an 8-bit image without cropping, and convert its channels.

        Returns shape (height, width), or (height, width, 3).
        """
        picture = Image.fromarray(image).convert("RGB" if self.channels == 3 else "L")
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), Image.Resampling[self.interpolation.upper()])
        return np.asarray(picture)

    def batch(self, images: Sequence[np.ndarray]) -> dict[str, torch.Tensor]:
        """Stack fitted images, and normalise them as in pretraining."""
        pixels = torch.from_numpy(np.stack(images)).float().div_(255)
        pixels = pixels.unsqueeze(1) if self.channels == 1 else pixels.permute(0, 3, 1, 2)
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (self.mean, self.std))
        return {"pixels": ((pixels - mean) / std).contiguous()}


@dataclass(frozen=True, kw_only=True)
class VisionEncoder(Stored):
    """Network of timm without its classifier; a name without a slash is timm's."""

    kinds: ClassVar[tuple[Kind, ...]] = (Kind.CLASSIFY, Kind.MULTILABEL, Kind.REGRESS)
    reads: ClassVar[Input] = Input.IMAGE

    def __post_init__(self) -> None:
        if "/" not in self.checkpoint and not self.found():
            object.__setattr__(self, "checkpoint", f"timm/{self.checkpoint}")
        super().__post_init__()

    @cached_property
    def family(self) -> str:
        """Name of timm's module of the architecture. Raises InputError."""
        from timm.models import is_model, model_entrypoint

        if not is_model(self._architecture):
            raise InputError(
                f"backbone.checkpoint: timm has no architecture {self._architecture!r} (timm.list_models())"
            )
        family = model_entrypoint(self._architecture).__module__.rpartition(".")[2]
        if family not in roles.FAMILIES:
            known = "vision_transformer, swin_transformer, convnext, resnet, efficientnet"
            raise InputError(f"backbone.checkpoint: {self._architecture} is of timm's {family}, one of {known} wanted")
        return family

    def load(self, budget: Budget, head: Head) -> tuple[VisionNetwork, ImageProcessor]:
        """Load the network, and prepare images as in pretraining."""
        network = self.build(budget, head)
        return network, self._processor(network.encoder, head)

    def build(self, budget: Budget, head: Head) -> VisionNetwork:
        """Load weights in fp32 under a new head, with every dropout set by the budget."""
        import timm

        pretrained = self.weights == "pretrained"
        if pretrained:
            check_prepared(self.checkpoint, self._read().get("pretrained_cfg"))
        # for random weights of an architecture that timm knows by name, the hub is not needed
        name = f"local-dir:{self._folder()}" if pretrained or not self._named else self._architecture
        # timm initialises the last gain of each ResNet block to zero; frozen at zero, no adapter would have an effect
        options = {"zero_init_last": False} if self.family == "resnet" and not pretrained else {}
        with collect_left() as loading:
            encoder = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
        if pretrained:
            check_whole(self.checkpoint, encoder, loading[-1])
        set_dropouts(encoder, budget.dropout)
        return VisionNetwork(encoder.float(), head)

    @property
    def _named(self) -> bool:
        return not self.local and self.checkpoint.startswith("timm/")

    @cached_property
    def _architecture(self) -> str:
        """Name of the architecture, from timm's name or the checkpoint's configuration."""
        if self._named:
            return self.checkpoint.removeprefix("timm/").partition(".")[0]
        config = self._read()
        if not isinstance(config.get("architecture"), str):
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: config.json names no architecture, as timm's layout does"
            )
        return config["architecture"]

    def _read(self) -> dict[str, Any]:
        return replace(self, checkpoint=str(self._folder())).read_config()

    @property
    def side(self) -> int:
        from timm.models import get_pretrained_cfg

        config = None if self._named else self._read()
        size = (config or {}).get("pretrained_cfg", {}).get("input_size")
        name = self.checkpoint.removeprefix("timm/") if self._named else self._architecture
        return max((size or get_pretrained_cfg(name).input_size)[1:])

    def _folder(self) -> Path:
        """Find the checkpoint's folder, or download it.

        Raises InputError where a file is missing.
        """
        folder = Path(self.checkpoint) if self.local else self._fetched()
        needed = NEEDED if self.weights == "pretrained" else NEEDED[:1]
        for pattern in needed:
            if not any(folder.glob(pattern)):
                here = ", ".join(sorted(f.name for f in folder.iterdir())[:6]) or "nothing"
                raise InputError(
                    f"backbone.checkpoint: no {pattern.lstrip('*.')} file in {self.checkpoint!r} (found: {here}); "
                    "timm's layout is config.json and model.safetensors"
                )
        return folder

    def _fetched(self) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        options = {"revision": self.revision, "allow_patterns": list(NEEDED), "local_files_only": is_offline()}
        try:
            return Path(snapshot_download(self.checkpoint, **options))
        except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError) as error:
            first = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r} cannot be downloaded: {first} - check the network, or give "
                "a folder: backbone.checkpoint=DIR with config.json and model.safetensors"
            ) from error

    def _processor(self, encoder: nn.Module, head: Head) -> ImageProcessor:
        config: dict[str, Any] = encoder.pretrained_cfg
        channels, height, width = config["input_size"]
        stem = next(m for m in encoder.modules() if isinstance(m, nn.Conv2d))
        if stem.in_channels not in (1, 3) or stem.in_channels != channels:
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r} reads {stem.in_channels} channels, its configuration says "
                f"{channels}: 1 or 3 wanted (pretrained_cfg.input_size, model_args.in_chans)"
            )
        mean, std = (tuple(float(value) for value in config[name]) for name in ("mean", "std"))
        if not (1 <= height <= LARGEST and 1 <= width <= LARGEST):
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: its configuration reads images of {height} x {width} "
                f"pixels, 1 to {LARGEST} wanted"
            )
        if not (
            {len(mean), len(std)} <= {1, channels} and all(0 <= m <= 1 for m in mean) and 0 < min(std) <= max(std) <= 1
        ):
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: its configuration has mean {mean} and std {std}: a number "
                "from 0 to 1 for each channel wanted, since black is 0 and white is 1"
            )
        if config["interpolation"].upper() not in Image.Resampling.__members__:
            known = ", ".join(Image.Resampling.__members__).lower()
            raise InputError(
                f"backbone.checkpoint={self.checkpoint!r}: its configuration has interpolation "
                f"{config['interpolation']!r}, one of {known} wanted"
            )
        return ImageProcessor(head, height, width, channels, mean, std, config["interpolation"])


def check_prepared(checkpoint: str, config: Any) -> None:
    """Refuse weights that do not say how pretraining prepared images, for which timm has defaults.

    Raises InputError.
    """
    lacking = [key for key in PREPARED if not isinstance(config, dict) or config.get(key) is None]
    if lacking:
        raise InputError(
            f"backbone.checkpoint={checkpoint!r}: config.json lacks pretrained_cfg.{lacking[0]}, without which images "
            "are not prepared as in pretraining: take this file from the checkpoint that the weights are of"
        )


def set_dropouts(network: nn.Module, rate: float) -> None:
    """Set every dropout rate, and turn off drop path and drop block."""
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name, value in (("drop_rate", rate), ("drop_prob", 0.0)):  # timm's functional ones
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, value)
