"""Tensors that are alive on torch's meta device, which has shapes and no values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import flop_registry

LOWERED = frozenset(  # computed in bf16 under autocast
    (
        *("linear", "matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "addmm", "addbmm", "baddbmm", "einsum"),
        *("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "scaled_dot_product_attention"),
    )
)
RAISED = frozenset(  # computed in fp32 under autocast, as on CUDA
    (
        *("softmax", "log_softmax", "layer_norm", "group_norm", "rms_norm", "cross_entropy_loss", "nll_loss"),
        *("mse_loss", "pow", "rsqrt", "exp", "log", "sum", "prod", "cumsum", "norm", "softplus", "ctc_loss"),
    )
)


class Ledger(TorchDispatchMode):
    """Count of the bytes of living tensors, of their peak, and of FLOPs.

    What is known from before the block does not count.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = self.flops = 0
        self.seen: dict[int, Any] = {}
        for tensor in known:
            storage = tensor.untyped_storage()
            self.seen[id(storage)] = storage

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return _value(args[0])
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func._overloadpacket is torch.ops.aten.any:
            out.of_any = True
        if formula := flop_registry.get(func._overloadpacket):
            self.flops += formula(*args, **kwargs, out_val=out)
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return out

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self.seen:
            return
        self.live += size
        self.peak = max(self.peak, self.live)
        self.seen[key] = weakref.ref(storage, lambda _: self._forget(key, size))

    def _forget(self, key: int, size: int) -> None:
        del self.seen[key]
        self.live -= size


def _value(tensor: torch.Tensor) -> bool | int:
    """Answer item(): every mask is full, since a sample has no padding; nothing is infinite; numbers are one."""
    return not getattr(tensor, "of_any", False) if tensor.dtype == torch.bool else 1


class Kernels(TorchFunctionMode):
    """Choices that torch makes by device, and not on the meta device: fused attention, and autocast to bf16."""

    def __init__(self, precision: str, device: str) -> None:
        super().__init__()
        self.casts, self.device = precision == "bf16", device

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if self.casts and name in LOWERED | RAISED:
            wanted = torch.bfloat16 if name in LOWERED else torch.float32

            def cast(tensor: torch.Tensor) -> torch.Tensor:
                return tensor.to(wanted) if tensor.is_floating_point() else tensor

            args, kwargs = tree_map_only(torch.Tensor, cast, (args, kwargs))
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        return func(*args, **kwargs)

    def _attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        """Attend by the fused kernel, unless this device has none for such inputs."""
        learned = attn_mask is not None and attn_mask.requires_grad
        even = query.shape[-1] == value.shape[-1] and query.shape[1] == key.shape[1]
        if learned or not even or query.ndim != 4 or (self.device == "cpu" and dropout_p):
            options = {"scale": scale, "enable_gqa": enable_gqa}
            return F.scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **options)
        fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return fused(query, key, value, 0.0, is_causal, attn_mask=attn_mask, scale=scale)[0]
