"""Lists: data cards, registered parts, the machine's health."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from distill import registry
from distill.terminal.consoles import print_json, stdout

if TYPE_CHECKING:
    from distill.cards import Card
    from distill.doctor import Check

ROOM_FOR_ORIGIN = 100
"""Columns of a terminal below which a list of cards leaves out where they come from; '--json' has it."""
STATUS_STYLE = {"ok": "[green]✓ ok[/]", "warning": "[yellow]! warning[/]", "failed": "[red]✗ failed[/]"}


def show_registry(kind: str, *, as_json: bool = False) -> None:
    """The registered parts of a kind, each with the first sentence of its docstring."""
    rows = [
        {"name": name, "target": target, "what": _first_sentence(registry.load(kind, name))}
        for name, target in registry.REGISTRY[kind].items()
    ]
    if as_json:
        return print_json(rows)
    table = Table(
        "name", "what", "function", title=f"{kind} [dim](or your own: pkg.module:function)[/]", title_justify="left"
    )
    for row in rows:
        table.add_row(f"[bold]{row['name']}[/]", escape(row["what"]), f"[dim]{row['target']}[/]")
    return stdout().print(table)


def _first_sentence(part: object) -> str:
    return (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")


def show_cards(cards: Sequence[Card], *, as_json: bool = False) -> None:
    """The data cards: where they come from, their splits, verifier and licence, and whether the Hub was ever asked."""
    if as_json:
        return print_json([card.model_dump(mode="json") for card in cards])
    console = stdout()
    columns = ["name", "verifier", "checked", "splits", "licence"]
    if console.width >= ROOM_FOR_ORIGIN:
        columns.append("from")
    table = Table()
    for column in columns:
        table.add_column(column, no_wrap=column in {"name", "verifier", "checked"}, overflow="fold")
    for card in cards:
        splits = ", ".join(f"{name} {split.size:,}" if split.size else name for name, split in card.splits.items())
        # a commit id is shown as git shows it
        origin = (
            f"{card.hub.id}@{card.hub.revision[:7]}" if card.hub else "built in" if card.generator else "local file"
        )
        checked = "–" if card.hub is None else "[green]yes[/]" if card.checked else "[yellow]no[/]"
        row = (f"[bold]{card.name}[/]", card.verifier.kind, checked, splits, card.licence, f"[dim]{origin}[/]")
        table.add_row(*row[: len(columns)])
    console.print(table)
    if any(card.hub and not card.checked for card in cards):
        console.print(
            "[dim]checked: no = never loaded from the Hub by us; 'distill doctor --cards' tries (needs network)[/]"
        )
    return None


def show_checks(checks: Sequence[Check], *, as_json: bool = False) -> None:
    """What 'distill doctor' found."""
    if as_json:
        return print_json(list(checks))
    table = Table("check", "status", "found", show_lines=False)
    for check in checks:
        advice = f"\n[bold]→[/] {escape(check.hint)}" if check.hint else ""
        table.add_row(check.name, STATUS_STYLE[check.status], escape(check.detail) + advice)
    return stdout().print(table)
