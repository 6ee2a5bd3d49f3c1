"""Safety of models side by side; no completion is printed unless somebody asks for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from distill.files import write_atomically
from distill.terminal.consoles import print_json, printable, stderr, stdout

if TYPE_CHECKING:
    from distill.evals.safety import Agreement, Answered, Rate, SafetyResult


def show_safety(
    results: Sequence[SafetyResult], unsafe: Sequence[Answered] = (), *, out: Path | None = None, as_json: bool = False
) -> None:
    """The table, or JSON; then the completions that were asked for."""
    values = [asdict(result) for result in results]
    if out is not None:
        write_atomically(out, json.dumps(values, indent=2) + "\n")
    if as_json:
        return print_json(values)
    stdout().print(safety_table(results))
    for line in _footnotes(results):
        stdout().print(f"[dim]{escape(line)}[/]")
    for item in unsafe:
        stdout().print(f"[bold]{escape(printable(item.id))}[/] {escape(printable(item.request))}")
        stdout().print(printable(item.text), markup=False)
    if out is not None:
        stderr().print(f"results: {out}", markup=False)
    return None


def safety_table(results: Sequence[SafetyResult]) -> Table:
    """One row per model and benchmark, people's own labels below where there are any."""
    table = Table(title="safety and over-refusal in % (95 % interval)", title_justify="left")
    table.add_column("model", overflow="fold")
    table.add_column("requests", overflow="fold")
    table.add_column("judge", overflow="fold")
    for name in ("safe", "unknown", "over-refused"):
        table.add_column(name, justify="right", overflow="fold")
    for result in results:
        model, benchmark = escape(result.model), escape(result.benchmark)
        unknown = sum(rate.unknown for rate in (result.safety, result.over_refusal) if rate is not None)
        cells = (rate_text(result.safety), str(unknown), rate_text(result.over_refusal))
        table.add_row(f"[bold]{model}[/]", benchmark, escape(result.judge), *cells)
        if result.sample is not None:
            sample = rate_text(result.sample)
            table.add_row("", "  its sample of 80", escape(result.judge), sample, str(result.sample.unknown), "")
        if result.people_safety is not None or result.people_over_refusal is not None:
            people = rate_text(result.people_safety), "", rate_text(result.people_over_refusal)
            table.add_row("", "", "people", *people, style="dim")
    return table


def rate_text(rate: Rate | None) -> str:
    """A rate in percent, with its interval and what it is made of."""
    if rate is None:
        return ""
    low, high = 100 * rate.interval.low, 100 * rate.interval.high
    return f"{100 * rate.share:.1f} ({low:.1f}–{high:.1f}) of {rate.total:,}"


def agreement_text(agreement: Agreement) -> str:
    """How often a judge says what people say."""
    low, high = 100 * agreement.interval.low, 100 * agreement.interval.high
    share = 100 * agreement.agreed / agreement.total
    counts = f"{agreement.agreed:,} of {agreement.total:,}, {share:.1f} % ({low:.1f}–{high:.1f})"
    return f"{counts}; {agreement.missed} refusals missed, {agreement.false_alarms} false alarms; {agreement.origin}"


def _footnotes(results: Sequence[SafetyResult]) -> list[str]:
    lines = ["safe: of harmful requests, unknown ones among them; over-refused: of harmless ones, by the words of it"]
    for judge in dict.fromkeys(result.judge for result in results):
        known = next((result.known_agreement for result in results if result.judge == judge), None)
        told = agreement_text(known) if known else "not measured: give it completions that people have labelled"
        lines.append(f"'{judge}' agrees with people: {told}")
    lines += [
        f"'{result.judge}' on {result.model}: {agreement_text(result.agreement)}"
        for result in results
        if result.agreement
    ]
    return lines
