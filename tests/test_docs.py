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


@pytest.mark.parametrize("path", sorted((REPOSITORY / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_recipe_loads(path: Path) -> None:
    load_config(CurateConfig, "curate", recipe=path)
    load_config(TrainConfig, "train", recipe=path)
    load_config(EvalConfig, "eval", recipe=path)
