"""Two datasets side by side: what changed, then the same charts of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from distill.printable import one_line
from distill.terminal.colours import BLUE, GREY, ORANGE
from distill.terminal.consoles import print_json, stdout
from distill.terminal.dataset import GAP, MAX_WIDTH, TWO_COLUMNS, beside, heading, sections
from distill.terminal.drawing import PICTURE_WIDTH, write_svg

if TYPE_CHECKING:
    from pathlib import Path

    from distill.curate.changes import Changes, Line, Moved
    from distill.curate.stats import Stats

SIGNS = {"up": ("▲", BLUE), "down": ("▼", ORANGE), "same": ("=", GREY), "": (" ", GREY)}


def show_changes(changes: Changes, *, as_json: bool = False) -> None:
    """What changed from one dataset to another."""
    if as_json:
        from distill.curate.changes import change_lines, changes_headline
        from distill.curate.stats import stats_json

        values = {
            "headline": changes_headline(changes),
            "changes": list(change_lines(changes)),
            **{name: getattr(changes, name) for name in ("common", "solved_more", "solved_less", "newly_kept")},
            **{name: getattr(changes, name) for name in ("newly_dropped", "risen", "fallen")},
            "before": stats_json(changes.before),
            "after": stats_json(changes.after),
        }
        return print_json(values)
    console = stdout()
    for renderable in changes_page(changes, console.width):
        console.print(renderable)
    return None


def draw_changes(path: Path, changes: Changes) -> None:
    """The comparison as a picture."""
    title = f"distill inspect {one_line(changes.before.path)} {one_line(changes.after.path)}"
    write_svg(path, changes_page(changes, PICTURE_WIDTH), title)


def changes_page(changes: Changes, width: int) -> Iterator[RenderableType]:
    """The comparison for a terminal of so many columns: beside each other where it is wide, else in turn."""
    from distill.curate.changes import change_lines, changes_headline

    width = min(width, MAX_WIDTH)
    for sign, stats in (("A", changes.before), ("B", changes.after)):
        teachers = ", ".join(one_line(name) for name in stats.teachers) or "no teacher"
        yield Text.assemble((f"{sign}  {one_line(stats.path)}", "bold"), (f"  {teachers}", GREY))
    if changes.before.where:
        yield Text(f"where {one_line(changes.before.where)}", style=GREY)
    yield Text()
    yield Text(changes_headline(changes), style="bold")
    yield Text()
    yield heading("What changed?", width)
    yield from _lines(list(change_lines(changes)))
    yield from _groups(changes)
    two = width >= TWO_COLUMNS
    column = (width - GAP) // 2 if two else width
    for left, right in _charts(changes.before, changes.after, column):
        yield Text()
        if two:
            yield from beside(left, right, column)
        else:
            yield from [*left, Text(), *right]


def _charts(before: Stats, after: Stats, column: int) -> Iterator[tuple[list[Text], list[Text]]]:
    """The same charts of both, where at least one of them has them."""
    from distill.curate.changes import largest_share

    scale = max(largest_share(before), largest_share(after))
    pairs = [sections(stats, column, scale) for stats in (before, after)]
    for left, right in zip(*pairs, strict=True):
        marked = []
        for sign, section in (("A", left), ("B", right)):
            lines = list(section)
            if lines:
                title = lines[0][:-3] if lines[0].plain.endswith("───") else lines[0]
                lines[0] = Text.assemble((f"{sign}  ", "bold"), title)
                lines[0].truncate(column, overflow="ellipsis")
            marked.append(lines)
        if any(marked):
            yield marked[0], marked[1]


def _lines(lines: list[Line]) -> Iterator[Text]:
    name = max(len(line.name) for line in lines)
    widths = [max(len(text) for text in texts) for texts in zip(*((x.before, x.after) for x in lines), strict=True)]
    yield Text(f"{'':<{name}}  {'A':>{widths[0]}}  {'B':>{widths[1]}}", style="bold")
    for line in lines:
        sign, style = SIGNS[line.direction]
        yield Text.assemble(
            f"{one_line(line.name):<{name}}  {line.before:>{widths[0]}}  {line.after:>{widths[1]}}  ",
            (f"{sign} ", style),
            (line.change if line.change != "=" else "", GREY if line.direction == "same" else "bold"),
        )


def _groups(changes: Changes) -> Iterator[Text]:
    if not changes.common:
        return
    yield Text()
    yield Text.assemble(
        (f"{changes.common:,} groups in both: ", "bold"),
        ("▲ ", BLUE),
        f"{changes.solved_more:,} solved more often  ",
        ("▼ ", ORANGE),
        f"{changes.solved_less:,} less often  ",
        (f"{changes.newly_kept:,} kept now, {changes.newly_dropped:,} dropped now", GREY),
    )
    for moved, (sign, style) in ((changes.risen, SIGNS["up"]), (changes.fallen, SIGNS["down"])):
        yield from (_moved(group, sign, style) for group in moved)


def _moved(group: Moved, sign: str, style: str) -> Text:
    rates = f"{100 * group.before:.0f} % → {100 * group.after:.0f} %"
    return Text.assemble((f"  {sign} ", style), one_line(group.id), (f"  {rates}", GREY))
