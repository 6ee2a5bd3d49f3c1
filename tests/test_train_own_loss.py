"""A user's loss that is one function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from distill.config import LossConfig
from distill.errors import DistillError
from distill.records import Outcome
from distill.train.loop import train_student
from distill.train.losses.advdistill import AdvDistill
from distill.train.losses.base import JudgedGroup, LossOutputs, sum_per_completion
from distill.train.losses.own import load_method
from tests.train_fixtures import make_trainer, tiny_config

HERE = "tests.test_train_own_loss"
GROUPS = [
    JudgedGroup((1.0, None, -1.0), (Outcome.CORRECT, Outcome.UNVERIFIED, Outcome.NO_ANSWER), (3, 4, 5)),
    JudgedGroup((0.5,), (Outcome.INCORRECT,), (2,)),
]


def mean_of_means(statistics: Any, batch: Any, coefficients: Any, kept: Any = None) -> torch.Tensor:
    """AdvDistill's first term at a temperature that makes all weights alike."""
    kept = torch.ones_like(statistics.logprobs) if kept is None else kept
    sums = sum_per_completion(-statistics.logprobs * kept, batch)
    return (coefficients["share"] * sums / batch.completion_lengths).sum()


def without_masks(statistics: Any, batch: Any, coefficients: Any) -> LossOutputs:
    """Raises what is right, lowers what is wrong, and tells how much is wrong."""
    means = sum_per_completion(statistics.logprobs, batch) / batch.completion_lengths
    loss = (coefficients["share"] * (coefficients["wrong"] - coefficients["correct"]) * means).sum()
    return LossOutputs(loss, {"wrong": (coefficients["share"] * coefficients["wrong"]).sum()})


def test_a_function_is_told_of_every_completion() -> None:
    method = load_method(f"{HERE}:mean_of_means", LossConfig())
    assert list(method.select(GROUPS[0])) == [0, 2]
    found = {name: values.tolist() for name, values in method.coefficients(GROUPS).items()}
    assert found == {
        "advantage": [1.0, 0.0, -1.0, 0.5],
        "correct": [1.0, 0.0, 0.0, 0.0],
        "wrong": [0.0, 0.0, 1.0, 1.0],
        "share": pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2]),
    }


def test_a_function_trains_as_the_method_that_it_repeats(tmp_path: Path) -> None:
    own = tiny_config(tmp_path, method=f"{HERE}:mean_of_means")
    alike = {"temperature": 1e9, "contrastive_weight": 0.0}
    steps = [make_trainer(config) for config in (own, tiny_config(tmp_path, method="advdistill", loss=alike))]
    first, second = (trainer.gradients(trainer.step_data(range(6))) for trainer in steps)
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-6)
    assert first["grad_norm"] == pytest.approx(second["grad_norm"], rel=1e-5)


def test_a_function_without_masks_trains_and_its_metrics_are_written(tmp_path: Path) -> None:
    method = f"{HERE}:without_masks"
    report = train_student(tiny_config(tmp_path, method=method, epochs=4), tmp_path / "out")
    assert report.epochs[-1]["loss"] < report.epochs[0]["loss"]
    with pytest.raises(DistillError, match="cannot mask tokens"):
        make_trainer(tiny_config(tmp_path, method=method, low_entropy_mask={"entropy_source": "student"}))


def test_a_mask_reaches_a_function_that_takes_one(tmp_path: Path) -> None:
    mask = {"percent": 50, "entropy_source": "student"}
    trainers = [
        make_trainer(tiny_config(tmp_path, method=f"{HERE}:mean_of_means", low_entropy_mask=m)) for m in (None, mask)
    ]
    plain, masked = (trainer.gradients(trainer.step_data(range(6)))["loss"] for trainer in trainers)
    assert masked < plain


@pytest.mark.parametrize("name", [f"{HERE}:GROUPS", f"{HERE}:nothing_at_all"])
def test_what_is_neither_method_nor_loss_is_refused(name: str) -> None:
    with pytest.raises(DistillError):
        load_method(name, LossConfig())


def nothing_at_all() -> None:
    """Takes nothing."""


def test_registered_methods_are_made_as_before() -> None:
    assert isinstance(load_method("advdistill", LossConfig()), AdvDistill)
