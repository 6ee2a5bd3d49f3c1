"""The recipe that 'distill init' writes: taken by the commands that it is for, and what it says comes from the configs."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from distill.__main__ import main
from distill.config import CurateConfig, EvalConfig, TrainConfig
from distill.config.base import Config
from distill.first_recipe import CONFIGS, SHOWN, _section, recipe_text
from distill.recipe import load_config, parse_yaml


@pytest.fixture
def distill(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    """Run a command in a folder of its own and give back its status and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["distill", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        return int(code or 0), *capfd.readouterr()

    return run


CHOICES = (
    "",
    "--all",
    "--data gsm8k --teacher Qwen/Qwen2.5-7B-Instruct --backend vllm -b gsm8k:test -b gsm_plus --method slowed",
    "--data bbh --teacher Qwen/Qwen2.5-7B-Instruct --backend server --student Qwen/Qwen2.5-1.5B --all",
    "--data reasoning-gym:gcd --limit 100 --completions rows.jsonl --teacher Qwen/Qwen2.5-7B-Instruct",
    "--data openai/gsm8k --method sft-all-correct",
)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_commands_in_its_header_take_the_recipe(distill: Any, choice: str) -> None:
    assert distill("init", "my recipe.yaml", *shlex.split(choice))[:2] == (0, "my recipe.yaml\n")
    text = Path("my recipe.yaml").read_text("utf-8")
    commands = re.findall(r"^#   distill (.*)$", text, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["curate", "train", "eval"]
    for command in commands:
        code, out, error = distill(*shlex.split(command), "--print-config")
        assert (code, error) == (0, "")
        assert parse_yaml(out)


def test_the_first_commands_of_a_new_user_sample_and_train(distill: Any) -> None:
    assert distill("init")[0] == 0
    curate, train, evaluate = re.findall(r"^#   distill (.*)$", Path("recipe.yaml").read_text("utf-8"), re.MULTILINE)
    assert distill(*shlex.split(curate), "--limit", "4")[0] == 0
    assert distill(*shlex.split(train), "--set", "epochs=1")[0] == 0
    code, out, _ = distill(*shlex.split(evaluate), "--limit", "4")
    assert (code, "arithmetic" in out) == (0, True)


def test_tiny_models_get_the_values_of_the_quick_start(distill: Any) -> None:
    distill("init")
    for section, config in CONFIGS.items():
        ours, shipped = (load_config(config, section, recipe=Path(name)) for name in ("recipe.yaml", "quickstart"))
        left_out = {"source", "method", "benchmarks"}
        assert ours.model_dump(exclude=left_out) == shipped.model_dump(exclude=left_out)


@pytest.mark.parametrize(("section", "config"), CONFIGS.items())
def test_the_recipe_of_all_fields_says_nothing_new_and_lacks_no_field(
    section: str, config: type[Config], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    text = recipe_text({section: {}}, "", every_field=True)
    path.write_text(text, "utf-8")
    assert load_config(config, section, recipe=path) == config()
    live = parse_yaml(text)[section]
    assert set(live) == {path.partition(".")[0] for path in SHOWN[section]}
    uncommented = re.sub(r"^( *)#(?=\w)", r"\1", text, flags=re.MULTILINE)
    named = parse_yaml(uncommented)[section]
    path.write_text(uncommented, "utf-8")
    load_config(config, section, recipe=path)
    assert list(named) == list(config.model_fields)


def fields_of(config: type[Config], path: str) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in config.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            yield f"{path}.{name}", field
        else:
            yield from fields_of(section, f"{path}.{name}")


@pytest.mark.parametrize("path", sorted({path for name in CONFIGS for path, _ in fields_of(CONFIGS[name], name)}))
def test_every_field_says_what_it_is(path: str) -> None:
    field = dict(fields_of(CONFIGS[path.partition(".")[0]], path.partition(".")[0]))[path]
    assert (field.description or "").rstrip().endswith(".")


@pytest.mark.parametrize("config", [CurateConfig, TrainConfig, EvalConfig])
def test_what_is_said_of_a_field_is_what_its_config_says(config: type[Config]) -> None:
    section = {model: name for name, model in CONFIGS.items()}[config]
    said = " ".join(re.findall(r"# (.*)$", recipe_text({section: {}}, "", every_field=True), re.MULTILINE))
    described = [field.description for field in config.model_fields.values() if field.description]
    assert described
    for description in described:
        assert " ".join(description.replace("``", "'").split()) in said


def test_only_what_was_asked_for_is_written(distill: Any) -> None:
    assert distill("init", "deep/er/train.yaml", "--for", "train", "--method", "sft")[0] == 0
    assert list(parse_yaml(Path("deep/er/train.yaml").read_text("utf-8"))) == ["train"]


def test_a_file_that_is_there_is_left_alone(distill: Any) -> None:
    Path("recipe.yaml").write_text("mine", "utf-8")
    code, out, error = distill("init")
    assert (code, out) == (1, "")
    assert "'recipe.yaml' is there already" in error
    assert Path("recipe.yaml").read_text("utf-8") == "mine"


def test_recorded_completions_have_to_be_named(distill: Any) -> None:
    code, _, error = distill("init", "--backend", "recorded")
    assert (code, "--completions FILE" in error) == (1, True)
    assert not Path("recipe.yaml").exists()
