"""DINOv2 trunks inside an ONNX graph, for timm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.errors import InputError
from benchmark.networks.network import Converted, Network

if TYPE_CHECKING:
    import numpy as np

PREFIX = "backbone."
ENDS = {"embeddings.patch_embeddings.projection": "patch_embed.proj", "layernorm": "norm"}
BLOCK = {
    "norm1": "norm1",
    "attention.output.dense": "attn.proj",
    "norm2": "norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
SCALES = {"layer_scale1.lambda1": "ls1.gamma", "layer_scale2.lambda1": "ls2.gamma"}
FUSED = [f"attention.attention.{part}" for part in ("query", "key", "value")]  # one projection in timm


@dataclass(frozen=True, kw_only=True)
class Dinov2Onnx(Network):
    """Graph whose trunk is called `backbone`; what follows it is left out."""

    architecture: str  # of timm
    size: int  # pixels a side of the images that the network shall read
    mean: list[float]  # with which pretraining normalised
    std: list[float]

    def convert(self, files: Mapping[str, Path]) -> Converted:
        """Name the weights of the trunk as timm does."""
        import onnx

        (file,) = files.values()
        found = dict(trunk(onnx.load(file).graph))
        tensors = {name: found.pop(name) for name in ("cls_token", "pos_embed")}
        for number in range(1 + max(int(name.split(".")[2]) for name in found if name.startswith("encoder.layer."))):
            tensors |= _block(found, f"encoder.layer.{number}.", f"blocks.{number}.")
        tensors |= {f"{ENDS[n.rpartition('.')[0]]}.{n.rpartition('.')[2]}": t for n, t in found.items()}
        config = {
            "architecture": self.architecture,
            "num_classes": 0,
            "num_features": tensors["norm.bias"].shape[0],
            "model_args": {"img_size": self.size},
            "pretrained_cfg": {
                "input_size": [3, self.size, self.size], "interpolation": "bicubic", "mean": self.mean, "std": self.std,
                "num_classes": 0, "first_conv": "patch_embed.proj", "classifier": "head",
            },
        }  # fmt: skip
        import torch

        return Converted(config=config, tensors={name: torch.from_numpy(array) for name, array in tensors.items()})


def trunk(graph: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the trunk's tensors by name.

    The exporter renamed two kinds: the matrix of a linear layer, which is multiplied before a bias is added, and the
    positions, which follow the class token. Raises InputError where the positions are not found.
    """
    import numpy as np
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor).copy() for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    for name, array in arrays.items():
        if name.startswith(PREFIX):
            yield name.removeprefix(PREFIX).replace("embeddings.cls_token", "cls_token"), array
    for node in graph.node:
        biases = [name for name in node.input if name.startswith(PREFIX) and name.endswith(".bias")]
        sources = [makers[name] for name in node.input if name in makers and makers[name].op_type == "MatMul"]
        if node.op_type == "Add" and biases and sources:
            (matrix,) = (arrays[name] for name in sources[0].input if name in arrays)
            yield biases[0].removeprefix(PREFIX).replace(".bias", ".weight"), np.ascontiguousarray(matrix.T)
    width = arrays[f"{PREFIX}embeddings.cls_token"].shape[-1]
    places = [array for name, array in arrays.items() if name.startswith("onnx::") and array.shape[::2] == (1, width)]
    first, others = sorted(places, key=lambda array: array.shape[1]) if len(places) == 2 else ([], [])
    if not len(others):
        raise InputError(f"the ONNX graph holds {len(places)} tables of positions, 2 wanted")
    yield "pos_embed", np.concatenate([first, others], 1)


def _block(found: dict[str, Any], source: str, target: str) -> dict[str, Any]:
    """Take the tensors of one block, with queries, keys and values as one projection."""
    import numpy as np

    taken = {}
    for kind in ("weight", "bias"):
        taken[f"{target}attn.qkv.{kind}"] = np.concatenate([found.pop(f"{source}{part}.{kind}") for part in FUSED])
        taken |= {f"{target}{new}.{kind}": found.pop(f"{source}{old}.{kind}") for old, new in BLOCK.items()}
    return taken | {f"{target}{new}": found.pop(f"{source}{old}") for old, new in SCALES.items()}
