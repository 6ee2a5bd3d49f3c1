"""The next token of many rows at once: draw it, and measure the distribution that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def completion_uniforms(seeds: Sequence[int], num_tokens: int) -> torch.Tensor:
    """Uniform numbers (N, num_tokens) in [0, 1), float64: row n is all the chance that seed n will ever need.

    Drawn up front and on the CPU, they do not depend on the device, nor on when a completion is
    decoded, nor beside which others. A longer row begins with the same numbers.
    """
    import torch

    generator = torch.Generator()
    rows = [torch.rand(num_tokens, dtype=torch.float64, generator=generator.manual_seed(seed)) for seed in seeds]
    return torch.stack(rows)


def draw_tokens(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """Draw one token per row (B,) from float32 ``logits`` (B, V) with one uniform number each (B,).

    The distribution function is inverted: the token drawn is the first whose cumulative probability
    exceeds the uniform number. Unlike adding Gumbel noise to every logit this takes one number per
    token, and so a row's draw is its own.

    >>> import torch
    >>> logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    >>> [int(draw_tokens(logits, torch.tensor([u]), 1.0, 1.0)) for u in (0.0, 0.49, 0.51, 0.79, 0.81, 0.99)]
    [0, 0, 1, 1, 2, 2]
    >>> [int(draw_tokens(logits, torch.tensor([u]), 1.0, 0.6)) for u in (0.0, 0.62, 0.63, 0.99)]
    [0, 0, 1, 1]
    """
    import torch

    if temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = torch.softmax(logits / temperature, dim=-1)
    if top_p < 1:
        probabilities = probabilities * nucleus(probabilities, top_p)
    # a float32 sum over 150,000 tokens would move the boundaries between the last ones; MPS has nothing wider
    wide = torch.float32 if logits.device.type == "mps" else torch.float64
    cumulative = probabilities.cumsum(dim=-1, dtype=wide)
    below_one = uniforms.to(wide).clamp(max=1 - torch.finfo(wide).eps / 2)  # the narrower type may round up
    thresholds = below_one[:, None] * cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, thresholds, right=True).squeeze(-1)
    return drawn.clamp_(max=logits.shape[-1] - 1)  # NaN is beyond all; whoever measures the token reports it


def nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """True (B, V) on the smallest set of likeliest tokens whose probabilities reach ``top_p``; never empty.

    >>> import torch
    >>> nucleus(torch.tensor([[0.2, 0.5, 0.3]]), 0.6).tolist(), nucleus(torch.tensor([[0.2, 0.5, 0.3]]), 0.1).tolist()
    ([[False, True, True]], [[False, True, False]])
    """
    import torch

    ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(dim=-1) - ordered  # what the likelier tokens hold together
    kept = before < top_p
    kept[:, 0] = True
    return torch.zeros_like(kept).scatter(-1, order, kept)


def raw_statistics(
    logits: torch.Tensor, tokens: torch.Tensor, *, with_entropies: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Log-probability of each token (B,) and entropy (B,) of its distribution, both at temperature 1 and in nats.

        H = - sum_v p_v log p_v       over the whole vocabulary, whatever temperature and top-p draw from

    ``logits`` (B, V) are float32. A token that the model rules out (logit minus infinity) adds nothing.

    >>> import torch
    >>> logprobs, entropies = raw_statistics(torch.zeros(1, 4), torch.tensor([2]), with_entropies=True)
    >>> round(logprobs.item(), 4), round(entropies.item(), 4)  # log(1/4) and log(4)
    (-1.3863, 1.3863)
    """
    import torch

    all_logprobs = torch.log_softmax(logits, dim=-1)
    logprobs = all_logprobs.gather(-1, tokens[:, None]).squeeze(-1)
    if not with_entropies:
        return logprobs, None
    return logprobs, torch.special.entr(all_logprobs.exp()).sum(dim=-1)
