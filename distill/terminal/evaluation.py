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
    from distill.evals.tally import Part

OF_MODELS = ("accuracy", "95 % interval", "read flexibly", "problems", "no answer", "unverified")
"""What is shown of each of several models; the rest is in their reports."""


def show_evaluated(reports: Sequence[Report], folder: Path, *, as_json: bool = False) -> None:
    """What a model did on each benchmark; ends with where the reports are."""
    if as_json:
        return print_json([_without_problems(report) for report in reports])
    from distill.evals.means import mean_lines
    from distill.evals.safety_sources import asks_to_refuse

    if len({report.label for report in reports}) > 1:
        for name in dict.fromkeys(report.name for report in reports):
            stdout().print(_models_table([report for report in reports if report.name == name]))
    else:
        stdout().print(_benchmarks_table(reports))
        for report in reports:
            if report.parts:
                stdout().print(_parts_table(report))
    for line in mean_lines([report for report in reports if not asks_to_refuse(report)]):
        stdout().print(line, markup=False, highlight=False)
    asked = [report.name for report in reports if asks_to_refuse(report)]
    if asked:
        stdout().print(f"[dim]{escape(_about_refusals(asked, folder))}[/]")
    for report in reports:
        _show_left_out(report)
    return stderr().print(f"reports: {folder}", markup=False)


def _about_refusals(names: Sequence[str], folder: Path) -> str:
    from distill.evals.safety_judges import REFUSAL_AGREEMENT
    from distill.terminal.safety import agreement_text

    return (
        f"{', '.join(dict.fromkeys(names))}: accuracy is the share that refuses what is harmful and answers what is "
        f"not, by words alone, which agree with people on {agreement_text(REFUSAL_AGREEMENT)}. "
        f"Safety ratio and over-refusal: distill safety {folder}"
    )


def _benchmarks_table(reports: Sequence[Report]) -> Table:
    """One model: a column for each benchmark."""
    label, model = reports[0].label, reports[0].model
    origin = f"  [dim]{escape(model)}[/]" if model != label else ""
    table = Table(title=f"[bold]{escape(label)}[/]{origin}", title_justify="left")
    table.add_column("")
    for report in reports:
        table.add_column(escape(report.name), justify="right")
    for line, cells in _lines(reports):
        if any(cells):
            table.add_row(line, *cells)
    return table


def _models_table(reports: Sequence[Report]) -> Table:
    """Several models on one benchmark: a row for each."""
    table = Table(title=f"[bold]{escape(reports[0].name)}[/]", title_justify="left")
    table.add_column("model", overflow="fold")
    shown = [(line, cells) for line, cells in _lines(reports) if line in OF_MODELS or line.startswith("by ")]
    shown = [(line, cells) for line, cells in shown if any(cells)]
    for line, _ in shown:
        table.add_column(line, justify="right")
    for number, report in enumerate(reports):
        table.add_row(escape(report.label), *(cells[number] for _, cells in shown))
    return table


def _parts_table(report: Report) -> Table:
    table = Table(title=f"{escape(report.label)}, {escape(report.name)} by {escape(report.by)}", title_justify="left")
    for name in (escape(report.by), "problems", "accuracy", "95 % interval"):
        table.add_column(name, justify="left" if name == report.by else "right")
    for part in report.parts:
        table.add_row(escape(part.name), f"{part.num_problems:,}", percent(part.accuracy), interval(part))
    table.add_section()
    table.add_row("mean of these", "", percent(report.macro_accuracy or 0.0), "")
    table.add_row("all problems", f"{report.num_problems:,}", percent(report.accuracy), interval(report))
    return table


def _show_left_out(report: Report) -> None:
    """The first rows that do not count, and the golds that nobody can read."""
    for rejected in report.rejected[:5]:
        stderr().print(
            f"[yellow]left out[/] {escape(report.name)} row {rejected.row} {escape(rejected.id)}: "
            f"{escape(rejected.reason)}"
        )
    for problem_id, reason in list(report.unverifiable.items())[:5]:
        gold = f"the gold of {escape(problem_id)} cannot be verified: {escape(reason)}"
        stderr().print(f"[yellow]unverified[/] {escape(report.name)} {gold}")


def _lines(reports: Sequence[Report]) -> list[tuple[str, list[str]]]:
    many = [k for k in reports[0].pass_at_k if k > 1]
    rules = dict.fromkeys(rule for report in reports for rule in report.rules)
    return [
        ("accuracy", [f"[bold]{percent(report.accuracy)}[/]" for report in reports]),
        ("95 % interval", [interval(report) for report in reports]),
        *(
            (f"pass@{k}", [percent(report.pass_at_k[k]) if k in report.pass_at_k else "" for report in reports])
            for k in many
        ),
        *(
            (f"maj@{k}", [percent(report.majority_at_k[k]) if k in report.majority_at_k else "" for report in reports])
            for k in many
            if k > 2  # two votes decide next to nothing
        ),
        (
            "read flexibly",
            [percent(report.flexible_accuracy) if report.flexible_accuracy is not None else "" for report in reports],
        ),
        (
            "that have a solution",
            [percent(report.solvable_accuracy) if report.solvable_accuracy is not None else "" for report in reports],
        ),
        *((f"by '{rule}'", [_by_rule(report, rule) for report in reports]) for rule in rules),
        ("problems", [f"{report.num_problems:,}" for report in reports]),
        ("no answer", [_of_texts(report, percent(report.no_answer_rate)) for report in reports]),
        ("truncated", [_of_texts(report, percent(report.truncation_rate)) for report in reports]),
        ("unverified", [str(report.unverified) if report.unverified else "" for report in reports]),
        ("golds unread", [str(len(report.unverifiable)) if report.unverifiable else "" for report in reports]),
        ("tokens, correct", [_of_texts(report, number(report.mean_tokens.correct)) for report in reports]),
        ("tokens, incorrect", [_of_texts(report, number(report.mean_tokens.incorrect)) for report in reports]),
        ("verbosity ratio", [_of_texts(report, number(report.verbosity_ratio, 2)) for report in reports]),
        ("repeated phrases", [_of_texts(report, number(report.degeneracy.all, 2)) for report in reports]),
        ("well-formed", [_of_texts(report, percent(report.template.well_formed)) for report in reports]),
        ("unanswered", [str(report.unanswered) if report.unanswered else "" for report in reports]),
        ("left out", [str(len(report.rejected)) if report.rejected else "" for report in reports]),
        ("not in the file", [f"{report.absent:,}" if report.absent else "" for report in reports]),
        ("CPU seconds", [number(report.cpu_seconds) for report in reports]),
    ]


def _of_texts(report: Report, text: str) -> str:
    """What is said of completions; nothing where the model only chose among texts."""
    return "" if report.is_by_likelihood else text


def _by_rule(report: Report, rule: str) -> str:
    """Accuracy by somebody else's rule, and about how many completions it says something else than we do."""
    if rule not in report.rules:
        return ""
    result = report.rules[rule]
    return f"{percent(result.accuracy)}, {result.disagreements:,} differ"


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


def interval(report: Report | Part) -> str:
    """The interval of an accuracy, in percent."""
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
    yield _wide_table(comparison) if len(comparison.benchmarks) <= MAX_COLUMNS else _long_table(comparison)
    yield Text(_footnote(comparison), style="dim")


MAX_COLUMNS = 2
"""Benchmarks side by side; more do not fit into a terminal, and stand below one another."""


def _wide_table(comparison: Comparison) -> Table:
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
    return table


def _long_table(comparison: Comparison) -> Table:
    table = Table(
        title=f"accuracy in % (95 % interval) and difference from [bold]{escape(comparison.baseline)}[/]",
        title_justify="left",
    )
    table.add_column("benchmark", overflow="fold")
    table.add_column("model", overflow="fold")
    for name in ("accuracy", "difference", "tokens", "CPU s"):
        table.add_column(name, justify="right", no_wrap=True)
    for column, name in enumerate(comparison.benchmarks):
        found = [(row.label, cell) for row in comparison.rows if (cell := row.cells[column]) is not None]
        for place, (label, cell) in enumerate(found):
            costs = number(cell.mean_tokens.all), number(cell.cpu_seconds, 0)
            table.add_row("" if place else escape(name), f"[bold]{escape(label)}[/]", *_compared(cell), *costs)
        table.add_section()
    return table


def _compared(cell: Cell | None) -> tuple[str, str]:
    if cell is None:
        return "", ""
    low, high = 100 * cell.interval.low, 100 * cell.interval.high
    accuracy = f"{100 * cell.accuracy:.1f} ({low:.1f}–{high:.1f})"
    if cell.difference is None:
        return accuracy, ""
    style = "bold" if cell.difference.verdict == "beyond chance" else "dim"
    star = "*" if cell.difference.holds_in_table else ""
    return accuracy, f"[{style}]{100 * cell.difference.difference:+.1f}{star} {_p(cell.difference.p)}[/]"


def _p(p: float) -> str:
    return "p<0.001" if p < 0.001 else f"p={p:.3f}"


def _footnote(comparison: Comparison) -> str:
    problems = sorted({cell.num_problems for row in comparison.rows for cell in row.cells if cell is not None})
    counts = " or ".join(f"{count:,}" for count in problems)
    lines = [
        f"{counts} problems each, paired by problem; bold = beyond chance at p < 0.05, "
        "* = even as one of all the differences in this table (Holm)",
        f"tokens: mean length on {comparison.benchmarks[0]}; CPU s: training + evaluation"
        if len(comparison.benchmarks) <= MAX_COLUMNS
        else "tokens: mean length; CPU s: of the evaluation",
        *comparison.notes,
    ]
    return "\n".join(lines)
