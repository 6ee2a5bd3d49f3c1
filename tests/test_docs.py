"""The docs name only functions that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from distill.config import CurateConfig, EvalConfig, TrainConfig
from distill.recipe import load_config
from distill.registry import load

REPOSITORY = Path(__file__).parents[1]
METHODS = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`(distill\.[\w.]+:\w+)`", METHODS))))
def test_every_function_that_the_methods_page_names_exists(target: str) -> None:
    assert callable(load("methods", target))


@pytest.mark.parametrize("field", sorted(set(re.findall(r"`((?:loss|advantages|optimizer|sampling)\.\w+)`", METHODS))))
def test_every_option_that_the_methods_page_names_is_a_field(field: str) -> None:
    section, name = field.split(".")
    defaults = CurateConfig().model_dump() | TrainConfig().model_dump()
    assert name in defaults[section]


DEFAULTS = {
    "sampling.num_completions": 8,
    "sampling.temperature": 0.9,
    "sampling.top_p": 1.0,
    "sampling.max_new_tokens": 2048,
    "advantages.eps": 1e-4,
    "advantages.ddof": 1,
    "loss.contrastive_weight": 0.5,
    "loss.temperature": 0.5,
    "loss.cross_entropy": "mean",
    "loss.mean_probability": "arithmetic",
    "loss.max_probability": 0.99,
    "loss.wrong": "incorrect_or_no_answer",
    "loss.contrastive_reduction": "mean_over_group",
    "loss.contrastive_weighting": "none",
    "loss.normalise": "token",
    "optimizer.learning_rate": 5e-6,
    "optimizer.weight_decay": 0.01,
    "optimizer.warmup_ratio": 0.05,
    "optimizer.schedule": "cosine",
    "optimizer.max_grad_norm": 0.5,
    "groups_per_step": 16,
    "epochs": 4,
    "max_tokens": 2048,
    "overlong": "truncate",
    "lora": None,
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_default_is_the_one_that_the_methods_page_names(name: str) -> None:
    value: object = CurateConfig().model_dump() | TrainConfig().model_dump()
    for part in name.split("."):
        assert isinstance(value, dict)
        value = value[part]
    assert value == DEFAULTS[name]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path: Path) -> None:
    load_config(CurateConfig, "curate", recipe=path)
    load_config(TrainConfig, "train", recipe=path)
    load_config(EvalConfig, "eval", recipe=path)
