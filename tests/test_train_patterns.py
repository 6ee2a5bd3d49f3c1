"""Epochs that crash early, crash late or stagnate, and the option that each points to."""

from __future__ import annotations

from typing import Any

import pytest

from distill.config import TrainConfig
from distill.train.patterns import failure_patterns

FALLING_EARLY = [0.7, 0.68, 0.45, 0.42, 0.41, 0.4, 0.4, 0.41, 0.4, 0.4]
FALLING_LATE = [0.7, 0.7, 0.69, 0.7, 0.68, 0.66, 0.55, 0.5, 0.45, 0.4]
MASK, TUNING = {"percent": 20}, {"tau": 1.0}


def epochs(first: int = 1, **measures: list[float]) -> list[dict[str, float]]:
    """Lines of a report, one for each place of these lists."""
    count = len(next(iter(measures.values())))
    return [{"epoch": n + first, **{name: values[n] for name, values in measures.items()}} for n in range(count)]


def found(lines: list[dict[str, float]], **recipe: Any) -> list[tuple[str, str, int, str]]:
    config = TrainConfig.model_validate({"method": "sft", **recipe})
    return [(each.name, each.measure, each.epoch, each.option) for each in failure_patterns(lines, config)]


@pytest.mark.parametrize(
    ("values", "recipe", "name", "epoch", "option"),
    [
        (FALLING_EARLY, {}, "early crash", 3, "slow_tuning"),
        (FALLING_EARLY, {"low_entropy_mask": MASK}, "early crash", 3, "slow_tuning"),
        (FALLING_EARLY, {"slow_tuning": TUNING}, "early crash", 3, "slow_tuning.tau"),
        (FALLING_LATE, {"slow_tuning": TUNING}, "late crash", 7, "low_entropy_mask"),
        (FALLING_LATE, {"low_entropy_mask": MASK}, "late crash", 7, "low_entropy_mask.percent"),
    ],
)
def test_a_fall_of_safety_points_to_the_guard_of_its_time(
    values: list[float], recipe: dict[str, Any], name: str, epoch: int, option: str
) -> None:
    assert found(epochs(safety_ratio=values), **recipe) == [(name, "safety_ratio", epoch, option)]


def test_a_fall_is_measured_from_the_best_so_far_and_to_the_worst_from_then_on() -> None:
    (pattern,) = failure_patterns(epochs(accuracy=[0.3, 0.5, 0.35, 0.2, 0.45]), TrainConfig(method="sft"))
    assert (pattern.epoch, pattern.change) == (3, pytest.approx(0.2 - 0.5))


def test_half_of_a_short_run_is_early() -> None:
    assert found(epochs(accuracy=[0.5, 0.3, 0.3, 0.3]))[0][0] == "early crash"
    assert found(epochs(accuracy=[0.5, 0.5, 0.3, 0.3]))[0][0] == "late crash"


def test_the_base_student_counts_as_an_epoch_where_it_was_measured() -> None:
    assert found(epochs(first=0, advbench=[0.9, 0.5, 0.5, 0.5])) == [("early crash", "advbench", 1, "slow_tuning")]


@pytest.mark.parametrize(
    "measures",
    [
        {"accuracy": [0.3, 0.4, 0.45, 0.44]},
        {"safety_ratio": [0.7, 0.65, 0.61, 0.64], "accuracy": [0.3, 0.4, 0.5, 0.5]},
        {"validation_loss": [2.0, 1.0, 0.8, 0.9]},
        {"accuracy": [0.3, 0.1]},  # two epochs are no pattern
        {"entropy": [1.0, 1.0, 1.0]},  # nothing was measured that says anything
    ],
)
def test_a_run_that_goes_well_shows_no_pattern(measures: dict[str, list[float]]) -> None:
    assert found(epochs(**measures)) == []


def test_a_loss_on_held_out_groups_that_rises_late_asks_for_fewer_epochs() -> None:
    lines = epochs(validation_loss=[2.0, 1.0, 0.8, 0.8, 0.9, 1.1])
    assert found(lines) == [("late crash", "validation_loss", 6, "epochs")]


@pytest.mark.parametrize(
    ("recipe", "smallest_ratio", "option"),
    [
        ({}, None, "optimizer.learning_rate"),
        ({"slow_tuning": TUNING}, 1.0, "optimizer.learning_rate"),
        ({"slow_tuning": TUNING}, 0.2, "slow_tuning.tau"),
        ({"low_entropy_mask": {"percent": 80}}, None, "low_entropy_mask.percent"),
        ({"low_entropy_mask": {"percent": 80}, "slow_tuning": TUNING}, 0.2, "slow_tuning.tau"),
    ],
)
def test_a_student_that_learns_nothing_is_held_too_tight(
    recipe: dict[str, Any], smallest_ratio: float | None, option: str
) -> None:
    lines = epochs(loss=[1.0, 0.99, 0.98], accuracy=[0.4, 0.405, 0.4])
    if smallest_ratio is not None:
        lines[-1]["smallest_ratio"] = smallest_ratio
    assert found(lines, **recipe) == [("stagnation", "accuracy", 3, option)]


def test_a_loss_that_falls_or_an_accuracy_that_rises_is_no_stagnation() -> None:
    flat = [0.4, 0.4, 0.4]
    assert found(epochs(loss=[1.0, 0.9, 0.8], accuracy=flat)) == []
    assert found(epochs(loss=[1.0, 1.0, 1.0], accuracy=[0.4, 0.4, 0.42])) == []
    assert found(epochs(loss=[1.0, 1.0, 1.0]))[0][:2] == ("stagnation", "loss")


def test_advice_names_what_the_recipe_says_now() -> None:
    (pattern,) = failure_patterns(
        epochs(safety_ratio=FALLING_EARLY), TrainConfig.model_validate({"method": "sft", "slow_tuning": 3})
    )
    assert "still change by 3" in pattern.advice
