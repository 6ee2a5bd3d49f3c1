"""The two consoles, and what both speak: JSON and errors."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from distill.errors import DistillError

MIN_WIDTH = 80


def stdout() -> Console:
    """Where data goes. A pipe has no width of its own: it gets 120 columns, so that no cell is cut."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def stderr() -> Console:
    """Where everything else goes."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: Any) -> None:
    """One JSON value on stdout; dataclasses become objects."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def show_error(error: DistillError) -> None:
    """A user's error: one line, and what to do next."""
    console = stderr()
    console.print(Text.assemble(("error: ", "bold red"), " ".join(str(error).split())))
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold cyan"), " ".join(error.hint.split())))
