"""The help of every command: an example or two that its own parser takes."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer.main

from distill.cli import app

COMMANDS: dict[str, Any] = dict(sorted(typer.main.get_command(app).commands.items()))  # type: ignore[attr-defined]
EXAMPLES = {name: re.findall(r"\[dim\](.*?)\[/dim\]", command.help or "") for name, command in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does_and_shows_an_example(name: str) -> None:
    assert (COMMANDS[name].help or "").split("\n")[0].rstrip().endswith(".")
    assert any(example.startswith(f"distill {name}") for example in EXAMPLES[name])


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_is_taken_by_the_parser(example: str) -> None:
    words = shlex.split(example.replace("\\\\", "\\"), comments=True)
    name, *arguments = words[words.index("distill") + 1 :]
    COMMANDS[name].make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    silent = [option.name for option in COMMANDS[name].params if not (getattr(option, "help", None) or "").strip()]
    assert silent == []
