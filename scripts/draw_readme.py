"""Draw the README's picture from the quick start's own run: docs/img/inspect.svg."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from distill import inspect_dataset
from distill.terminal.dataset import overview

GROUPS = Path("runs") / "quickstart" / "groups"
PICTURE = Path(__file__).parents[1] / "docs" / "img" / "inspect.svg"


def main() -> None:
    console = Console(record=True, width=92, file=io.StringIO(), highlight=False, force_terminal=True)
    for renderable in overview(inspect_dataset(GROUPS)):
        console.print(renderable)
        console.print()
    svg = console.export_svg(title=f"distill inspect {GROUPS}")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # the reader's own fonts: nothing is fetched
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
