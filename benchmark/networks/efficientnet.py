"""EfficientNets in the names of the package efficientnet_pytorch, for timm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import InputError
from benchmark.networks.network import Converted, Network

ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}  # nothing expands
OTHERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


@dataclass(frozen=True, kw_only=True)
class EfficientNet(Network):
    """State of an EfficientNet without squeeze-and-excitation, in a file of torch."""

    architecture: str  # of timm
    stages: list[int]  # number of blocks in each
    size: int  # pixels a side
    mean: list[float]  # with which pretraining normalised
    std: list[float]

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Rename every tensor. Raises InputError for a name that the package does not have."""
        import torch

        (file,) = files.values()
        state = torch.load(file, map_location="cpu", weights_only=True)
        places = [f"{stage}.{number}" for stage, count in enumerate(self.stages) for number in range(count)]
        tensors = {_renamed(name, places): tensor for name, tensor in state.items()}
        classes = len(tensors["classifier.bias"])
        config = {
            "architecture": self.architecture,
            "num_classes": classes,
            "num_features": tensors["classifier.weight"].shape[1],
            "pretrained_cfg": {
                "input_size": [3, self.size, self.size], "interpolation": "bicubic", "mean": self.mean, "std": self.std,
                "num_classes": classes, "first_conv": "conv_stem", "classifier": "classifier",
            },
        }  # fmt: skip
        return Converted(config=config, tensors=tensors)


def _renamed(name: str, places: list[str]) -> str:
    module, kind = name.rsplit(".", 1)
    try:
        if not module.startswith("_blocks."):
            return f"{ENDS[module]}.{kind}"
        _, number, part = module.split(".")
        place = places[int(number)]
        return f"blocks.{place}.{(OTHERS if int(number) else FIRST)[part]}.{kind}"
    except (KeyError, IndexError) as error:
        raise InputError(f"the weights hold {name!r}, which is no part of this EfficientNet") from error
