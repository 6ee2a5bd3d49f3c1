"""Statistics without gradient, block by block of the vocabulary, against float64 arithmetic on all of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from distill.packing.head import token_statistics
from distill.packing.layout import pack_rows
from distill.packing.output_layer import OutputLayer
from distill.packing.streaming import streamed_statistics
from tests.packing_models import GROUPS, MODELS, naive_statistics

HIDDEN, WORDS, TOKENS = 24, 1_000, 37


def make_layer(dtype: torch.dtype = torch.float32, **options: Any) -> OutputLayer:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear = torch.nn.Linear(HIDDEN, WORDS)
        torch.nn.init.normal_(linear.weight, std=0.8)
        torch.nn.init.normal_(linear.bias)
    return OutputLayer(linear.to(dtype).requires_grad_(False), **options)


def make_tokens() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator)
    return hidden, torch.randint(WORDS, (TOKENS,), generator=generator)


def exact_statistics(
    layer: OutputLayer, hidden: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    z = hidden.double() @ layer.linear.weight.double().T + layer.linear.bias.double()
    z = z * layer.scale
    z = layer.cap * torch.tanh(z / layer.cap) if layer.cap else z
    logprobs = torch.log_softmax(z, dim=-1)
    return logprobs.gather(1, targets[:, None])[:, 0], torch.special.entr(logprobs.exp()).sum(dim=-1)


@pytest.mark.parametrize("options", [{}, {"scale": 0.3}, {"cap": 5.0}, {"scale": 2.0, "cap": 3.0}], ids=str)
# blocks of 4 bytes hold one logit, of 148 one of each token; 5,000 divide neither words nor tokens
@pytest.mark.parametrize("block_bytes", [4, 148, 5_000, 148_000, None])
def test_statistics_are_those_of_float64_arithmetic(options: dict[str, Any], block_bytes: int | None) -> None:
    layer, (hidden, targets) = make_layer(**options), make_tokens()
    if block_bytes == 4:
        hidden, targets = hidden[:3], targets[:3]  # one logit at a time
    logprobs, entropies = streamed_statistics(layer, hidden, targets, block_bytes=block_bytes)
    expected_logprobs, expected_entropies = exact_statistics(layer, hidden, targets)
    torch.testing.assert_close(logprobs.double(), expected_logprobs, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropies.double(), expected_entropies, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_weights_cost_no_precision_of_the_logits(dtype: torch.dtype) -> None:
    layer, (hidden, targets) = make_layer(dtype), make_tokens()
    hidden = hidden.to(dtype)
    logprobs, entropies = streamed_statistics(layer, hidden, targets, block_bytes=5_000)
    expected_logprobs, expected_entropies = exact_statistics(layer, hidden, targets)
    assert logprobs.dtype == entropies.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), expected_logprobs, rtol=0, atol=1e-5)
    torch.testing.assert_close(entropies.double(), expected_entropies, rtol=0, atol=1e-5)


def test_autocast_changes_nothing() -> None:
    layer, (hidden, targets) = make_layer(), make_tokens()
    plain = streamed_statistics(layer, hidden, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = streamed_statistics(layer, hidden, targets)
    assert torch.equal(cast[0], plain[0])
    assert torch.equal(cast[1], plain[1])


def test_a_certain_token_has_no_entropy_and_no_less() -> None:
    layer = OutputLayer(torch.nn.Linear(1, 4, bias=False).requires_grad_(False))
    layer.linear.weight.copy_(torch.tensor([[300.0], [0.0], [-300.0], [299.0]]))
    hidden, targets = torch.tensor([[1.0], [100.0], [0.0]]), torch.tensor([0, 0, 3])
    logprobs, entropies = streamed_statistics(layer, hidden, targets, block_bytes=8)
    # e to the -1 beside 1: H = log(1 + 1/e) + 1/(1 + e) = 0.5822; then certain; then log 4 for four alike
    assert entropies.tolist() == pytest.approx([0.5822, 0.0, 1.3863], abs=1e-4)
    assert logprobs.tolist() == pytest.approx([-0.3133, 0.0, -1.3863], abs=1e-4)
    assert float(entropies.min()) >= 0


class Largest(TorchDispatchMode):
    """Remembers how many elements the largest tensor has that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tensors = [made] if isinstance(made, torch.Tensor) else []
        self.elements = max([self.elements, *(tensor.numel() for tensor in tensors)])
        return made


def test_no_more_logits_exist_than_a_block_holds() -> None:
    layer, (hidden, targets) = make_layer(), make_tokens()
    with Largest() as largest:
        streamed_statistics(layer, hidden, targets, block_bytes=37 * 40 * 4)
    # 37 tokens of 40 words, twice; all of them would be 37,000; the weights are 24,000 and made before
    assert largest.elements <= max(2 * 37 * 40, layer.linear.weight.numel())
    assert largest.elements < TOKENS * WORDS


def test_no_tokens_have_no_statistics() -> None:
    hidden, targets = make_tokens()
    logprobs, entropies = streamed_statistics(make_layer(), hidden[:0], targets[:0])
    assert logprobs.shape == entropies.shape == (0,)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_gives_what_a_naive_loop_gives(name: str) -> None:
    model: Any = MODELS[name]().double()
    with torch.no_grad():
        expected_logprobs, expected_entropies = naive_statistics(model, GROUPS)
    statistics = token_statistics(model, pack_rows(GROUPS, pad_id=0))
    torch.testing.assert_close(statistics.logprobs, expected_logprobs, rtol=0, atol=1e-9)
    torch.testing.assert_close(statistics.entropies, expected_entropies, rtol=0, atol=1e-9)
