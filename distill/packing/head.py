"""Log-probability and entropy of every completion token, without a logits matrix of [tokens, vocabulary].

The model's body runs once; the M hidden states that predict a completion token are gathered; logits
exist for one chunk of them at a time, in float32, and are computed again in the backward pass. With
z the logits of a token, per token

    log p(y) = z_y - logsumexp(z)          H = - sum_v p_v log p_v          (nats)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError

if TYPE_CHECKING:
    import torch

    from distill.packing.layout import PackedBatch

    Logits = Callable[[torch.Tensor], torch.Tensor]

# Float32 logits up to this size are kept for the backward pass in one piece: computing them twice
# would cost more than it saves. 64 MiB are 28,000 tokens of a 600-word vocabulary, 110 of 151,936.
KEPT_LOGITS_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """What the model says of M completion tokens, in the order of ``PackedBatch.targets``."""

    logprobs: torch.Tensor
    """(M,) float32 (float64 for a float64 model), natural logarithm; with gradient where gradients are on."""
    entropies: torch.Tensor
    """(M,) nats, same type; of the distribution that emitted the token; never with a gradient."""


def token_statistics(
    model: Any, batch: PackedBatch, *, chunk_tokens: int = 512, kept_bytes: int = KEPT_LOGITS_BYTES
) -> TokenStatistics:
    """Run ``model`` over the batch and read the statistics of its M completion tokens.

    Works with and without gradients, on plain and LoRA-adapted causal language models. Neither
    ``chunk_tokens`` nor ``kept_bytes`` changes a value, only memory and time.

    Args:
        chunk_tokens: tokens whose logits exist at the same time.
        kept_bytes: when the float32 logits of all M tokens need no more than this, they are made at
            once and kept for the backward pass.

    Raises:
        DistillError: the output layer is not a plain linear layer.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    logits = _logits_function(model)
    # Padding stands on the right, where a causal model never looks from a real token. Without a mask
    # (and without position ids, which would start a search for packed sequences) attention runs its
    # fused causal kernels.
    hidden = model.get_decoder()(input_ids=batch.input_ids, use_cache=False, return_dict=True).last_hidden_state
    hidden = hidden[batch.predictor_rows, batch.predictor_columns]  # (M, H)
    num_tokens, vocabulary = len(hidden), model.get_output_embeddings().weight.shape[0]
    if num_tokens * vocabulary * 4 <= kept_bytes:
        return TokenStatistics(*_chunk_statistics(logits, hidden, batch.targets))
    parts = []
    for start in range(0, num_tokens, chunk_tokens):
        chunk = hidden[start : start + chunk_tokens], batch.targets[start : start + chunk_tokens]
        if torch.is_grad_enabled():
            parts.append(checkpoint(_chunk_statistics, logits, *chunk, use_reentrant=False, preserve_rng_state=False))
        else:
            parts.append(_chunk_statistics(logits, *chunk))
    return TokenStatistics(*(torch.cat(values) for values in zip(*parts, strict=True)))


def check_head(model: Any) -> None:
    """Compare the logits used here with the model's own on a few tokens; call once per loaded model.

    Raises:
        DistillError: they differ, because the model does something to its logits that is not known here.
    """
    import torch

    was_training, device = model.training, model.get_output_embeddings().weight.device
    model.eval()
    try:
        with torch.no_grad():
            input_ids = torch.arange(1, 5, device=device)[None]
            expected = model(input_ids=input_ids, use_cache=False).logits
            hidden = model.get_decoder()(input_ids=input_ids, use_cache=False, return_dict=True).last_hidden_state
            found = _logits_function(model)(hidden)
    finally:
        model.train(was_training)
    # bfloat16 rounds a scaled or capped logit by 0.4 %; a forgotten scale or cap is off by far more
    if (found - expected).abs().max() > 0.02 * expected.abs().max():
        raise DistillError(
            f"the model of type '{model.config.model_type}' does not make its logits by output layer, scale and cap",
            hint="its token log-probabilities cannot be read from hidden states; choose another model",
        )


def _chunk_statistics(logits: Logits, hidden: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies (M,) of ``targets`` (M,) given ``hidden`` (M, H)."""
    import torch

    all_logprobs = torch.log_softmax(logits(hidden), dim=-1)  # (M, V)
    logprobs = -torch.nn.functional.nll_loss(all_logprobs, targets, reduction="none")
    with torch.no_grad():
        # the same as logsumexp(z) - sum p z, without its cancellation: never below zero
        entropies = -torch.linalg.vecdot(all_logprobs.exp(), all_logprobs)
    return logprobs, entropies


def _logits_function(model: Any) -> Logits:
    """Hidden states (M, H) -> logits (M, V) as the model's own forward makes them, in float32 at least."""
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
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = output(hidden)
        z = z.to(torch.promote_types(z.dtype, torch.float32))
        z = z if scale == 1.0 else z * scale
        return cap * torch.tanh(z / cap) if cap else z

    return logits
