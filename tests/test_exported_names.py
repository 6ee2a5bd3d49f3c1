"""The names that other people's code imports."""

from __future__ import annotations

import inspect

import pytest

import distill

STABLE = {
    "CurateConfig",
    "DistillError",
    "EvalConfig",
    "ModelOptions",
    "TrainConfig",
    "__version__",
    "as_trl_reward",
    "compare_reports",
    "curate_dataset",
    "evaluate",
    "export_dataset",
    "inspect_dataset",
    "load_groups",
    "merge_adapter",
    "publish_dataset",
    "publish_model",
    "score_run",
    "train_student",
    "verify",
}


def test_the_stable_names_are_all_there() -> None:
    assert set(distill.__all__) == STABLE


@pytest.mark.parametrize("name", sorted(STABLE - {"__version__"}))
def test_a_stable_name_loads_and_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(distill, name))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = distill.distil
