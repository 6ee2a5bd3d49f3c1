"""The docs name only functions that exist."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from distill.config import CurateConfig, EvalConfig, TrainConfig
from distill.curate.filters import load_filters
from distill.recipe import load_config
from distill.records import Completion, Problem
from distill.registry import load
from distill.verifiers import Judge
from distill.verifiers.policy import Policy

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


@pytest.mark.parametrize("page", ["curate.md"])
def test_every_recipe_of_a_page_loads_and_its_filters_pass_their_examples(page: str, tmp_path: Path) -> None:
    recipes = re.findall(r"```yaml\n(.*?)```", (REPOSITORY / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert recipes
    for text in recipes:
        (tmp_path / "recipe.yaml").write_text(text, "utf-8")
        load_filters(load_config(CurateConfig, "curate", recipe=tmp_path / "recipe.yaml").filters)


def test_the_worked_example_of_a_verifier_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (REPOSITORY / "docs" / "verifiers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n# chemistry\.py.*?```", page, re.DOTALL)
    (tmp_path / "chemistry.py").write_text(example.removeprefix("```python\n").removesuffix("```"))
    monkeypatch.syspath_prepend(tmp_path)
    with Judge("chemistry:same_atoms") as judge:
        outcomes = [
            judge.judge(Problem("1", "?", "C2H6O"), Completion(text)).outcome
            for text in (r"Ethanol is \boxed{HOC2H5}.", r"\boxed{CH4}", "It is ethanol.")
        ]
    assert outcomes == ["correct", "incorrect", "no_answer"]


def test_every_policy_is_on_the_page_with_its_default() -> None:
    page = (REPOSITORY / "docs" / "verifiers.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    shown = {True: "on", False: "off", 1e-5: "1e-5"}
    for field in fields(Policy):
        default = field.default
        expected = shown.get(default, default) if isinstance(default, bool | float) else default
        assert rows[field.name].strip().strip("`") == str(expected), field.name
