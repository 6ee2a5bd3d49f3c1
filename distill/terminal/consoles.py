"""The two consoles, and what both speak: JSON and errors."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from distill.errors import DistillError
from distill.printable import printable

__all__ = ["print_json", "printable", "show_error", "stderr", "stdout"]

PIPE_WIDTH = 120
"""A pipe has no width of its own; this one cuts no cell."""
MIN_WIDTH = 80
"""A narrower terminal folds the lines, which is ugly; cells that fit into it would lose digits, which is worse."""


class _DataConsole(Console):
    """Stdout. Whoever reads only the beginning, as in 'distill inspect ... | head', has what they want."""

    def on_broken_pipe(self) -> None:
        """End the command in peace."""
        _end_of_pipe()


def stdout() -> Console:
    """Where data goes."""
    console = _DataConsole(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
    console.width = max(console.width, MIN_WIDTH)
    return console


def stderr() -> Console:
    """Where everything else goes."""
    return Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())


def print_json(value: Any) -> None:
    """One JSON value on stdout; dataclasses become objects."""
    escaped = not (sys.stdout.encoding or "").lower().startswith("utf")
    try:
        print(json.dumps(value, default=_plain, ensure_ascii=escaped, indent=2), flush=True)
    except BrokenPipeError:
        _end_of_pipe()


def _end_of_pipe() -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has to go somewhere
    raise SystemExit(0)


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
