"""Losses against hand arithmetic, against a naive loop over one completion at a time, and against their laws."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from distill.config import LossConfig
from distill.packing.head import TokenStatistics
from distill.packing.layout import GroupTokens, PackedBatch, pack_rows
from distill.records import Outcome
from distill.registry import load
from distill.train.losses.advdistill import AdvDistill, softmax_weights
from distill.train.losses.base import JudgedGroup, LossOutputs
from distill.train.losses.sft import SFT, SFTAllCorrect

CORRECT, INCORRECT, NO_ANSWER, UNVERIFIED = Outcome


@dataclass
class Written:
    """One completion: what was said of it and the log-probabilities of its tokens."""

    outcome: Outcome
    advantage: float | None
    logprobs: list[float]
    shared: int = 0
    """First tokens that a correct completion has, too."""


Step = list[list[Written]]


def judged(group: list[Written]) -> JudgedGroup:
    return JudgedGroup(
        tuple(c.advantage for c in group),
        tuple(c.outcome for c in group),
        tuple(len(c.logprobs) for c in group),
        shared_lengths=tuple(c.shared for c in group),
    )


def batch_of(completions: list[Written]) -> PackedBatch:
    return pack_rows([GroupTokens((1,), [tuple([2] * len(c.logprobs)) for c in completions])], pad_id=0)


def statistics_of(completions: list[Written]) -> TokenStatistics:
    logprobs = torch.tensor([p for c in completions for p in c.logprobs], dtype=torch.float64, requires_grad=True)
    return TokenStatistics(logprobs, torch.zeros_like(logprobs))


def run(method: Any, step: Step) -> tuple[LossOutputs, dict[int, list[float]], list[Written]]:
    """The loss of a step, the gradient on the log-probabilities of every trained completion, and those completions."""
    selected = [[group[i] for i in method.select(judged(group))] for group in step]
    groups = [group for group in selected if group]
    completions = list(itertools.chain.from_iterable(groups))
    coefficients = {
        name: torch.from_numpy(values)
        for name, values in method.coefficients([judged(group) for group in groups]).items()
    }
    statistics = statistics_of(completions)
    outputs = method.loss(statistics, batch_of(completions), coefficients)
    outputs.loss.backward()
    parts = statistics.logprobs.grad.split([len(c.logprobs) for c in completions])
    return outputs, {id(c): part.tolist() for c, part in zip(completions, parts, strict=True)}, completions


def assert_same_gradients(found: dict[int, list[float]], expected: dict[int, list[float]]) -> None:
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        assert found[key] == pytest.approx(gradient, rel=1e-12)


def naive_advdistill(step: Step, options: LossConfig) -> torch.Tensor:
    """docs/methods.md, AdvDistill's loss, read aloud: one group, one completion, one token at a time."""
    total = torch.zeros((), dtype=torch.float64)
    for group in step:
        rewarded = [c for c in group if c.advantage is not None]
        normaliser = sum(math.exp(c.advantage / options.temperature) for c in rewarded)
        is_wrong = {
            "incorrect_or_no_answer": lambda c: c.outcome in (INCORRECT, NO_ANSWER),
            "incorrect": lambda c: c.outcome is INCORRECT,
            "negative_advantage": lambda c: c.advantage < 0,
        }[options.wrong]
        num_wrong = sum(is_wrong(c) for c in rewarded)
        for c in rewarded:
            w = math.exp(c.advantage / options.temperature) / normaliser
            logprobs = c.tensor
            cross_entropy = -sum(logprobs)
            if options.cross_entropy == "mean":
                cross_entropy = cross_entropy / len(logprobs)
            total = total + w * cross_entropy / len(step)
            if not is_wrong(c):
                continue
            pushed = logprobs[c.shared :] if options.contrastive_tokens == "unshared" else logprobs
            zero = torch.zeros((), dtype=torch.float64)
            if options.mean_probability == "arithmetic":
                pbar = sum((p.exp() for p in pushed), zero) / max(len(pushed), 1)
            else:
                pbar = (sum(pushed, zero) / max(len(pushed), 1)).exp()
            penalty = -torch.log(1 - torch.minimum(pbar, torch.tensor(options.max_probability, dtype=torch.float64)))
            factor = {"mean_over_group": 1 / len(rewarded), "sum": 1, "mean_over_wrong": 1 / num_wrong}
            red = factor[options.contrastive_reduction] * (w if options.contrastive_weighting == "w_i" else 1)
            total = total + options.contrastive_weight * red * penalty / len(step)
    return total


def random_step(seed: int) -> Step:
    rng = random.Random(seed)
    step = []
    for _ in range(3):
        group = []
        for _ in range(rng.randint(2, 6)):
            outcome = rng.choice(list(Outcome))
            advantage = None if outcome is UNVERIFIED else rng.gauss(0, 1)
            logprobs = [math.log(rng.uniform(0.05, 1.0)) for _ in range(rng.randint(1, 6))]
            group.append(Written(outcome, advantage, logprobs, shared=rng.randint(0, len(logprobs))))
        group.append(Written(CORRECT, 0.3, [-0.5, -0.1]))
        step.append(group)
    return step


def options_of_advdistill() -> list[LossConfig]:
    fields = {
        "contrastive_reduction": ["mean_over_group", "sum", "mean_over_wrong"],
        "contrastive_weighting": ["none", "w_i"],
        "wrong": ["incorrect_or_no_answer", "incorrect", "negative_advantage"],
        "mean_probability": ["arithmetic", "geometric"],
        "cross_entropy": ["mean", "sum"],
        "contrastive_tokens": ["all", "unshared"],
    }
    choices = itertools.product(*fields.values())
    return [LossConfig(**dict(zip(fields, choice, strict=True)), max_probability=0.7) for choice in choices]


def test_every_option_of_advdistill_equals_a_naive_loop_in_value_and_gradient():
    for number, options in enumerate(options_of_advdistill()):
        step = random_step(number)
        for c in itertools.chain.from_iterable(step):
            c.tensor = torch.tensor(c.logprobs, dtype=torch.float64, requires_grad=True)
        expected = naive_advdistill(step, options)
        expected.backward()
        outputs, gradients, completions = run(AdvDistill(options), step)
        assert outputs.loss.item() == pytest.approx(expected.item(), rel=1e-12), options
        for c in completions:
            assert gradients[id(c)] == pytest.approx(c.tensor.grad.tolist(), rel=1e-9, abs=1e-15), options


def test_what_a_wrong_completion_shares_with_a_right_one_is_not_pushed_away():
    options = LossConfig(contrastive_tokens="unshared", contrastive_weight=1.0)
    wrong = Written(INCORRECT, 0.0, [-0.1, -0.2, -0.3, -0.4], shared=2)
    step = [[Written(CORRECT, 0.0, [-0.1, -0.2]), wrong]]
    _, without, _ = run(AdvDistill(options.model_copy(update={"contrastive_weight": 0.0})), step)
    _, gradients, _ = run(AdvDistill(options), step)
    pushed = [a - b for a, b in zip(gradients[id(wrong)], without[id(wrong)], strict=True)]
    assert pushed[:2] == [0.0, 0.0]
    assert min(pushed[2:]) > 0.0


def test_advdistill_by_hand():
    # equal advantages: w = 1/2 each. CE_1 = (0.2 + 0.4) / 2 = 0.3, CE_2 = -ln 0.5 = 0.6931
    # pbar_2 = 0.5, C_2 = -ln(1 - 0.5) = 0.6931; lambda / N = 0.5 / 2
    step = [[Written(CORRECT, 0.0, [-0.2, -0.4]), Written(INCORRECT, 0.0, [math.log(0.5)])]]
    outputs, _, _ = run(AdvDistill(LossConfig()), step)
    ln2 = math.log(2)
    assert outputs.metrics["cross_entropy"].item() == pytest.approx(0.5 * 0.3 + 0.5 * ln2)
    assert outputs.metrics["contrastive"].item() == pytest.approx(0.25 * ln2)
    assert outputs.metrics["wrong_probability"].item() == pytest.approx(0.5)
    assert outputs.loss.item() == pytest.approx(0.15 + 0.75 * ln2)


def test_wrong_probability_is_the_mean_over_the_wrong_completions_of_the_step():
    # pbar of the wrong ones: (0.5 + 0.3) / 2 = 0.4 and 0.2, so (0.4 + 0.2) / 2 = 0.3
    wrong = [Written(INCORRECT, -1.0, [math.log(0.5), math.log(0.3)]), Written(NO_ANSWER, -1.0, [math.log(0.2)])]
    step = [[Written(CORRECT, 1.0, [-0.1]), wrong[0]], [Written(CORRECT, 1.0, [-0.1]), wrong[1]]]
    assert run(AdvDistill(LossConfig()), step)[0].metrics["wrong_probability"].item() == pytest.approx(0.3)


def test_sft_normalised_by_token_and_by_completion_by_hand():
    step = [[Written(CORRECT, 1.0, [-0.1, -0.2, -0.3])], [Written(CORRECT, 1.0, [-0.6])]]
    # (0.1 + 0.2 + 0.3 + 0.6) / 4 = 0.3          ((0.6 / 3) + 0.6) / 2 = 0.4
    assert run(SFT(LossConfig(normalise="token")), step)[0].loss.item() == pytest.approx(0.3)
    assert run(SFT(LossConfig(normalise="completion")), step)[0].loss.item() == pytest.approx(0.4)


SELECTIONS = [
    ("the highest advantage", SFT, [(CORRECT, 0.1), (CORRECT, 0.9), (INCORRECT, -1.0)], [1]),
    ("the first of two equal ones", SFT, [(INCORRECT, -1.0), (CORRECT, 0.5), (CORRECT, 0.5)], [1]),
    ("a correct one where all advantages are 0", SFT, [(INCORRECT, 0.0), (CORRECT, 0.0), (CORRECT, 0.0)], [1]),
    ("advantage before outcome", SFT, [(CORRECT, 0.1), (INCORRECT, 0.2)], [1]),
    ("never an unverified one", SFT, [(UNVERIFIED, None), (INCORRECT, -2.0)], [1]),
    ("nothing where nothing was verified", SFT, [(UNVERIFIED, None), (UNVERIFIED, None)], []),
    ("all correct ones", SFTAllCorrect, [(CORRECT, 0.1), (NO_ANSWER, -0.3), (CORRECT, 0.2)], [0, 2]),
    ("no wrong one", SFTAllCorrect, [(INCORRECT, 0.1), (UNVERIFIED, None)], []),
    ("all that were verified", AdvDistill, [(CORRECT, 1.0), (UNVERIFIED, None), (NO_ANSWER, -1.0)], [0, 2]),
]


@pytest.mark.parametrize(
    ("method", "group", "expected"), [case[1:] for case in SELECTIONS], ids=[c[0] for c in SELECTIONS]
)
def test_selection(method, group, expected):
    completions = [Written(outcome, advantage, [-1.0]) for outcome, advantage in group]
    assert list(method(LossConfig()).select(judged(completions))) == expected


def test_softmax_weights_sum_to_one_and_are_uniform_at_equal_rewards():
    assert softmax_weights([0.3, -1.2, 2.0], 0.5).sum() == pytest.approx(1.0)
    assert softmax_weights([0.7] * 8, 0.5).tolist() == pytest.approx([1 / 8] * 8)


def test_softmax_weights_become_one_hot_on_the_best_as_the_temperature_falls():
    assert softmax_weights([0.3, -1.2, 0.4], 1e-6).tolist() == pytest.approx([0, 0, 1])


def test_softmax_weights_ignore_a_constant_and_survive_extremes():
    assert softmax_weights([1e4 + 0.3, 1e4 - 1.2], 0.5).tolist() == pytest.approx(softmax_weights([0.3, -1.2], 0.5))


@pytest.mark.parametrize("mean_probability", ["arithmetic", "geometric"])
def test_loss_and_gradient_are_finite_when_a_wrong_completion_is_certain(mean_probability):
    step = [[Written(CORRECT, 1.0, [-0.1]), Written(INCORRECT, -1.0, [0.0, 0.0])]]
    outputs, gradients, _ = run(AdvDistill(LossConfig(mean_probability=mean_probability)), step)
    assert math.isfinite(outputs.loss.item())
    assert all(math.isfinite(g) for gradient in gradients.values() for g in gradient)


@pytest.mark.parametrize("mean_probability", ["arithmetic", "geometric"])
def test_descending_the_contrastive_term_lowers_the_mean_probability(mean_probability):
    wrong = Written(NO_ANSWER, -1.0, [-0.5, -0.2, -1.0])
    with_term = LossConfig(mean_probability=mean_probability)
    without = LossConfig(mean_probability=mean_probability, contrastive_weight=0)
    step = [[Written(CORRECT, 1.0, [-0.1]), wrong]]
    difference = [
        a - b
        for a, b in zip(
            run(AdvDistill(with_term), step)[1][id(wrong)], run(AdvDistill(without), step)[1][id(wrong)], strict=True
        )
    ]
    assert all(gradient > 0 for gradient in difference)  # a step against it lowers every log-probability


def test_above_its_maximum_the_contrastive_term_has_no_gradient():
    wrong = Written(INCORRECT, -1.0, [math.log(0.995)])
    step = [[Written(CORRECT, 1.0, [-0.1]), wrong]]
    with_term = run(AdvDistill(LossConfig()), step)[1][id(wrong)]
    assert with_term == run(AdvDistill(LossConfig(contrastive_weight=0)), step)[1][id(wrong)]


def test_advdistill_without_contrast_on_one_completion_per_group_is_sft_by_completion():
    step = [[Written(CORRECT, 0.0, [-0.1, -0.7])], [Written(CORRECT, 0.0, [-0.6])], [Written(CORRECT, 0.0, [-0.2] * 5)]]
    advdistill = run(AdvDistill(LossConfig(contrastive_weight=0)), step)
    sft = run(SFT(LossConfig(normalise="completion")), step)
    assert advdistill[0].loss.item() == pytest.approx(sft[0].loss.item(), rel=1e-12)
    for c in sft[2]:
        assert advdistill[1][id(c)] == pytest.approx(sft[1][id(c)], rel=1e-12)


@pytest.mark.parametrize("method", ["sft", "sft-all-correct", "advdistill"])
def test_an_unverified_completion_changes_no_other_gradient(method):
    step = random_step(1)
    more = [[Written(UNVERIFIED, None, [-0.3, -0.4]), *group] for group in step]
    before, after = (run(load("methods", method)(LossConfig()), s) for s in (step, more))
    assert after[0].loss.item() == pytest.approx(before[0].loss.item(), rel=1e-12)
    assert_same_gradients(after[1], before[1])


@pytest.mark.parametrize("method", ["sft", "sft-all-correct", "advdistill"])
def test_the_order_of_completions_in_a_group_changes_nothing(method):
    step = random_step(2)
    shuffled = [random.Random(0).sample(group, len(group)) for group in step]
    before, after = (run(load("methods", method)(LossConfig()), s) for s in (step, shuffled))
    assert after[0].loss.item() == pytest.approx(before[0].loss.item(), rel=1e-12)
    assert_same_gradients(after[1], before[1])


def test_a_group_without_wrong_completions_has_no_contrastive_term():
    step = [[Written(CORRECT, 1.0, [-0.1]), Written(CORRECT, -1.0, [-0.2])]]
    for reduction in ("mean_over_group", "sum", "mean_over_wrong"):
        outputs, _, _ = run(AdvDistill(LossConfig(contrastive_reduction=reduction)), step)
        assert outputs.metrics["contrastive"].item() == 0
        assert outputs.metrics["wrong_probability"].item() == 0
