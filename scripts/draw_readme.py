"""Draw the README's pictures from the quick start's own run: docs/img/inspect.svg and docs/img/group.svg."""

from __future__ import annotations

from pathlib import Path

from distill import inspect_dataset
from distill.curate.chosen import group_detail
from distill.terminal import draw_group, draw_stats

GROUPS = Path("runs") / "quickstart" / "groups"
GROUP = "arithmetic/train/00133"
PICTURES = Path(__file__).parents[1] / "docs" / "img"


def main() -> None:
    draw_stats(PICTURES / "inspect.svg", inspect_dataset(GROUPS))
    draw_group(PICTURES / "group.svg", str(GROUPS), group_detail(GROUPS, GROUP))


if __name__ == "__main__":
    main()
