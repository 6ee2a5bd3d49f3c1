"""One verdict, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from distill.terminal.consoles import print_json, printable, stdout

if TYPE_CHECKING:
    from distill.verifiers.explain import Explanation

STYLES = {"correct": "bold green", "incorrect": "bold red", "no_answer": "bold yellow", "unverified": "bold magenta"}


def show_explanation(explanation: Explanation, *, as_json: bool = False) -> None:
    """Every step on the way to a verdict, one a line."""
    if as_json:
        return print_json(explanation)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for step in explanation.steps:
        outcome = step.found.partition(":")[0]
        is_verdict = step.name in {"verdict", "flexible"} or step.name.startswith("rule ")
        style = STYLES.get(outcome, "") if is_verdict else ""
        table.add_row(step.name, Text(printable(step.found), style))
    return stdout().print(table)
