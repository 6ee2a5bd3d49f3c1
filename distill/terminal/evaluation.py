"""Reports of evaluations, one by one and side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from distill.terminal.consoles import print_json, stderr, stdout

if TYPE_CHECKING:
    from distill.evals.compare import Cell, Comparison
    from distill.evals.report import Report


def show_evaluated(reports: Sequence[Report], folder: Path, *, as_json: bool = False) -> None:
    """What a model did on each benchmark; ends with where the reports are."""
    if as_json:
        return print_json([_without_problems(report) for report in reports])
    label, model = reports[0].label, reports[0].model
    origin = f"  [dim]{escape(model)}[/]" if model != label else ""
    table = Table(title=f"[bold]{escape(label)}[/]{origin}", title_justify="left")
    table.add_column("")
    for report in reports:
        table.add_column(escape(report.name), justify="right")
    for line, cells in _lines(reports):
        if any(cells):
            table.add_row(line, *cells)
    stdout().print(table)
    for report in reports:
        for rejected in report.rejected[:5]:
            stderr().print(
                f"[yellow]left out[/] {escape(report.name)} row {rejected.row} {escape(rejected.id)}: {rejected.reason}"
            )
        for problem_id, reason in list(report.unverifiable.items())[:5]:
            gold = f"the gold of {escape(problem_id)} cannot be verified: {escape(reason)}"
            stderr().print(f"[yellow]unverified[/] {escape(report.name)} {gold}")
    return stderr().print(f"reports: {folder}", markup=False)


def _lines(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    many = [k for k in reports[0].pass_at_k if k > 1]
    return [
        ("accuracy", [f"[bold]{percent(report.accuracy)}[/]" for report in reports]),
        ("95 % interval", [interval(report) for report in reports]),
        *(
            (f"pass@{k}", [percent(report.pass_at_k[k]) if k in report.pass_at_k else "" for report in reports])
            for k in many
        ),
        ("problems", [f"{report.num_problems:,}" for report in reports]),
        ("no answer", [percent(report.no_answer_rate) for report in reports]),
        ("truncated", [percent(report.truncation_rate) for report in reports]),
        ("unverified", [str(report.unverified) if report.unverified else "" for report in reports]),
        ("golds unread", [str(len(report.unverifiable)) if report.unverifiable else "" for report in reports]),
        ("tokens, correct", [number(report.mean_tokens.correct) for report in reports]),
        ("tokens, incorrect", [number(report.mean_tokens.incorrect) for report in reports]),
        ("verbosity ratio", [number(report.verbosity_ratio, 2) for report in reports]),
        ("repeated phrases", [number(report.degeneracy.all, 2) for report in reports]),
        ("well-formed", [percent(report.template.well_formed) for report in reports]),
        ("unanswered", [str(report.unanswered) if report.unanswered else "" for report in reports]),
        ("left out", [str(len(report.rejected)) if report.rejected else "" for report in reports]),
        ("CPU seconds", [number(report.cpu_seconds) for report in reports]),
    ]


def _without_problems(report: Report) -> dict[str, object]:
    import dataclasses

    values = dataclasses.asdict(report)
    del values["problems"]
    return values


def percent(value: float) -> str:
    """A share as people read it.

    >>> percent(0.612)
    '61.2 %'
    """
    return f"{100 * value:.1f} %"


def interval(report: Report) -> str:
    """The interval of a report's accuracy, in percent."""
    return f"{100 * report.interval.low:.1f} – {100 * report.interval.high:.1f}"


def number(value: float | None, digits: int = 1) -> str:
    """A number, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def show_comparison(comparison: Comparison, *, as_json: bool = False) -> None:
    """Models side by side; a difference from the baseline that is beyond chance is bold."""
    if as_json:
        return print_json(comparison.to_json())
    console = stdout()
    for renderable in comparison_table(comparison):
        console.print(renderable)
    return None


def comparison_table(comparison: Comparison) -> Iterator[RenderableType]:
    """The table of a comparison and what has to be known to read it."""
    table = Table(
        title=f"accuracy in % (95 % interval) and difference from [bold]{escape(comparison.baseline)}[/]",
        title_justify="left",
    )
    # On a narrow terminal a cell is folded: a number that ends in '…' says nothing.
    table.add_column("model", overflow="fold")
    for name in comparison.benchmarks:
        table.add_column(escape(name), justify="right", overflow="fold")
        table.add_column("difference", justify="right", overflow="fold")
    table.add_column("tokens", justify="right", no_wrap=True)
    table.add_column("CPU s", justify="right", no_wrap=True)
    for row in comparison.rows:
        known = [cell for cell in row.cells if cell is not None]
        cells = [text for cell in row.cells for text in _compared(cell)]
        tokens = number(known[0].mean_tokens.all) if known else "–"
        train, evaluation = number(row.train_cpu_seconds, 0), number(sum(cell.cpu_seconds for cell in known), 0)
        table.add_row(f"[bold]{escape(row.label)}[/]", *cells, tokens, f"{train} + {evaluation}")
    yield table
    yield Text(_footnote(comparison), style="dim")


def _compared(cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return "", ""
    low, high = 100 * cell.interval.low, 100 * cell.interval.high
    accuracy = f"{100 * cell.accuracy:.1f} ({low:.1f}–{high:.1f})"
    if cell.difference is None:
        return accuracy, ""
    style = "bold" if cell.difference.verdict == "beyond chance" else "dim"
    return accuracy, f"[{style}]{100 * cell.difference.difference:+.1f} {_p(cell.difference.p)}[/]"


def _p(p: float) -> str:
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


def _footnote(comparison: Comparison) -> str:
    problems = sorted({cell.num_problems for row in comparison.rows for cell in row.cells if cell is not None})
    counts = " or ".join(f"{count:,}" for count in problems)
    lines = [
        f"{counts} problems each, paired by problem; bold = beyond chance at p < 0.05",
        f"tokens: mean length on {comparison.benchmarks[0]}; CPU s: training + evaluation",
        *comparison.notes,
    ]
    return "\n".join(lines)
