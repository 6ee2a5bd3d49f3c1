"""Products of matrices, by the fastest routine at hand, summed in float32 at least."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """``left`` (M, K) times ``right`` (N, K) transposed: (M, N) in float32, or float64 where a side is float64.

    Sides in half precision are multiplied as they are on CUDA, where the installed PyTorch sums such products
    in float32, and widened elsewhere. No gradient.
    """
    import torch

    dtype = torch.promote_types(torch.promote_types(left.dtype, right.dtype), torch.float32)
    if left.is_cuda and left.dtype == right.dtype != dtype and _sums_widely():
        return torch.mm(left, right.t(), out_dtype=dtype)
    left, right = left.to(dtype), right.to(dtype)
    onednn = _onednn() if left.device.type == "cpu" and dtype == torch.float32 and left.numel() else None
    if onednn is not None:
        found: torch.Tensor = onednn(left, right, None, "none", [], "")
        return found
    return left @ right.t()


@cache
def _onednn() -> Any:
    """OneDNN's product of dense float32 tensors, where PyTorch has it: on AMD twice as fast as MKL's."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@cache
def _sums_widely() -> bool:
    import torch

    return hasattr(torch.ops.aten.mm, "dtype")  # since PyTorch 2.8
