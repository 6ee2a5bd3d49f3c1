"""Gradients made while the logits are at hand, against autograd through a plain loop over model(...).logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from distill.packing import streaming
from distill.packing.backward import backpropagate
from distill.packing.head import TokenStatistics, token_statistics
from distill.packing.layout import GroupTokens, pack_rows
from distill.train.losses.base import sum_per_completion
from tests.packing_models import (
    GROUPS,
    MODELS,
    gradients,
    naive_statistics,
    random_coefficients,
    weighted_gradients,
)
from tests.tiny import make_tiny_model

LOGITS_OF_A_TOKEN = 264 * 8
"""Bytes in float64."""


def biased_model() -> Any:
    model = make_tiny_model(tie_word_embeddings=False)
    head = torch.nn.Linear(model.lm_head.in_features, model.lm_head.out_features)
    model.set_output_embeddings(head)
    return model


# 18 tokens in completions of 4, 2, 7, 2 and 3: all at once, some completions at once, a token at a time
@pytest.mark.parametrize("tokens_at_once", [18, 7, 4, 1])
@pytest.mark.parametrize("name", [*MODELS, "biased"])
def test_values_and_gradients_equal_autograd(name: str, tokens_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = (MODELS | {"biased": biased_model})[name]().double()
    if tokens_at_once == 1:  # blocks that divide neither the vocabulary nor the tokens
        monkeypatch.setitem(streaming.BLOCK_BYTES, "cpu", 5_000)
    logprobs, entropies = naive_statistics(model, GROUPS)
    coefficients = random_coefficients(len(logprobs))
    expected = gradients(model, (coefficients * logprobs).sum())
    statistics, found = weighted_gradients(
        model, pack_rows(GROUPS, pad_id=0), coefficients, kept_bytes=tokens_at_once * LOGITS_OF_A_TOKEN
    )
    torch.testing.assert_close(statistics.logprobs, logprobs, rtol=0, atol=1e-9)
    torch.testing.assert_close(statistics.entropies, entropies, rtol=0, atol=1e-9)
    assert found.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("tokens_at_once", [18, 7, 3])
@pytest.mark.parametrize("name", ["tied", "lora"])
def test_a_loss_may_look_at_whole_completions(name: str, tokens_at_once: int) -> None:
    model, batch = MODELS[name]().double(), pack_rows(GROUPS, pad_id=0)

    def loss(statistics: TokenStatistics, completions: slice) -> torch.Tensor:
        """A token's gradient depends on all of its completion, as that of a contrastive term does."""
        part = batch.part(completions)
        squares = sum_per_completion(statistics.logprobs.exp(), part).square().sum()
        return squares + (statistics.logprobs * statistics.entropies.detach()).sum()

    expected = gradients(model, loss(TokenStatistics(*naive_statistics(model, GROUPS)), slice(0, 5)))
    model.zero_grad()
    backpropagate(model, batch, loss, kept_bytes=tokens_at_once * LOGITS_OF_A_TOKEN)
    for parameter, gradient in expected.items():
        torch.testing.assert_close(model.get_parameter(parameter).grad, gradient, rtol=1e-6, atol=1e-8)


def test_completions_are_shown_in_order_and_once() -> None:
    model, batch = make_tiny_model(), pack_rows([*GROUPS, GroupTokens((5,), ((), (7,)))], pad_id=0)
    shown: list[slice] = []

    def loss(statistics: TokenStatistics, completions: slice) -> torch.Tensor:
        shown.append(completions)
        assert len(batch.part(completions).targets) == len(statistics.logprobs)
        return statistics.logprobs.sum()

    backpropagate(model, batch, loss, kept_bytes=6 * 264 * 4)
    # at most 6 tokens: 4 + 2, then 7 alone, then 2 + 3 + 0 + 1
    assert shown == [slice(0, 2), slice(2, 3), slice(3, 7)]


def test_gradients_are_added_to_what_is_there() -> None:
    model, batch = make_tiny_model().double(), pack_rows(GROUPS, pad_id=0)
    coefficients = random_coefficients(18)
    _, once = weighted_gradients(model, batch, coefficients)
    backpropagate(model, batch, lambda statistics, _: (coefficients * statistics.logprobs).sum())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.grad, 2 * once[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["tied", "lora"])
def test_float32_is_as_exact_as_float32_can_be(name: str) -> None:
    model, batch, coefficients = MODELS[name](), pack_rows(GROUPS, pad_id=0), random_coefficients(18)
    _, found = weighted_gradients(model, batch, coefficients)
    _, exact = weighted_gradients(model.double(), batch, coefficients)
    for parameter, gradient in exact.items():
        error = (found[parameter].double() - gradient).norm() / gradient.norm()
        assert error < 1e-5, parameter


def test_statistics_in_a_loss_are_those_without_one() -> None:
    model, batch = make_tiny_model(), pack_rows(GROUPS, pad_id=0)
    trained, _ = weighted_gradients(model, batch, random_coefficients(18))
    read = token_statistics(model, batch)
    torch.testing.assert_close(read.logprobs, trained.logprobs, rtol=0, atol=1e-5)
    torch.testing.assert_close(read.entropies, trained.entropies, rtol=0, atol=1e-5)


def test_a_batch_without_tokens_has_no_gradient() -> None:
    model = make_tiny_model()
    _, found = weighted_gradients(model, pack_rows([GroupTokens((5, 6), ((),))], pad_id=0), torch.zeros(0))
    assert all(not gradient.any() for gradient in found.values())


def test_a_layer_that_is_not_trained_gets_no_gradient() -> None:
    model = make_tiny_model(tie_word_embeddings=False)
    model.lm_head.weight.requires_grad_(False)
    _, found = weighted_gradients(model, pack_rows(GROUPS, pad_id=0), random_coefficients(18))
    assert model.lm_head.weight.grad is None
    assert found
