"""Drawing the next token: the right probabilities, one uniform number per token, exact statistics."""

from __future__ import annotations

import math

import pytest
import torch

from distill.generate.base import completion_seed
from distill.generate.next_token import completion_uniforms, draw_tokens, nucleus, raw_statistics

PROBABILITIES = torch.tensor([0.05, 0.4, 0.0, 0.25, 0.3])


def draw_many(probabilities: torch.Tensor, temperature: float, top_p: float, number: int = 20_000) -> torch.Tensor:
    """Share of each token among many draws whose uniform numbers are evenly spaced."""
    uniforms = (torch.arange(number, dtype=torch.float64) + 0.5) / number
    logits = probabilities.log().expand(number, -1)
    return torch.bincount(draw_tokens(logits, uniforms, temperature, top_p), minlength=len(probabilities)) / number


@pytest.mark.parametrize(
    ("temperature", "top_p", "expected"),
    [
        (1.0, 1.0, [0.05, 0.4, 0.0, 0.25, 0.3]),
        # p^2 normalised: squares 0.0025, 0.16, 0, 0.0625, 0.09 sum to 0.315
        (0.5, 1.0, [0.0025 / 0.315, 0.16 / 0.315, 0.0, 0.0625 / 0.315, 0.09 / 0.315]),
        # 0.4 + 0.3 reach 0.7 exactly, so 0.25 stays out
        (1.0, 0.7, [0.0, 4 / 7, 0.0, 0.0, 3 / 7]),
        # one more is needed to pass 0.7
        (1.0, 0.71, [0.0, 0.4 / 0.95, 0.0, 0.25 / 0.95, 0.3 / 0.95]),
        (1.0, 1e-6, [0.0, 1.0, 0.0, 0.0, 0.0]),
        (0.0, 1.0, [0.0, 1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_tokens_come_as_often_as_temperature_and_top_p_say(
    temperature: float, top_p: float, expected: list[float]
) -> None:
    torch.testing.assert_close(draw_many(PROBABILITIES, temperature, top_p), torch.tensor(expected), atol=1e-4, rtol=0)


def test_the_nucleus_is_the_smallest_set_that_reaches_top_p() -> None:
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.softmax(3 * torch.randn(50, 40, generator=generator), dim=-1)
    for top_p in (0.1, 0.5, 0.9, 0.99):
        for row, kept in zip(probabilities, nucleus(probabilities, top_p), strict=True):
            ordered = sorted(row.tolist(), reverse=True)
            size = next(n for n in range(1, 41) if sum(ordered[:n]) >= top_p - 1e-6)
            assert kept.sum() == size
            assert row[kept].min() >= row[~kept].max()


def test_a_token_without_probability_is_never_drawn() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(5, -1)
    # the smallest numbers, the largest below 1, and what rounding to a narrower type may make of that
    edges = torch.tensor([0.0, 5e-324, 0.5, 1 - 2**-53, 1.0], dtype=torch.float64)
    assert draw_tokens(logits, edges, 1.0, 1.0).tolist() == [1, 1, 3, 3, 3]
    assert draw_tokens(logits, edges, 0.7, 0.9).tolist() == [1, 1, 3, 3, 3]


def test_a_rows_draw_does_not_depend_on_the_other_rows() -> None:
    logits = torch.randn(8, 300, generator=torch.Generator().manual_seed(1))
    uniforms = completion_uniforms(range(8), 1)[:, 0]
    together = draw_tokens(logits, uniforms, 0.9, 0.95).tolist()
    alone = [int(draw_tokens(logits[row : row + 1], uniforms[row : row + 1], 0.9, 0.95)) for row in range(8)]
    assert together == alone


def test_a_longer_completion_begins_with_the_same_uniform_numbers() -> None:
    short, long = completion_uniforms([3, 4], 7), completion_uniforms([4, 3], 3000)
    assert torch.equal(short, long.flip(0)[:, :7])
    assert long.min() >= 0
    assert long.max() < 1
    assert abs(float(long.mean()) - 0.5) < 0.02


def test_seeds_differ_by_run_problem_and_index() -> None:
    seeds = {completion_seed(run, problem, index) for run in (0, 1) for problem in ("1", "11") for index in range(12)}
    assert len(seeds) == 48
    # a dataset's seeds stay what they are from one version of distill to the next
    assert completion_seed(0, "gsm8k/1", 0) == 8542913949588057278


def test_statistics_are_those_of_the_whole_raw_distribution() -> None:
    probabilities = torch.tensor([[0.5, 0.25, 0.25, 0.0]])
    logprobs, entropies = raw_statistics(probabilities.log() + 7.0, torch.tensor([1]), with_entropies=True)
    assert entropies is not None
    # 0.5 log 2 + 2 * 0.25 log 4 = 1.5 log 2; the constant added to the logits changes nothing
    assert entropies.item() == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert logprobs.item() == pytest.approx(math.log(0.25), abs=1e-6)
    assert raw_statistics(probabilities.log(), torch.tensor([1]), with_entropies=False)[1] is None
