"""A model's output layer: how its hidden states become logits, all at once or for a part of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.packing.products import product

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class OutputLayer:
    """A plain linear layer over the vocabulary, and what the model does to its logits afterwards."""

    linear: torch.nn.Linear
    scale: float = 1.0
    cap: float | None = None
    """Logits z become cap * tanh(z / cap)."""

    @property
    def vocabulary(self) -> int:
        """How many words it knows."""
        return int(self.linear.weight.shape[0])

    @property
    def dtype(self) -> torch.dtype:
        """What logits are read in: float32, or what is wider."""
        import torch

        return torch.promote_types(self.linear.weight.dtype, torch.float32)

    @property
    def is_trained(self) -> bool:
        """True when a weight of it wants a gradient."""
        return any(weight.requires_grad for weight in self.linear.parameters())

    def weight_for(self, hidden: torch.Tensor) -> torch.Tensor:
        """Its weights (V, H) without gradient; in half precision where ``hidden`` is on CUDA under autocast."""
        import torch

        weight: torch.Tensor = self.linear.weight.detach()
        if hasattr(weight, "full_tensor"):  # spread over processes, which all come here
            weight = weight.full_tensor()
        if hidden.is_cuda and torch.is_autocast_enabled("cuda"):
            return weight.to(torch.get_autocast_dtype("cuda"))
        return weight

    def logits(self, hidden: torch.Tensor, weight: torch.Tensor, start: int = 0) -> torch.Tensor:
        """Hidden states (M, H) -> logits (M, W) of the W words from ``start`` on, whose weights are given; no gradient.

        A half-precision layer rounds its logits to 8 or 11 bits; at 151,936 words that moves an entropy by
        up to 0.06 nats. Here only the weights are rounded.
        """
        z = product(hidden.to(weight.dtype) if hidden.is_cuda else hidden, weight)
        if self.linear.bias is not None:
            z += self.linear.bias.detach()[start : start + len(weight)]
        if self.scale != 1.0:
            z *= self.scale
        if self.cap:
            z.div_(self.cap).tanh_().mul_(self.cap)
        return z


def output_layer(model: Any) -> OutputLayer:
    """The output layer of a causal language model.

    Raises:
        DistillError: it is not a plain linear layer.
    """
    import torch

    output, config = model.get_output_embeddings(), model.config.get_text_config()
    if type(output) is not torch.nn.Linear:
        found = type(output).__name__ if output is not None else "none"
        raise DistillError(
            f"the model of type '{config.model_type}' needs a plain linear output layer, found '{found}'",
            hint="leave the output layer (lm_head) out of lora.target_modules, and do not quantise it",
        )
    scale = getattr(config, "logit_scale", None) or 1.0  # Cohere
    if config.model_type.startswith("granite"):
        scale /= config.logits_scaling
    return OutputLayer(output, scale, getattr(config, "final_logit_softcapping", None))  # Gemma's cap
