"""The gradient of a loss of token log-probabilities, with each logit computed once.

For a token with probabilities p, hidden state h and g = dL / dlog p(y), the gradient of its logits is
g (onehot(y) - p). Over M tokens, a vocabulary of V and a width of H, in products of M x V x H:

    frozen output layer     2   log-probabilities and dlog p(y)/dh are read together, g multiplies afterwards
    trained                 3   a loss is a sum over completions, so g of a few whole completions is known as soon
                                as their logits are, and the layer's gradient is made from the same probabilities
    trained, a completion   4   of more tokens than are read at once: its logits are computed twice
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from distill.packing.head import TokenStatistics, predicting_states
from distill.packing.linear import fast_linear
from distill.packing.output_layer import OutputLayer, output_layer
from distill.packing.products import product
from distill.packing.streaming import KeptBlocks, read_chunk, streamed_statistics, tokens_at_once

if TYPE_CHECKING:
    import torch

    from distill.packing.layout import PackedBatch

Loss: TypeAlias = Callable[[TokenStatistics, slice], "torch.Tensor"]
"""``loss(statistics, completions)`` -> scalar: the share of these completions, a slice of the batch's."""

# Logits that exist at the same time when the output layer is trained.
KEPT_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}


def backpropagate(model: Any, batch: PackedBatch, loss: Loss, *, kept_bytes: int | None = None) -> None:
    """Run ``model`` over the batch, and add the gradient of its loss to the ``grad`` of the weights that want one.

    Args:
        loss: called once or more, for completions that follow one another, all of them together; the loss is
            the sum of what it returns. Nothing else may be computed from ``statistics.logprobs``.
        kept_bytes: logits that exist at the same time; changes memory and time, and values by rounding alone.

    Raises:
        DistillError: the output layer is not a plain linear layer.
    """
    layer = output_layer(model)
    with fast_linear(layer.linear.weight.device):
        hidden = predicting_states(model, batch)
        gradient = _of_hidden(layer, hidden, batch, loss, kept_bytes)
        if hidden.requires_grad:
            hidden.backward(gradient)  # type: ignore[no-untyped-call]


def _of_hidden(
    layer: OutputLayer, hidden: torch.Tensor, batch: PackedBatch, loss: Loss, kept_bytes: int | None
) -> torch.Tensor:
    """The gradient (M, H) of the hidden states; that of the output layer is added to it on the way."""
    import torch

    kind = hidden.device.type if hidden.device.type in KEPT_BYTES else "cpu"
    kept_tokens = max(1, (kept_bytes or KEPT_BYTES[kind]) // (layer.dtype.itemsize * layer.vocabulary))
    head = _Head(layer, layer.weight_for(hidden), hidden.detach(), batch.targets)
    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        gradient = _of_trained(head, batch, loss, kept_tokens) if layer.is_trained else _of_frozen(head, batch, loss)
    return gradient.to(hidden.dtype)


@dataclass(frozen=True, slots=True)
class _Head:
    """The output layer over the M hidden states of a batch."""

    layer: OutputLayer
    weight: torch.Tensor
    hidden: torch.Tensor
    targets: torch.Tensor
    gathered: dict[torch.Tensor, torch.Tensor] = field(default_factory=dict)
    """The gradients of weights that are spread over processes."""

    def read(self, chunk: slice) -> tuple[TokenStatistics, KeptBlocks]:
        """The statistics of a chunk of tokens, and what is needed for their gradients."""
        kept = KeptBlocks()
        read = read_chunk(self.layer, self.weight, self.hidden[chunk], self.targets[chunk], kept=kept)
        return TokenStatistics(*read), kept

    def hidden_gradient(self, chunk: slice, kept: KeptBlocks, slope: torch.Tensor, *, trains: bool) -> torch.Tensor:
        """The gradient (n, H) of a chunk's hidden states, given dL/dlog p (n,); the layer's own is added to it.

        The blocks are used up.
        """
        import torch

        hidden, targets, g = self.hidden[chunk], self.targets[chunk], slope * self.layer.scale
        gradient = torch.zeros(hidden.shape, dtype=self.layer.dtype, device=hidden.device)
        for number, start in enumerate(kept.starts):
            weight = self.weight[start : start + kept.exponentials[number].shape[1]]
            d = kept.exponentials[number].mul_((-g * kept.shares[number])[:, None])  # (n, words) gradient of logits
            place = (targets - start)[:, None]
            inside = (place >= 0) & (place < len(weight))
            d.scatter_add_(1, place.clamp(0, len(weight) - 1), inside * g[:, None])
            if kept.slopes:
                d *= kept.slopes[number]
            if trains:
                self._add_to_layer(d, hidden, start)
            gradient += product(d.to(weight.dtype) if d.is_cuda else d, weight.t())
        return gradient

    def _add_to_layer(self, d: torch.Tensor, hidden: torch.Tensor, start: int) -> None:
        linear, words = self.layer.linear, slice(start, start + d.shape[1])
        if linear.weight.requires_grad:
            narrow = (d.to(self.weight.dtype), hidden.to(self.weight.dtype)) if d.is_cuda else (d, hidden)
            self._gradient_of(linear.weight)[words] += product(narrow[0].t(), narrow[1].t())
        if linear.bias is not None and linear.bias.requires_grad:
            self._gradient_of(linear.bias)[words] += d.sum(dim=0)

    def _gradient_of(self, weight: torch.Tensor) -> torch.Tensor:
        import torch

        if hasattr(weight, "full_tensor"):
            if weight not in self.gathered:
                self.gathered[weight] = torch.zeros(weight.shape, dtype=weight.dtype, device=weight.device)
            return self.gathered[weight]
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        return weight.grad

    def spread_gradients(self) -> None:
        """Add to every process's part of a spread weight the mean of all processes' gradients, as FSDP does."""
        from torch.distributed.tensor import DTensor, Partial

        for weight, gradient in self.gathered.items():
            assert isinstance(weight, DTensor)
            everybodys = DTensor.from_local(gradient, weight.device_mesh, [Partial("avg")])
            mean = everybodys.redistribute(placements=weight.placements)
            weight.grad = mean if weight.grad is None else weight.grad + mean


def _of_frozen(head: _Head, batch: PackedBatch, loss: Loss) -> torch.Tensor:
    """The gradient (M, H) of the hidden states under an output layer that is not trained."""
    import torch

    hidden, everything = head.hidden, slice(0, len(batch.completion_ends))
    logprobs, entropies = torch.empty(2, len(hidden), dtype=head.layer.dtype, device=hidden.device)
    gradient = torch.empty(hidden.shape, dtype=head.layer.dtype, device=hidden.device)
    size = tokens_at_once(head.layer, hidden)
    for start in range(0, len(hidden), size):
        chunk = slice(start, start + size)
        read, kept = head.read(chunk)
        logprobs[chunk], entropies[chunk] = read.logprobs, read.entropies
        gradient[chunk] = head.hidden_gradient(chunk, kept, torch.ones_like(read.logprobs), trains=False)
    return gradient.mul_(_slope(TokenStatistics(logprobs, entropies), everything, loss)[:, None])


def _of_trained(head: _Head, batch: PackedBatch, loss: Loss, kept_tokens: int) -> torch.Tensor:
    """The gradient (M, H) of the hidden states under an output layer that is trained on the way."""
    import torch

    hidden = head.hidden
    gradient = torch.empty(hidden.shape, dtype=head.layer.dtype, device=hidden.device)
    for completions, tokens in _whole_completions(batch.completion_ends, kept_tokens):
        if tokens.stop - tokens.start <= kept_tokens:
            read, kept = head.read(tokens)
            slope = _slope(read, completions, loss)
            gradient[tokens] = head.hidden_gradient(tokens, kept, slope, trains=True)
            continue
        longest = TokenStatistics(*streamed_statistics(head.layer, hidden[tokens], head.targets[tokens]))
        slope = _slope(longest, completions, loss)
        for start in range(tokens.start, tokens.stop, kept_tokens):
            chunk = slice(start, min(start + kept_tokens, tokens.stop))
            own = slope[start - tokens.start : chunk.stop - tokens.start]
            gradient[chunk] = head.hidden_gradient(chunk, head.read(chunk)[1], own, trains=True)
    if head.gathered:
        head.spread_gradients()
    return gradient


def _whole_completions(ends: tuple[int, ...], most_tokens: int) -> Iterator[tuple[slice, slice]]:
    """Slices of completions and of their tokens: as many whole completions as have ``most_tokens``, or a longer one."""
    first = start = 0
    for number, end in enumerate(ends):
        stop = ends[number - 1] if number else 0
        if number > first and end - start > most_tokens:
            yield slice(first, number), slice(start, stop)
            first, start = number, stop
    if first < len(ends):
        yield slice(first, len(ends)), slice(start, ends[-1])


def _slope(statistics: TokenStatistics, completions: slice, loss: Loss) -> torch.Tensor:
    """dL/dlog p (n,) of the completions' tokens."""
    import torch

    with torch.enable_grad():
        value = loss(TokenStatistics(statistics.logprobs.requires_grad_(), statistics.entropies), completions)
        (slope,) = torch.autograd.grad(value, statistics.logprobs)
    return slope
