"""Linear layers in float32 on the CPU by the product that is fastest there, forward and backward.

PyTorch hands float32 products to MKL, which on AMD takes twice oneDNN's time. Nothing of a model is changed:
within ``fast_linear`` every linear layer that is called computes its product, and later its gradients, so.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any

from distill.packing.products import product

if TYPE_CHECKING:
    import torch


def fast_linear(device: torch.device) -> AbstractContextManager[Any]:
    """The context for passes of a model on this device, their backward pass included."""
    return _mode()() if device.type == "cpu" else nullcontext()


def checkpoint_contexts(device: torch.device) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """For ``torch.utils.checkpoint``: what it computes again is computed as it was."""
    return nullcontext(), fast_linear(device)


@cache
def _mode() -> type[Any]:
    """Made where torch is at hand."""
    import torch
    from torch.overrides import TorchFunctionMode

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, states: Any, weight: Any, bias: Any) -> Any:
            # a frozen weight's layer under adapters needs no states: they would be half of what is kept
            ctx.save_for_backward(states if ctx.needs_input_grad[1] else None, weight)
            ctx.shape = states.shape
            made = product(states.reshape(-1, states.shape[-1]), weight)
            if bias is not None:
                made += bias
            return made.view(*states.shape[:-1], len(weight))

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            states, weight = ctx.saved_tensors
            gradient = gradients[0].reshape(-1, len(weight))
            wanted = ctx.needs_input_grad
            of_states = product(gradient, weight.t()).view(ctx.shape) if wanted[0] else None
            of_weight = product(gradient.t(), states.reshape(-1, states.shape[-1]).t()) if wanted[1] else None
            return of_states, of_weight, gradient.sum(dim=0) if wanted[2] else None

    class FastLinear(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func is torch.nn.functional.linear and not kwargs:
                states, weight, bias = (*args, None)[:3]
                is_narrowed = torch.is_autocast_enabled("cpu")
                if states.dtype == weight.dtype == torch.float32 and weight.ndim == 2 and not is_narrowed:
                    return Linear.apply(states, weight, bias)  # type: ignore[no-untyped-call]
            return func(*args, **(kwargs or {}))

    return FastLinear
