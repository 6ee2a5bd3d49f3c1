"""Recipes, --set and flags: who wins, and what a wrong field is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from distill.config import CurateConfig, EvalConfig, RewardPartConfig, RewardsConfig, TrainConfig
from distill.errors import DistillError
from distill.recipe import load_config, parse_set, parse_yaml, to_yaml


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("no", "no"),
        ("off", "off"),
        ("true", True),
        ("3", 3),
        ("12:30", "12:30"),
        ("010", "010"),
        ("2026-01-01", "2026-01-01"),
        ("", None),
    ],
)
def test_scalars_are_read_as_a_person_means_them(text: str, value: object) -> None:
    assert parse_yaml(text) == value


SET_VALUES = [
    ("A:", "A:"),
    ("Answer: yes", "Answer: yes"),
    ("- first", "- first"),
    ("? key", "? key"),
    ('"a": b', '"a": b'),
    ("####", "####"),
    (" #### ", "####"),
    ('"#### "', "#### "),
    ("Answer #", "Answer #"),
    ("!!python/name:os.system", "!!python/name:os.system"),
    ("*", "*"),
    ("<<", "<<"),
    ("=", "="),
    ("---", "---"),
    ("{question}", "{question}"),
    ("Q: {question}\n{options}", "Q: {question}\n{options}"),
    ("{question}: {options}", "{question}: {options}"),
    ("[CLS]: ", "[CLS]: "),
    ("null", None),
    ("", None),
    ("'null'", "null"),
    ("1e-5", 1e-5),
    ("true", True),
    ("-3", -3),
    ("{}", {}),
    ("{max_tokens: 96}", {"max_tokens": 96}),
    ("{a: , b: 1}", {"a": None, "b": 1}),
    ("[]", []),
    ("['A:', ####]", "['A:', ####]"),  # the bracket is part of a comment, so this is no list
    ("['A:', '####']", ["A:", "####"]),
]


@pytest.mark.parametrize(("text", "value"), SET_VALUES)
def test_a_value_set_on_the_command_line_is_a_text_unless_it_looks_otherwise(text: str, value: object) -> None:
    parsed = parse_set(f"a.b={text}")["a"]["b"]
    assert (type(parsed), parsed) == (type(value), value)


def test_a_marker_can_be_set_and_taken_away() -> None:
    for text, marker in (("A:", "A:"), ("####", "####"), ("null", None)):
        config = load_config(CurateConfig, "curate", sets=["source.answer_after=x", f"source.answer_after={text}"])
        assert config.source.answer_after == marker


def test_flags_beat_sets_beat_the_recipe_beats_the_defaults(tmp_path: Path) -> None:
    recipe = write(tmp_path, "curate:\n  seed: 1\n  sampling: {temperature: 0.1, top_p: 0.2}\n")
    config = load_config(
        CurateConfig,
        "curate",
        recipe=recipe,
        sets=["sampling.top_p=0.3", "seed=2"],
        flags={"seed": 3, "source": {"limit": None}},
    )
    assert (config.seed, config.sampling.temperature, config.sampling.top_p) == (3, 0.1, 0.3)
    assert config.sampling.num_completions == 8


def test_setting_one_reward_option_keeps_the_other_parts() -> None:
    config = load_config(CurateConfig, "curate", sets=["rewards.parts.cosine.options.max_tokens=96"])
    cosine = config.rewards.parts["cosine"]
    assert (cosine.weight, cosine.options) == (2.0, {"preset": "advdistill", "max_tokens": 96})
    assert "format" in config.rewards.parts


def test_a_reward_part_set_to_null_is_removed() -> None:
    config = load_config(CurateConfig, "curate", sets=["rewards.parts.format=null"])
    assert list(config.rewards.parts) == ["cosine"]


def test_a_section_that_is_off_by_default_can_be_switched_on() -> None:
    config = load_config(TrainConfig, "train", sets=["lora.rank=4"])
    assert config.lora is not None
    assert (config.lora.rank, config.lora.alpha) == (4, 32)


@pytest.mark.parametrize(
    ("recipe", "sets", "percent", "scope"),
    [
        ("50", ["low_entropy_mask.scope=rationale"], 50, "rationale"),
        ("{percent: 50, scope: rationale}", ["low_entropy_mask=30"], 30, "rationale"),
        ("50", ["low_entropy_mask=null", "low_entropy_mask.scope=rationale"], 20, "rationale"),
        ("{scope: rationale}", ["low_entropy_mask=0", "low_entropy_mask.percent=10"], 10, "rationale"),
    ],
)
def test_a_number_in_a_sections_place_is_one_of_its_fields(
    tmp_path: Path, recipe: str, sets: list[str], percent: float, scope: str
) -> None:
    path = write(tmp_path, f"train: {{low_entropy_mask: {recipe}}}\n")
    mask = load_config(TrainConfig, "train", recipe=path, sets=sets).low_entropy_mask
    assert mask is not None
    assert (mask.percent, mask.scope) == (percent, scope)


def test_slow_tuning_as_a_number_keeps_its_tau_beside_another_field(tmp_path: Path) -> None:
    path = write(tmp_path, "train: {slow_tuning: 3}\n")
    projection = load_config(TrainConfig, "train", recipe=path, sets=["slow_tuning.scope=global"]).slow_tuning
    assert projection is not None
    assert (projection.tau, projection.scope) == (3, "global")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            "train:\n  optimizer: {lerning_rate: 1}\n",
            "no field 'train.optimizer.lerning_rate'",
            "did you mean 'learning_rate'?",
        ),
        ("train:\n  epochs: many\n", "'train.epochs'", "docs/config.md"),
        ("train:\n  epochs: 0\n", "greater than or equal to 1, found '0'", "docs/config.md"),
        ("train:\n  optimizer: {betas: [0.9, 1]}\n", "'train.optimizer.betas': both should be", "docs/config.md"),
        ("train:\n  optimizer: {learning_rate: .inf}\n", "should be a finite number, found 'inf'", "docs/config.md"),
        ("training:\n  epochs: 1\n", "no section 'training'", "did you mean 'train'?"),
        ("- 1\n", "is no mapping", "curate, train, eval"),
        ("a: [\n", "cannot be read", "YAML"),
    ],
)
def test_a_wrong_recipe_is_told_where_and_why(tmp_path: Path, text: str, message: str, hint: str) -> None:
    with pytest.raises(DistillError) as raised:
        load_config(TrainConfig, "train", recipe=write(tmp_path, text))
    assert message in str(raised.value)
    assert hint in raised.value.hint
    assert "recipe.yaml" in str(raised.value)


def test_a_wrong_set_names_itself() -> None:
    with pytest.raises(DistillError, match=r"--set sampling.topp=1: no field 'curate.sampling.topp'"):
        load_config(CurateConfig, "curate", sets=["sampling.topp=1"])
    with pytest.raises(DistillError, match="not of the form key=value"):
        load_config(CurateConfig, "curate", sets=["sampling"])


def test_greedy_groups_of_several_are_refused() -> None:
    with pytest.raises(DistillError, match="greedy samples are all the same"):
        load_config(EvalConfig, "eval", sets=["sampling.num_completions=4"])


def test_recorded_completions_that_no_backend_would_read_are_refused() -> None:
    with pytest.raises(DistillError, match="the backend 'hf' samples and reads no completions"):
        load_config(CurateConfig, "curate", sets=["recorded.path=rows.jsonl"])
    load_config(CurateConfig, "curate", sets=["recorded.path=rows.jsonl", "teacher.backend=recorded"])


def test_a_config_survives_being_written_and_read(tmp_path: Path) -> None:
    config = load_config(TrainConfig, "train", sets=["lora.rank=4", "optimizer.learning_rate=1e-5", "seed=7"])
    assert load_config(TrainConfig, "train", recipe=write(tmp_path, to_yaml(config, "train"))) == config


def test_a_written_config_keeps_removed_reward_parts_and_options_removed(tmp_path: Path) -> None:
    rewards = RewardsConfig(parts={"cosine": RewardPartConfig(options={"preset": "yeo"})})  # no format, no max_tokens
    config = CurateConfig(rewards=rewards)
    assert load_config(CurateConfig, "curate", recipe=write(tmp_path, to_yaml(config, "curate"))) == config


def test_an_unknown_recipe_is_told_the_near_one() -> None:
    with pytest.raises(DistillError, match="there is no recipe 'quickstrt'") as raised:
        load_config(CurateConfig, "curate", recipe=Path("quickstrt"))
    assert raised.value.hint == "did you mean 'quickstart'?"


def test_a_missing_recipe_file_is_told_the_near_one_beside_it_or_how_one_is_written(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="there is no recipe") as raised:
        load_config(CurateConfig, "curate", recipe=tmp_path / "recipes.yaml")
    assert raised.value.hint == f"'distill init {tmp_path / 'recipes.yaml'}' writes one"
    (tmp_path / "recipe.yaml").write_text("curate: {seed: 1}\n", "utf-8")
    with pytest.raises(DistillError) as raised:
        load_config(CurateConfig, "curate", recipe=tmp_path / "recipes.yaml")
    assert raised.value.hint == f"did you mean '{tmp_path / 'recipe.yaml'}'?"


def test_a_file_of_the_users_own_goes_before_a_shipped_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("curate: {seed: 77}\n", encoding="utf-8")
    assert load_config(CurateConfig, "curate", recipe=Path("quickstart")).seed == 77
    Path("quickstart").unlink()
    assert load_config(CurateConfig, "curate", recipe=Path("quickstart")).source.name == "arithmetic"
