"""Log-probability and entropy of tokens: logits pass by in blocks that fit into the cache.

The vocabulary is cut into blocks. For the logits z of one token and a block b with largest logit m_b

    e = exp(z - m_b)          s_b = sum e          t_b = sum (m_b - z) e

are all that is read of it, and with m the largest of all m_b and c_b = exp(m_b - m)

    s = sum c_b s_b                 t = sum c_b (t_b + (m - m_b) s_b)
    log p(y) = z_y - m - log s      H = log s + t / s                  (nats)

Each logit is read while it is in the cache and every term of H is positive: nothing cancels, and H is never
below zero. Whoever wants probabilities keeps e, since p = e c_b / s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from distill.packing.output_layer import OutputLayer

# Logits of one block. On the CPU two of them fit into the cache beside the weights; a GPU wants large products.
BLOCK_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}
# Tokens that share one reading of the weights.
BLOCK_TOKENS = {"cpu": 512, "cuda": 4096}
LOG2_E = 1 / math.log(2)


@dataclass(slots=True)
class KeptBlocks:
    """What is left of n tokens' logits when they were read: all that probabilities and gradients need."""

    starts: list[int] = field(default_factory=list)
    """The first word of each block."""
    exponentials: list[torch.Tensor] = field(default_factory=list)
    """(n, words) e of each block."""
    slopes: list[torch.Tensor] = field(default_factory=list)
    """(n, words) what a cap multiplies gradients by; empty without one."""
    shares: list[torch.Tensor] = field(default_factory=list)
    """(n,) c_b / s of each block: times e, it is p."""


def streamed_statistics(
    layer: OutputLayer, hidden: torch.Tensor, targets: torch.Tensor, *, block_bytes: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities and entropies (M,) of ``targets`` (M,) given ``hidden`` (M, H); no gradient.

    Args:
        block_bytes: logits that exist at the same time; changes memory and time, not values.
    """
    import torch

    weight, chunk_tokens = layer.weight_for(hidden), tokens_at_once(layer, hidden, block_bytes)
    logprobs, entropies = torch.empty(2, len(hidden), dtype=layer.dtype, device=hidden.device)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        for start in range(0, len(hidden), chunk_tokens):
            chunk = slice(start, start + chunk_tokens)
            read = read_chunk(layer, weight, hidden[chunk], targets[chunk], block_bytes=block_bytes)
            logprobs[chunk], entropies[chunk] = read
    return logprobs, entropies


def tokens_at_once(layer: OutputLayer, hidden: torch.Tensor, block_bytes: int | None = None) -> int:
    """How many tokens share one reading of the weights."""
    return max(1, min(BLOCK_TOKENS[_kind(hidden)], _block_size(layer, hidden, block_bytes)))


def read_chunk(
    layer: OutputLayer,
    weight: torch.Tensor,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    *,
    kept: KeptBlocks | None = None,
    block_bytes: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The statistics (n,) of n tokens; ``kept`` gets what gradients need, which is as large as all their logits."""
    import torch

    words = max(1, _block_size(layer, hidden, block_bytes) // max(1, len(hidden)))
    starts = range(0, layer.vocabulary, words)
    own = hidden.new_empty(len(hidden), dtype=layer.dtype)  # the target's logit
    m_b, s_b, t_b = torch.empty(3, len(starts), len(hidden), dtype=layer.dtype, device=hidden.device)
    for number, start in enumerate(starts):
        z = layer.logits(hidden, weight[start : start + words], start)
        place = targets - start
        found = z.gather(1, place.clamp(0, z.shape[1] - 1)[:, None])[:, 0]
        torch.where((place >= 0) & (place < z.shape[1]), found, own, out=own)
        if kept is not None and layer.cap:
            kept.slopes.append(1 - (z / layer.cap).square_())
        torch.amax(z, dim=1, out=m_b[number])
        z -= m_b[number, :, None]
        z *= LOG2_E  # the CPU computes powers of 2 four times as fast as powers of e
        exponentials = torch.exp2(z)
        torch.sum(exponentials, dim=1, out=s_b[number])
        t_b[number] = torch.linalg.vecdot(exponentials, z) / -LOG2_E
        if kept is not None:
            kept.starts.append(start)
            kept.exponentials.append(exponentials)
    m = m_b.amax(dim=0)
    c_b = (m_b - m).exp()
    s = (c_b * s_b).sum(dim=0)
    t = (c_b * (t_b + (m - m_b) * s_b)).sum(dim=0)
    if kept is not None:
        kept.shares.extend(c_b / s)
    return own - m - s.log(), s.log() + t / s


def _block_size(layer: OutputLayer, hidden: torch.Tensor, block_bytes: int | None) -> int:
    """Logits of a block."""
    return (block_bytes or BLOCK_BYTES[_kind(hidden)]) // layer.dtype.itemsize


def _kind(hidden: torch.Tensor) -> str:
    return hidden.device.type if hidden.device.type in BLOCK_BYTES else "cpu"
