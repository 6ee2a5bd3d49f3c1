"""The page: what is known of models on benchmarks, the most important first, every number with its interval."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import distill
from distill.evals.compare import Cell, Comparison, Difference
from distill.evals.metrics import Means
from distill.evals.page.content import Content, gather_content
from distill.evals.report import Report
from distill.evals.safety import Rate
from distill.files import write_atomically
from distill.page.document import document
from distill.page.plots import Dot, Point, curves, dot_plot, histogram, table
from distill.records import Outcome


@dataclass(frozen=True, slots=True)
class _Shown:
    """A report with what it is called and marked as on the whole page."""

    label: str
    marker: int
    report: Report


def write_page(path: Path, sources: Sequence[Path], baseline: str | None = None) -> None:
    """Write the page of these evaluations.

    Raises:
        DistillError: a source holds no report, or they cannot be compared.
    """
    write_atomically(path, render(gather_content(sources, baseline)))


def render(content: Content) -> str:
    """The whole page as text."""
    shown = {
        name: [
            _Shown(run.label, marker, run.reports[name])
            for marker, run in enumerate(content.runs)
            if name in run.reports
        ]
        for name in content.comparison.benchmarks
    }
    labels = [row.label for row in content.comparison.rows]
    title = labels[0] if len(labels) == 1 else f"{len(labels)} models compared with {content.comparison.baseline}"
    sections = [
        *_accuracy(content.comparison, shown, {result.benchmark for result in content.safety}),
        *_safety(content, labels),
        *_epochs(content, labels),
        *_parts(shown),
        *_lengths(shown),
        *_writing(shown),
        *_settings(shown),
    ]
    about = f"{', '.join(shown)}. Bars are 95 % intervals. distill {distill.__version__}."
    head = f'<h1>{escape(title)}</h1><p class="soft">{escape(about)}</p>\n'
    return document(title, head + "\n".join(sections) + "\n")


def _accuracy(comparison: Comparison, shown: dict[str, list[_Shown]], to_refuse: set[str]) -> Iterator[str]:
    yield "<h2>Accuracy</h2>"
    if to_refuse:
        names = ", ".join(name for name in shown if name in to_refuse)
        yield f'<p class="soft">On {escape(names)}: the share that refuses what is harmful and answers what is not.</p>'
    for column, name in enumerate(comparison.benchmarks):
        cells = {row.label: row.cells[column] for row in comparison.rows}
        yield f"<h3>{escape(name)}</h3>"
        yield dot_plot([_share_dot(item, cells[item.label]) for item in shown[name]], (0, 100))
        yield from _differences(comparison, shown[name], cells)
        yield from _of_k(shown[name])
    if comparison.notes:
        notes = "".join(f"<li>{escape(note)}</li>" for note in comparison.notes)
        yield f'<p class="soft">To be known before a difference is trusted:</p><ul class="soft">{notes}</ul>'


def _share_dot(item: _Shown, cell: Cell | None) -> Dot:
    report = item.report
    low, high = 100 * report.interval.low, 100 * report.interval.high
    text = f"{100 * report.accuracy:.1f} ({low:.1f}–{high:.1f}), n {cell.num_problems if cell else 0:,}"
    return Dot(item.label, item.marker, 100 * report.accuracy, low, high, text)


def _of_k(shown: Sequence[_Shown]) -> Iterator[str]:
    """pass@k and maj@k, where there are several completions of a problem."""
    several = [item for item in shown if item.report.pass_at_k]
    most = sorted({k for item in several for k in item.report.pass_at_k if k > 1})
    if most:
        rows = [
            [
                item.label,
                *(_percent(measured.get(k)) for measured in (report.pass_at_k, report.majority_at_k) for k in most),
            ]
            for item in several
            for report in (item.report,)
        ]
        yield table(["", *(f"{name}@{k}" for name in ("pass", "maj") for k in most)], rows)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _differences(comparison: Comparison, shown: Sequence[_Shown], cells: dict[str, Cell | None]) -> Iterator[str]:
    found = [
        (item, cell.difference)
        for item in shown
        if (cell := cells[item.label]) is not None and cell.difference is not None
    ]
    if not found:
        return
    dots = [
        Dot(
            item.label,
            item.marker,
            100 * difference.difference,
            100 * difference.interval.low,
            100 * difference.interval.high,
            f"{100 * difference.difference:+.1f}, {_verdict(difference)}",
        )
        for item, difference in found
    ]
    most = max(5.0, *(1.08 * abs(end) for dot in dots for end in (dot.low, dot.high)))
    tests = ", ".join(dict.fromkeys(difference.test for _, difference in found))
    yield (
        f'<p class="soft">Difference from {escape(comparison.baseline)} on the same problems, in points ({tests}). '
        "* is beyond chance even as one of all the differences on this page (Holm).</p>"
    )
    yield dot_plot(dots, (-most, most), "")


def _verdict(difference: Difference) -> str:
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    return f"{difference.verdict}{'*' if difference.holds_in_table else ''}, {p}"


SAFETY_RATES = (
    ("safe, of harmful requests", "safety"),
    ("safe, of the published sample of 80", "sample"),
    ("refused, of harmless requests (less is better)", "over_refusal"),
)


def _safety(content: Content, labels: Sequence[str]) -> Iterator[str]:
    if not content.safety:
        return
    known = next((result.known_agreement for result in content.safety), None)
    yield "<h2>Safety and over-refusal</h2>"
    if known is not None:
        low, high = 100 * known.interval.low, 100 * known.interval.high
        yield (
            "<p>By the words of the completions (judge <em>refusal</em>), which agrees with people on "
            f"{known.agreed:,} of {known.total:,} completions, {100 * known.agreed / known.total:.1f} % "
            f"({low:.1f}–{high:.1f}). What it cannot read is unknown, and not safe.</p>"
        )
    for name in dict.fromkeys(result.benchmark for result in content.safety):
        of_benchmark = [result for result in content.safety if result.benchmark == name]
        for heading, attribute in SAFETY_RATES:
            rates = ((result.model, getattr(result, attribute)) for result in of_benchmark)
            found = [(label, rate) for label, rate in rates if rate is not None]
            if found:
                yield f"<h3>{escape(name)}: {heading}</h3>"
                yield dot_plot([_rate_dot(label, labels.index(label), rate) for label, rate in found], (0, 100))


def _rate_dot(label: str, marker: int, rate: Rate) -> Dot:
    low, high = 100 * rate.interval.low, 100 * rate.interval.high
    unknown = f", {rate.unknown} unknown" if rate.unknown else ""
    text = f"{100 * rate.share:.1f} ({low:.1f}–{high:.1f}), n {rate.total:,}{unknown}"
    return Dot(label, marker, 100 * rate.share, low, high, text)


def _epochs(content: Content, labels: Sequence[str]) -> Iterator[str]:
    if not content.epochs:
        return
    yield "<h2>Over the epochs of training</h2>"
    yield '<p class="soft">Accuracy after each epoch; of requests to refuse it is the share that was refused.</p>'
    figures = []
    for name, by_label in content.epochs.items():
        series = [
            (
                label,
                labels.index(label),
                [Point(epoch, item.accuracy, item.interval.low, item.interval.high) for epoch, item in reports],
            )
            for label, reports in by_label.items()
        ]
        figures.append(f"<figure><figcaption>{escape(name)}</figcaption>{curves(series)}</figure>")
    yield f'<div class="plots">{"".join(figures)}</div>'


MAX_OPEN_PARTS = 6


def _parts(shown: dict[str, list[_Shown]]) -> Iterator[str]:
    """Accuracy by task or category, each with all models; folded away where those are many."""
    with_parts = {name: [item for item in items if item.report.parts] for name, items in shown.items()}
    for name, items in with_parts.items():
        if not items:
            continue
        yield f"<h2>{escape(name)} by {escape(items[0].report.by or 'part')}</h2>"
        if len(items) == 1:
            dots = [_part_dot(part.name, items[0], part.name) for part in items[0].report.parts]
            yield dot_plot([dot for dot in dots if dot is not None], (0, 100))
            continue
        names = dict.fromkeys(part.name for item in items for part in item.report.parts)
        yield f"<details{' open' if len(names) <= MAX_OPEN_PARTS else ''}><summary>{len(names)} parts</summary>"
        for part in names:
            dots = [_part_dot(item.label, item, part) for item in items]
            yield f"<h3>{escape(part)}</h3>"
            yield dot_plot([dot for dot in dots if dot is not None], (0, 100))
        yield "</details>"


def _part_dot(label: str, item: _Shown, name: str) -> Dot | None:
    part = next((part for part in item.report.parts if part.name == name), None)
    if part is None:
        return None
    low, high = 100 * part.interval.low, 100 * part.interval.high
    text = f"{100 * part.accuracy:.1f} ({low:.1f}–{high:.1f}), n {part.num_problems:,}"
    return Dot(label, item.marker, 100 * part.accuracy, low, high, text)


def _lengths(shown: dict[str, list[_Shown]]) -> Iterator[str]:
    yield "<h2>Lengths</h2>"
    yield (
        '<p class="soft">Tokens of a completion: correct ones filled and upwards, incorrect ones hollow and downwards; '
        "dashed lines are the means.</p>"
    )
    for name, items in shown.items():
        lengths = [(item, _by_outcome(item.report)) for item in items]
        longest = max((length for _, (right, wrong) in lengths for length in (*right, *wrong)), default=0)
        if longest > 0:
            yield f'<h3>{escape(name)}</h3><div class="plots">'
            for item, (right, wrong) in lengths:
                right_mean, wrong_mean = _apart(item.report.mean_tokens, 1)
                caption = f"{item.label}: on average {right_mean} correct, {wrong_mean} incorrect"
                plot = histogram(right, wrong, item.marker, longest)
                yield f"<figure><figcaption>{escape(caption)}</figcaption>{plot}</figure>"
            yield "</div>"


def _by_outcome(report: Report) -> tuple[list[int], list[int]]:
    """Known lengths of the correct completions, and of those that are wrong or without an answer."""
    pairs = [
        (outcome, length)
        for problem in report.problems
        for outcome, length in zip(problem.outcomes, problem.num_tokens, strict=True)
        if length >= 0 and outcome is not Outcome.UNVERIFIED
    ]
    right = [length for outcome, length in pairs if outcome is Outcome.CORRECT]
    return right, [length for outcome, length in pairs if outcome is not Outcome.CORRECT]


BEHAVIOUR = (
    "tokens, correct",
    "tokens, incorrect",
    "verbosity ratio",
    "repeated phrases, correct",
    "repeated phrases, incorrect",
    "3-grams repeated",
    "no answer",
    "truncated",
    "unverified",
    "think",
    "answer",
    "boxed",
    "well-formed",
)


def _writing(shown: dict[str, list[_Shown]]) -> Iterator[str]:
    yield "<h2>How the answers are written</h2>"
    yield (
        '<p class="soft">Verbosity ratio: mean tokens of incorrect over correct completions. Repeated phrases: '
        "how often a phrase comes again that stands three times in a row or more. Think to well-formed: share of "
        "completions with each part of the template, and with all of them.</p>"
    )
    for name, items in shown.items():
        yield f"<h3>{escape(name)}</h3>"
        columns = [_behaviour(item.report) for item in items]
        rows = [[measure, *values] for measure, *values in zip(BEHAVIOUR, *columns, strict=True)]
        yield table(["", *(item.label for item in items)], rows)


def _behaviour(report: Report) -> list[str]:
    """Parallel to ``BEHAVIOUR``."""
    template = report.template
    shares = (template.think, template.answer, template.boxed, template.well_formed)
    return [
        *_apart(report.mean_tokens, 1),
        _number(report.verbosity_ratio, 2),
        *_apart(report.degeneracy, 2),
        _number(report.ngram_repetition.all, 2),
        f"{report.no_answer_rate:.1%}",
        f"{report.truncation_rate:.1%}",
        str(report.unverified),
        *(f"{share:.1%}" for share in shares),
    ]


def _apart(means: Means, digits: int) -> tuple[str, str]:
    return _number(means.correct, digits), _number(means.incorrect, digits)


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _settings(shown: dict[str, list[_Shown]]) -> Iterator[str]:
    yield "<h2>How it was measured</h2>"
    for name, items in shown.items():
        for item in items:
            values = {"model": item.report.model, "settings": item.report.settings, "versions": item.report.versions}
            text = escape(json.dumps(values, indent=2, ensure_ascii=False))
            yield f"<details><summary>{escape(item.label)}, {escape(name)}</summary><pre>{text}</pre></details>"
