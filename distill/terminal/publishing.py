"""What was written for others, and what stands on the Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from distill.terminal.consoles import print_json, stderr, stdout

if TYPE_CHECKING:
    from distill.publish.export import ExportResult
    from distill.publish.hub import PublishResult


def show_exported(result: ExportResult, *, as_json: bool = False) -> None:
    """What 'distill export' wrote."""
    if as_json:
        return print_json(result)
    counts, console = result.counts, stdout()
    console.print(
        f"[bold]{counts.rows:,}[/] rows of [bold]{counts.groups:,}[/] kept groups, {_size(result.bytes)}: "
        f"{escape(result.out)}"
    )
    if counts.groups_not_kept:
        console.print(f"  [dim]{counts.groups_not_kept:,} groups were dropped by curation[/]")
    for reason, number in counts.skipped.items():
        console.print(f"  [dim]{number:,} groups left out: {escape(reason)}[/]")
    return console.print(f'read it: load_dataset("{escape(result.out)}", split="train")', highlight=False)


def show_published(result: PublishResult, *, as_json: bool = False) -> None:
    """What 'distill publish' put on the Hub; of a dry run the card on stdout, what would be sent on stderr."""
    if as_json:
        return print_json(result)
    console = stdout()
    if result.url is None:
        print(result.card)
        console = stderr()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(justify="right")
    for path, size in result.files.items():
        table.add_row(_size(size), escape(path))
    console.print(table)
    for note in result.notes:
        console.print(f"[yellow]note:[/] {escape(note)}")
    if result.url is None:
        return console.print("[dim]nothing was sent[/]")
    state = "private" if result.private else "public"
    return console.print(f"{state}: {escape(result.url)}, commit {escape((result.commit or '')[:12])}")


def _size(count: float) -> str:
    """Bytes in a unit of which there are less than a thousand.

    >>> _size(999), _size(3_400_000)
    ('999 B', '3.4 MB')
    """
    units = ["B", "kB", "MB", "GB"]
    while count >= 1000 and len(units) > 1:
        count, units = count / 1000, units[1:]
    return f"{count:,.0f} B" if units[0] == "B" else f"{count:,.1f} {units[0]}"
