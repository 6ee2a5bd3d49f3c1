"""Groups of a dataset as a table: one line each."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich.text import Text

from distill.printable import one_line
from distill.terminal.charts import bar
from distill.terminal.colours import BLUE, GREY
from distill.terminal.consoles import print_json, stdout
from distill.terminal.dataset import signed

if TYPE_CHECKING:
    from distill.curate.group_list import GroupList

SOLVED_WIDTH = 8
FIXED = 42
"""Columns of all cells but id and question."""
LONGEST_ID, LONGEST_VALUE = 28, 12
OWN = {"id", "num_correct", "num_completions", "pass_rate", "reward_mean", "reward_std", "tokens_mean", "drop_reason"}
"""Columns that have a place of their own."""


def show_group_list(found: GroupList, *, as_json: bool = False) -> None:
    """Groups in an order, one line each."""
    if as_json:
        return print_json(found)
    console = stdout()
    for line in group_list(found, console.width):
        console.print(line)
    return None


def group_list(found: GroupList, width: int) -> list[Text]:
    """The lines of a list for a terminal of so many columns."""
    order = f", by {found.sort.removeprefix('-')}{', largest first' if found.sort.startswith('-') else ''}"
    condition = f" where {one_line(found.where)}" if found.where else ""
    count = f"{len(found.groups):,} of {found.total:,} groups{condition}{order if found.sort else ''}"
    lines = [Text.assemble((one_line(found.path), "bold"), (f"  {count}", GREY)), Text()]
    by = found.sort.removeprefix("-")
    extra = by if by and by not in OWN else ""
    room = width - FIXED - (LONGEST_VALUE + 1 if extra else 0)
    names = [Text(one_line(str(group["id"]))) for group in found.groups]
    id_width = min(max([2, *(name.cell_len for name in names)]), LONGEST_ID, room)
    head = f"{'group':<{id_width}}  {'solved':<{SOLVED_WIDTH + 6}}{'reward':>7} {'±':>5} {'tokens':>7} "
    head += f"{extra:>{LONGEST_VALUE}.{LONGEST_VALUE}} " if extra else ""
    lines.append(Text(head + " question", style=GREY))
    lines[-1].truncate(width, overflow="ellipsis")
    for name, group in zip(names, found.groups, strict=True):
        name.truncate(id_width, overflow="ellipsis", pad=True)
        question = " ".join(one_line(group["question"]).split())
        reason = f"[{one_line(group['drop_reason'])}] " if group["drop_reason"] else ""
        line = Text.assemble(
            name,
            "  ",
            *_solved(group),
            f"{signed(group['reward_mean']):>7} {_number(group['reward_std'], 2):>5} ",
            f"{_number(group['tokens_mean'], 0):>7} ",
            f"{_value(group[extra]):>{LONGEST_VALUE}.{LONGEST_VALUE}} " if extra else "",
            (f" {reason}", GREY),
            question,
        )
        line.truncate(width, overflow="ellipsis")
        lines.append(line)
    if found.groups:
        command = shlex.join(["distill", "inspect", found.path, "--group", str(found.groups[0]["id"])])
        lines += [Text(), Text(f"one group in full: {one_line(command)}", style=GREY)]
    return lines


def _solved(group: dict[str, Any]) -> list[tuple[str, str]]:
    correct, size = group["num_correct"], group["num_completions"]
    drawn = bar(correct, size, SOLVED_WIDTH)
    return [(f"{correct:>2}/{size:<2} ", ""), (f"{drawn:<{SOLVED_WIDTH}} ", BLUE)]


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:,.3f}" if isinstance(value, float) else one_line(str(value))
