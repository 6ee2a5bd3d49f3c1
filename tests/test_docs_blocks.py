"""What the pages show works: their commands are taken, their Python runs, their error messages are raised somewhere."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from distill.cli import app
from distill.config import CurateConfig, EvalConfig, SamplingConfig, SourceConfig, TrainConfig
from distill.recipe import find_recipe, load_config
from tests.hub_server import serve_hub

REPOSITORY = Path(__file__).parents[1]
PAGES = {
    path.relative_to(REPOSITORY).as_posix(): path.read_text("utf-8")
    for path in sorted(
        [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md"), *REPOSITORY.glob("recipes/*.yaml")]
    )
}
FENCE = re.compile(r"^( *)```([\w.-]*)[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
CONFIGS: dict[str, tuple[type[Any], str]] = {
    **dict.fromkeys(("curate", "preview", "score"), (CurateConfig, "curate")),
    "train": (TrainConfig, "train"),
    "eval": (EvalConfig, "eval"),
}


def commands_of(page: str) -> list[str]:
    """Commands of distill in blocks of code, and in the comments of a recipe."""
    text = PAGES[page]
    if page.endswith(".yaml"):
        blocks = re.findall(r"^#   (.*)$", text, re.MULTILINE)
    else:
        blocks = [body for _, language, body in FENCE.findall(text) if language in ("", "console", "bash", "sh")]
        blocks += re.findall(r"^    (.*)$", FENCE.sub("", text), re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [
        line.strip().removeprefix("$ ") for line in lines if re.match(r"\s*(\$ )?(distill|torchrun|accelerate) ", line)
    ]


def parsed(command: str) -> tuple[str, dict[str, Any]]:
    """The command's name and what its parser makes of the rest."""
    words = shlex.split(command, comments=True)
    name, *arguments = words[words.index("distill") + 1 :]
    parameters: dict[str, Any] = COMMANDS[name].make_context(name, arguments).params
    return name, parameters


SHOWN = [
    (page, command)
    for page in PAGES
    for command in commands_of(page)
    if "COMMAND [ARGS]" not in command and "[OPTIONS]" not in command
]


@pytest.mark.parametrize(("page", "command"), SHOWN)
def test_every_command_that_is_shown_is_taken(page: str, command: str) -> None:
    name, parameters = parsed(command)
    if name not in CONFIGS:
        return
    recipe = parameters.get("recipe")
    if recipe is not None and recipe.suffix == ".yaml" and not recipe.exists():  # the reader's own
        recipe = None
    config, section = CONFIGS[name]
    load_config(config, section, recipe=recipe and find_recipe(recipe), sets=parameters.get("sets") or ())


INLINE = [
    (page, " ".join(command.split()))
    for page, text in PAGES.items()
    for command in re.findall(r"`(distill [^`]+)`", FENCE.sub("", text))
    if not re.search(r"…|\.\.\.|distill-reasoning|distill --", command)
]


@pytest.mark.parametrize(("page", "command"), sorted(set(INLINE)))
def test_every_command_in_a_sentence_has_options_that_exist(page: str, command: str) -> None:
    refused = ""
    try:
        parsed(command)
    except Exception as error:  # the parser's own, whose class Typer keeps to itself
        refused = type(error).__name__
    # a sentence may leave out what a command, or its option, is about
    assert refused in {"", "MissingParameter", "NoArgsIsHelpError", "BadOptionUsage"}


def test_commands_are_found_in_all_ways_of_showing_them() -> None:
    for page in ("README.md", "docs/tutorial.md", "docs/safety.md", "docs/train.md", "recipes/slowed.yaml"):
        assert commands_of(page), page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the blocks run: it holds what the pages name, on a small scale."""
    from distill import curate_dataset, export_dataset

    folder = tmp_path_factory.mktemp("reader")
    sampling = SamplingConfig(num_completions=2, max_new_tokens=48)
    groups = folder / "runs" / "quickstart" / "groups"
    curate_dataset(CurateConfig(source=SourceConfig(name="arithmetic", limit=4), sampling=sampling), groups)
    export_dataset(groups, "sft", folder / "data" / "gsm8k-sft")
    (folder / "rows.jsonl").write_text('{"prompt": "How?", "completion": "I cannot.", "label": "safe"}\n', "utf-8")
    return folder


PYTHON = [
    (page, body) for page, text in PAGES.items() for _, language, body in FENCE.findall(text) if language == "python"
]


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[f"{page}-{index}" for index, (page, _) in enumerate(PYTHON)])
def test_python_that_is_shown_runs(page: str, block: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    if "Qwen/" in block or '"me/' in block:  # wants what is not here: its names have to exist
        block = "\n".join(
            ast.unparse(node) for node in ast.parse(block).body if isinstance(node, ast.Import | ast.ImportFrom)
        )
    if "import trl" in block or "from trl" in block:
        pytest.importorskip("trl")
    exec(compile(block, page, "exec"), {"__name__": "shown"})


def run_commands(commands: list[str], where: Path, **variables: str) -> dict[str, str]:
    """Run them as a reader does; what each printed."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
        **variables,
    }
    printed = {}
    for command in commands:
        # -P: as the installed command, which does not look for modules where it is run
        words = [sys.executable, "-P", "-m", "distill", *shlex.split(command, comments=True)[1:]]
        result = subprocess.run(words, cwd=where, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        printed[command] = result.stdout
    return printed


@pytest.mark.slow
def test_the_parts_of_ones_own_do_what_their_page_says(folder: Path) -> None:
    page = "docs/extending.md"
    blocks = [body for other, body in PYTHON if other == page]
    assert all(block.startswith("# mine.py\n") for block in blocks)
    (folder / "mine.py").write_text("\n".join(blocks), "utf-8")
    (folder / "cards").mkdir(exist_ok=True)
    card = (REPOSITORY / "data_cards" / "arithmetic.md").read_text("utf-8")
    (folder / "cards" / "mine.md").write_text(card.replace("name: arithmetic", "name: mine"), "utf-8")
    commands = [
        f"{command} --limit 4" if command.startswith("distill eval") else command for command in commands_of(page)
    ]
    assert len(commands) == 5
    printed = run_commands(commands, folder)
    assert "mine:short_is_safe" in next(out for command, out in printed.items() if command.startswith("distill safety"))


@pytest.mark.slow
def test_the_tutorial_makes_a_better_student(tmp_path: Path) -> None:
    commands = commands_of("docs/tutorial.md")
    with serve_hub() as hub:
        hub.tokens["hf_of_me"] = ("me", "write")
        variables = hub.environment(str(tmp_path / "home")) | {"HF_TOKEN": "hf_of_me", "HF_HUB_OFFLINE": "0"}
        printed = run_commands(commands, tmp_path, **variables)
        assert set(hub.repositories) == {("dataset", "me/arithmetic-groups"), ("model", "me/arithmetic-student")}
    assert "hf_of_me" not in "".join(printed.values())
    table = next(out for command, out in printed.items() if command.startswith("distill compare"))
    (gain,) = re.findall(r"\+([\d.]+)\* p<0\.001", table)
    (promised,) = re.findall(r"\+([\d.]+)\* p<0\.001", PAGES["docs/tutorial.md"])
    # the same arithmetic elsewhere may round a token otherwise; the student learnt what the page says
    assert float(gain) == pytest.approx(float(promised), abs=8)
    assert (tmp_path / "runs" / "sft" / "student" / "model.safetensors").exists()


@cache
def messages() -> set[str]:
    """Every message of a DistillError in the source, with … for what varies."""

    def text(node: ast.expr) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(map(text, node.values))
        return str(node.value) if isinstance(node, ast.Constant) else "…"

    found = set()
    for path in (REPOSITORY / "distill").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "DistillError" and node.args:
                found.add(text(node.args[0]))
    return found


@pytest.mark.parametrize("message", re.findall(r"^### `(.*)`$", PAGES["docs/troubleshooting.md"], re.MULTILINE))
def test_every_message_that_is_explained_is_one_of_ours(message: str) -> None:
    assert message in messages()


@pytest.mark.slow
def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    for package in ("material", "latex2mathml"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert check_site().foreign_loads(tmp_path) == []
    assert "<math" in (tmp_path / "methods.html").read_text("utf-8")


def check_site() -> Any:
    spec = importlib.util.spec_from_file_location("check_site", REPOSITORY / "scripts" / "check_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE_LOADS = {
    '<script src="https://cdn.example/x.js"></script>': True,
    '<link rel="stylesheet" href="//fonts.example/x.css">': True,
    '<img src="https://example.org/badge.svg">': True,
    '<pre class="mermaid">graph</pre>': True,
    '<link rel="canonical" href="https://example.org/"><a href="https://arxiv.org/abs/1">a link</a><img src="x.svg">': False,
}


@pytest.mark.parametrize("html", PAGE_LOADS)
def test_what_a_page_loads_from_elsewhere_is_found(html: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(html, "utf-8")
    assert bool(check_site().foreign_loads(tmp_path)) is PAGE_LOADS[html]


def test_what_a_style_sheet_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("@import 'https://fonts.example/a.css'; b { background: url(img/b.png) }", "utf-8")
    assert check_site().foreign_loads(tmp_path) == ["x.css: https://fonts.example/a.css"]
