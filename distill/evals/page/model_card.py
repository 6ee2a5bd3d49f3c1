"""Results for a model card: Markdown to paste into a README, with intervals, safety and what they do not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import distill
from distill.evals.chance import Interval
from distill.evals.compare import Difference
from distill.evals.page.content import Content, gather_content
from distill.evals.report import Report
from distill.evals.safety import Rate
from distill.files import write_atomically


def write_model_card(path: Path, sources: Sequence[Path], baseline: str | None = None) -> None:
    """Write the fragment about these evaluations.

    Raises:
        DistillError: a source holds no report, or they cannot be compared.
    """
    write_atomically(path, model_card(gather_content(sources, baseline)))


def model_card(content: Content) -> str:
    """The fragment as text: a section 'Evaluation' whose headings are of the second and third level."""
    version = plain(distill.__version__)
    lines = [
        "## Evaluation",
        "",
        f"Measured with [distill](https://pypi.org/project/distill-reasoning/) {version}; in brackets 95 % intervals.",
        "",
        *_results(content),
        *_safety(content),
        "### What these numbers do not say",
        "",
        *(f"- {line}" for line in _limits(content)),
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    r"""A text that Markdown and HTML leave as it is, in one line.

    >>> plain("a|b <img src=x> `c`"), plain("two\nlines [x](javascript:y)")
    ('a\\|b \\<img src=x\\> \\`c\\`', 'two lines \\[x\\]\\(javascript:y\\)')
    """
    return re.sub(r"([\\`*_{}\[\]()<>#|!&~])", r"\\\1", " ".join(text.split()))


def _results(content: Content) -> Iterator[str]:
    comparison = content.comparison
    yield "| benchmark | model | accuracy, % | problems | difference | tokens | truncated |"
    yield "| --- | --- | ---: | ---: | --- | ---: | ---: |"
    for column, name in enumerate(comparison.benchmarks):
        for run, row in zip(content.runs, comparison.rows, strict=True):
            cell = row.cells[column]
            if cell is not None:
                report = run.reports[name]
                tokens = "–" if cell.mean_tokens.all is None else f"{cell.mean_tokens.all:,.0f}"
                accuracy, difference = percent(cell.accuracy, cell.interval), _difference(cell.difference)
                cells = (plain(name), plain(row.label), accuracy, f"{cell.num_problems:,}", difference, tokens)
                yield f"| {' | '.join(cells)} | {report.truncation_rate:.1%} |"
    yield ""
    if len(comparison.rows) > 1:
        yield (
            f"Differences are in points from {plain(comparison.baseline)}, on the same problems; \\* is beyond chance "
            "even as one of all that are shown (Holm)."
        )
        yield ""


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return ""
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    star = "\\*" if difference.holds_in_table else ""
    p = "p < 0.001" if difference.p < 0.001 else f"p = {difference.p:.3f}"
    return f"{100 * difference.difference:+.1f} ({low:+.1f} to {high:+.1f}), {difference.verdict}{star}, {p}"


def _safety(content: Content) -> Iterator[str]:
    if not content.safety:
        return
    yield "### Safety"
    yield ""
    yield "| requests | model | safe, % of harmful | of the sample of 80 | refused, % of harmless | unknown |"
    yield "| --- | --- | ---: | ---: | ---: | ---: |"
    for result in content.safety:
        rates = (result.safety, result.sample, result.over_refusal)
        unknown = sum(rate.unknown for rate in (result.safety, result.over_refusal) if rate is not None)
        cells = (plain(result.benchmark), plain(result.model), *map(_rate, rates), str(unknown))
        yield f"| {' | '.join(cells)} |"
    known = content.safety[0].known_agreement
    yield ""
    if known is not None:
        yield (
            f"Judged by the words of a refusal, which agrees with people on {known.agreed:,} of {known.total:,} "
            f"labelled completions, in percent {percent(known.agreed / known.total, known.interval)}; what it cannot "
            "read is unknown, and not safe."
        )
        yield ""


def _limits(content: Content) -> Iterator[str]:
    reports = [report for run in content.runs for report in run.reports.values()]
    most = max(report.completions_per_problem for report in reports)
    yield from dict.fromkeys(_sampling(report) for report in reports)
    yield f"One training run each, {most} completion{'s' if most > 1 else ''} a problem: other seeds would move them."
    yield "Whether the problems stood in the data that the base model was trained on is not known."
    yield from (plain(note) for note in content.comparison.notes)
    for label, report in ((run.label, report) for run in content.runs for report in run.reports.values()):
        yield from (f"{plain(report.name)}, {plain(label)}: {said}" for said in _left_out(report))
    if content.safety:
        yield "A refusal is recognised by English words; a harmful answer without one and a harmless one look the same."
    else:
        yield "Safety was not measured."


def _sampling(report: Report) -> str:
    sampling = report.settings.get("sampling", {})
    drawn = ", ".join(f"{plain(name.replace('_', ' '))} {value}" for name, value in sampling.items())
    return f"They hold for how it was sampled: {drawn or 'not known, the completions were recorded elsewhere'}."


def _left_out(report: Report) -> Iterator[str]:
    if report.rejected:
        yield f"{len(report.rejected):,} rows of the benchmark could not be read and do not count."
    if report.unverified:
        yield f"{report.unverified:,} completions could not be verified and count as not correct."
    if report.unanswered:
        yield f"{report.unanswered:,} problems have no completion and count as not correct."


def percent(share: float, interval: Interval) -> str:
    """A share in percent with its interval.

    >>> percent(0.5, Interval(0.25, 0.75))
    '50.0 (25.0–75.0)'
    """
    return f"{100 * share:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def _rate(rate: Rate | None) -> str:
    return "" if rate is None else percent(rate.share, rate.interval)
