"""How much arithmetic a training is, and how long a device takes for it.

With B weights in the matrices of the layers, an output layer of H x V and D the width of all queries, in products and
sums (FLOP):

    layers        2 B for each token read and pass over them: forward, gradients of states, gradients of weights
                  (of the adapters alone under LoRA), and forward once more with gradient checkpointing
    attention     4 D L for each pair of a token read and one that it looks at, twice that in the backward pass
    output layer  6 H V for each token learnt, 4 H V where it is frozen

A mixture of experts is counted as if every expert read every token.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from distill.packing.layout import GroupTokens
    from distill.train.estimate import StudentShape

ASSUMED_SHARE = {"cuda": 0.4, "cpu": 0.25}
"""Of what a device reaches in one large product, what it is taken to reach in training: the more, the wider a model."""
MEASURED_SECONDS = 0.3
# Dense bfloat16 products in 10^12 FLOP per second, as their makers state them; the first name that fits counts.
STATED_TFLOPS = {
    "B200": 2250, "H200": 989, "H100 PCIe": 756, "H100": 989, "A100": 312, "L40S": 362, "L4": 121, "A10": 125,
    "RTX 4090": 165, "RTX 3090": 71,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """What passes read and learn."""

    read_tokens: int
    """Padding counted."""
    learnt_tokens: int
    pairs: int
    """Of a token and one that it looks at, itself among them."""


def work_of(groups: Iterable[GroupTokens], *, packed: bool, padded_tokens: int | None = None) -> Work:
    """The work of reading groups: with a prompt once for all its completions, or once for each.

    Args:
        padded_tokens: what is really read, where rows are padded.

    >>> from distill.packing.layout import GroupTokens
    >>> groups = [GroupTokens((1, 2), ((3,), (4, 5)))]
    >>> work_of(groups, packed=True)  # prompt 1 + 2; completions 3 and 3 + 4
    Work(read_tokens=5, learnt_tokens=3, pairs=13)
    >>> work_of(groups, packed=False)  # rows of 3 and 4 tokens
    Work(read_tokens=7, learnt_tokens=3, pairs=16)
    """
    read = learnt = pairs = 0
    for group in groups:
        prompt, lengths = len(group.prompt_ids), [len(ids) for ids in group.completion_ids]
        copies = 1 if packed else len(lengths)
        read += copies * prompt + sum(lengths)
        learnt += sum(lengths)
        pairs += copies * prompt * (prompt + 1) // 2 + sum(n * prompt + n * (n + 1) // 2 for n in lengths)
    return Work(read if padded_tokens is None else padded_tokens, learnt, pairs)


def training_flops(shape: StudentShape, work: Work, *, checkpointing: bool) -> float:
    """FLOP of forward and backward passes.

    A layer of 100 weights and an output layer of 3 x 5 that read 10 tokens, learn 7 and look 50 times:

    >>> from distill.train.estimate import StudentShape
    >>> shape = StudentShape(
    ...     parameters=115, trained=115, trained_matrices=115, body_matrices=100, trained_body_matrices=100, layers=1,
    ...     width=3, attention_width=4, vocabulary=5, trains_head=True, compute_bytes=4, kept_bytes=0, not_counted="",
    ...     pass_tokens=1, hidden_bytes=4, hindrance="",
    ... )
    >>> 6 * 100 * 10 + 12 * 4 * 1 * 50 + 6 * 3 * 5 * 7
    9030
    >>> training_flops(shape, Work(read_tokens=10, learnt_tokens=7, pairs=50), checkpointing=False)
    9030.0
    """
    body = 2 * (shape.body_matrices * (2 + checkpointing) + shape.trained_body_matrices)
    attention = 4 * shape.attention_width * shape.layers * (3 + checkpointing)
    head = 2 * shape.width * shape.vocabulary * (3 if shape.trains_head else 2)
    return float(body * work.read_tokens + attention * work.pairs + head * work.learnt_tokens)


def stated_flops(device_name: str) -> float | None:
    """FLOP per second of a GPU in bfloat16 by its maker's word; None where it is not known here.

    >>> stated_flops("NVIDIA H200"), stated_flops("NVIDIA H100 PCIe"), stated_flops("NVIDIA T4")
    (989000000000000.0, 756000000000000.0, None)
    """
    return next((tflops * 1e12 for name, tflops in STATED_TFLOPS.items() if name in device_name), None)


def measured_flops(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP per second that a device reaches in one large product of this type; takes about half a second."""
    import torch

    size = 8192 if device.type == "cuda" else 1024
    left, right = torch.ones(2, size, size, dtype=dtype, device=device)
    products, start = 0, 0.0
    while True:
        made = left @ right
        made[0, 0].item()  # waits for the device
        now = time.perf_counter()
        if not start:  # the first product loads kernels
            start = now
            continue
        products += 1
        if now - start > MEASURED_SECONDS:
            return 2 * size**3 * products / (now - start)
