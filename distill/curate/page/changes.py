"""The page of two datasets: what changed, and the same charts of both beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from distill.curate.changes import Changes, change_lines, changes_headline, largest_share
from distill.curate.page.page import figures, text
from distill.curate.page.style import STYLE
from distill.files import write_atomically
from distill.page.document import document
from distill.page.plots import table
from distill.printable import printable


def write_changes(path: Path, changes: Changes) -> None:
    """Write the page of a comparison."""
    write_atomically(path, render_changes(changes))


def render_changes(changes: Changes) -> str:
    """The whole page as text."""
    names = [printable(stats.path) for stats in (changes.before, changes.after)]
    where = f" Where {changes.before.where}." if changes.before.where else ""
    rows = [[printable(line.name), line.before, line.after, line.change] for line in change_lines(changes)]
    body = [
        f"<h1>{escape(names[0])} and {escape(names[1])}</h1>",
        f'<p class="soft">A is {escape(names[0])}, B is {escape(names[1])}.{text(where)}</p>',
        f'<p class="headline">{text(changes_headline(changes))}</p>',
        table(["", "A", "B", "change"], rows),
        *_moved(changes),
        *_charts(changes),
    ]
    return document(f"{names[0]} and {names[1]}", "\n".join(body), style=STYLE)


def _moved(changes: Changes) -> Iterator[str]:
    if changes.common:
        yield f"<h2>{changes.common:,} groups in both</h2>"
        yield (
            f"<p>{changes.solved_more:,} are solved more often, {changes.solved_less:,} less often; "
            f"{changes.newly_kept:,} are kept now and were not, {changes.newly_dropped:,} are dropped now.</p>"
        )
        rows = [
            [printable(group.id), f"{100 * group.before:.0f} %", f"{100 * group.after:.0f} %"]
            for group in (*changes.risen, *changes.fallen)
        ]
        if rows:
            yield table(["group", "solved in A", "in B"], rows)


def _charts(changes: Changes) -> Iterator[str]:
    yield "<h2>The same charts of both</h2>"
    both = (changes.before, changes.after)
    scale = max(largest_share(stats) for stats in both)
    left, right = (figures(stats, before, scale) for stats, before in zip(both, ("A: ", "B: "), strict=True))
    for question in dict.fromkeys([*left, *right]):
        pair = [charts.get(question, "<figure></figure>") for charts in (left, right)]
        yield f'<div class="both charts-of-two">{"".join(pair)}</div>'
