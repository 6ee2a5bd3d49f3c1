"""Draw the README's pictures from the quick start's own runs: docs/img/inspect.svg and docs/img/compare.svg."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console, RenderableType

from distill import compare_reports, inspect_dataset
from distill.terminal.dataset import overview
from distill.terminal.evaluation import comparison_table

REPOSITORY = Path(__file__).parents[1]
RUNS = Path("runs") / "quickstart"
EVALUATIONS = ("eval-base", "eval-teacher", "eval-sft", "eval-advdistill")


def draw(name: str, title: str, renderables: Iterable[RenderableType], width: int) -> None:
    console = Console(record=True, width=width, file=io.StringIO(), highlight=False, force_terminal=True)
    for renderable in renderables:
        console.print(renderable)
        console.print()
    console.save_svg(str(REPOSITORY / "docs" / "img" / name), title=title)


def main() -> None:
    draw("inspect.svg", f"distill inspect {RUNS}/groups", overview(inspect_dataset(RUNS / "groups")), 92)
    comparison = compare_reports([RUNS / name for name in EVALUATIONS])
    draw("compare.svg", "distill compare", comparison_table(comparison), 132)


if __name__ == "__main__":
    main()
