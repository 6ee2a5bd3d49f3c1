"""What a terminal shows, as a picture for a README: text that stays text, in the reader's own fonts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType

from distill.files import write_atomically

PICTURE_WIDTH = 116


def write_svg(path: Path, renderables: Iterable[RenderableType], title: str, width: int = PICTURE_WIDTH) -> None:
    """Draw a terminal window that shows these; it needs nothing else, and fetches nothing."""
    console = Console(record=True, width=width, file=io.StringIO(), highlight=False, force_terminal=True)
    console._environ = {}
    for renderable in renderables:
        console.print(renderable)
    svg = console.export_svg(title=title)
    write_atomically(path, re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))
