"""Linear layers by another product: the same values and gradients, and only where that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from distill.packing import linear
from distill.packing.linear import checkpoint_contexts, fast_linear
from distill.packing.products import product

CPU = torch.device("cpu")


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[int], Sequence[int]]]:
    """The shapes of all products that are made by another way than PyTorch's own."""
    made: list[tuple[Sequence[int], Sequence[int]]] = []

    def counted(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        made.append((tuple(left.shape), tuple(right.shape)))
        return product(left, right)

    monkeypatch.setattr(linear, "product", counted)
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("trained", [True, False])
def test_values_and_gradients_are_those_of_the_plain_layer(
    bias: bool, trained: bool, products: list[tuple[Sequence[int], Sequence[int]]]
) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(24, 40, bias=bias).requires_grad_(trained)
    states = torch.randn(3, 5, 24, requires_grad=True)
    ahead = torch.randn(3, 5, 40)
    weights = [states, *layer.parameters()] if trained else [states]
    plain = layer(states)
    expected = torch.autograd.grad((plain * ahead).sum(), weights)
    with fast_linear(CPU):
        fast = layer(states)
        found = torch.autograd.grad((fast * ahead).sum(), weights)
    torch.testing.assert_close(fast, plain, rtol=1e-5, atol=1e-6)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # forward, gradient of the states, gradient of the weights where they are trained
    assert products == [((15, 24), (40, 24)), ((15, 40), (24, 40)), ((40, 15), (24, 15))][: 2 + trained]


@pytest.mark.parametrize("trained", [True, False])
def test_a_frozen_layer_keeps_no_states(trained: bool) -> None:
    layer, states = torch.nn.Linear(4, 6).requires_grad_(trained), torch.ones(3, 4, requires_grad=True)
    kept: list[tuple[int, ...]] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with fast_linear(CPU), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layer(states)
    assert kept == [(3, 4)] * trained + [(6, 4)]


def test_what_is_computed_again_is_computed_as_it_was(products: list[tuple[Sequence[int], Sequence[int]]]) -> None:
    layer, states = torch.nn.Linear(4, 4), torch.ones(2, 4, requires_grad=True)
    contexts = partial(checkpoint_contexts, CPU)
    with fast_linear(CPU):
        checkpoint(layer, states, use_reentrant=False, context_fn=contexts).sum().backward()
    assert len(products) == 4  # forward, forward again, two gradients


@pytest.mark.parametrize("case", ["outside", "float64", "autocast", "another device"])
def test_everything_else_is_left_to_pytorch(case: str, products: list[tuple[Sequence[int], Sequence[int]]]) -> None:
    layer, states = torch.nn.Linear(4, 4), torch.ones(2, 4)
    if case == "outside":
        layer(states)
    elif case == "float64":
        with fast_linear(CPU):
            layer.double()(states.double())
    elif case == "autocast":
        with fast_linear(CPU), torch.autocast("cpu", dtype=torch.bfloat16):
            assert layer(states).dtype == torch.bfloat16
    else:
        with fast_linear(torch.device("meta")):
            layer(states)
    assert products == []


@pytest.mark.parametrize(("left", "right"), [(torch.float32, torch.bfloat16), (torch.float16, torch.float64)])
def test_a_product_is_as_wide_as_its_widest_side_and_float32_at_least(left: torch.dtype, right: torch.dtype) -> None:
    a, b = torch.randn(3, 8).to(left), torch.randn(5, 8).to(right)
    found = product(a, b)
    assert found.dtype == torch.promote_types(right, torch.float32)
    torch.testing.assert_close(found.double(), a.double() @ b.double().T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shapes", [((0, 8), (5, 8)), ((3, 8), (0, 8)), ((3, 0), (5, 0))])
def test_a_product_of_nothing_is_empty_or_zero(shapes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    left, right = (torch.ones(shape) for shape in shapes)
    assert torch.equal(product(left, right), torch.zeros(len(left), len(right)))
