"""Log-probability and entropy of every completion token, without a logits matrix of [tokens, vocabulary].

The model's body runs once and the M hidden states that predict a completion token are gathered. With z the
logits of a token, per token

    log p(y) = z_y - logsumexp(z)          H = - sum_v p_v log p_v          (nats)

Nothing here has a gradient: ``distill.packing.backward`` computes those while the logits are at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.packing.attention import packed_inputs
from distill.packing.linear import fast_linear
from distill.packing.output_layer import output_layer
from distill.packing.streaming import streamed_statistics

if TYPE_CHECKING:
    import torch

    from distill.packing.layout import PackedBatch


@dataclass(frozen=True, slots=True)
class TokenStatistics:
    """What the model says of M completion tokens, in the order of ``PackedBatch.targets``."""

    logprobs: torch.Tensor
    """(M,) float32 (float64 for a float64 model), natural logarithm; in a loss, with a gradient."""
    entropies: torch.Tensor
    """(M,) nats, same type; of the distribution that emitted the token; never with a gradient."""


def token_statistics(model: Any, batch: PackedBatch) -> TokenStatistics:
    """Run ``model`` over the batch and read the statistics of its M completion tokens; no gradient.

    Works on plain and LoRA-adapted causal language models, on rows and, after ``use_group_attention``, on
    packed groups.

    Raises:
        DistillError: the output layer is not a plain linear layer.
    """
    import torch

    layer = output_layer(model)
    with torch.no_grad(), fast_linear(layer.linear.weight.device):
        return TokenStatistics(*streamed_statistics(layer, predicting_states(model, batch), batch.targets))


def predicting_states(model: Any, batch: PackedBatch) -> torch.Tensor:
    """Run the model's body over the batch; the hidden state (M, H) that predicts each completion token."""
    # Padding stands on the right, where a causal model never looks from a real token. Without a mask
    # (and, for rows, without position ids, which would start a search for packed sequences) attention
    # runs its fused causal kernels.
    inputs = {"input_ids": batch.input_ids, "use_cache": False, "return_dict": True, **packed_inputs(batch)}
    hidden: torch.Tensor = model.get_decoder()(**inputs).last_hidden_state
    return hidden[batch.predictor_rows, batch.predictor_columns]


def check_head(model: Any) -> None:
    """Compare the logits used here with the model's own on a few tokens; call once per loaded model.

    Raises:
        DistillError: they differ, because the model does something to its logits that is not known here.
    """
    import torch

    was_training, device, layer = model.training, model.get_output_embeddings().weight.device, output_layer(model)
    model.eval()
    try:
        with torch.no_grad():
            input_ids = torch.arange(1, 5, device=device)[None]
            expected = model(input_ids=input_ids, use_cache=False).logits[0]
            hidden = model.get_decoder()(input_ids=input_ids, use_cache=False, return_dict=True).last_hidden_state[0]
            found = layer.logits(hidden, layer.weight_for(hidden))
    finally:
        model.train(was_training)
    # bfloat16 rounds a scaled or capped logit by 0.4 %; a forgotten scale or cap is off by far more
    if (found - expected).abs().max() > 0.02 * expected.abs().max():
        raise DistillError(
            f"the model of type '{model.config.model_type}' does not make its logits by output layer, scale and cap",
            hint="its token log-probabilities cannot be read from hidden states; choose another model",
        )
