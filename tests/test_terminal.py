"""What is drawn: progress that a log file can hold, bars that keep their proportions."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from distill.evals.chance import Interval
from distill.evals.compare import Cell, Comparison, Difference, Row
from distill.evals.metrics import Means
from distill.terminal.charts import bar, sparkline
from distill.terminal.evaluation import comparison_table
from distill.terminal.progress import show_progress


def test_a_log_gets_one_line_when_a_stage_ends(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress() as report:
        for _ in range(100):
            report("sampling", 1, 100)
    assert [line.split("  ")[0] for line in capfd.readouterr().err.splitlines()] == ["sampling: 100/100"]


def test_a_log_gets_lines_in_between_when_time_passes(capfd: pytest.CaptureFixture[str]) -> None:
    clock = iter(range(0, 1000, 2))  # two seconds between any two looks at the clock
    with show_progress(lambda: next(clock)) as report:
        for _ in range(10):
            report("sampling", 1, 1000)
    # a line at the first look five seconds or more after the last one
    assert capfd.readouterr().err.splitlines() == [
        "sampling: 4/1,000  6 s",
        "sampling: 7/1,000  12 s",
        "sampling: 10/1,000  18 s",
    ]


def test_a_count_without_a_total_stands_on_the_lines_of_its_stage(capfd: pytest.CaptureFixture[str]) -> None:
    with show_progress() as report:
        report("sampling", 0, 2)
        report("sampling tokens", 500, None)
        report("sampling", 2, 2)
        report("scoring", 1, 1)
    sampling, scoring = capfd.readouterr().err.splitlines()
    assert ", 500 tokens (" in sampling
    assert "tokens" not in scoring


@pytest.mark.parametrize(("value", "width"), [(0, 0), (1, 1), (8, 8), (16, 16)])
def test_a_bar_is_as_long_as_its_share(value: int, width: int) -> None:
    assert len(bar(value, 16, 16)) == width


def test_a_comparison_loses_no_digit_on_a_terminal_of_80_columns() -> None:
    cell = Cell(
        accuracy=0.341,
        interval=Interval(0.312, 0.371),
        num_problems=1000,
        mean_tokens=Means(24.1, None, None),
        cpu_seconds=13.0,
        difference=Difference(1000, -0.126, Interval(-0.2, -0.1), 0.0004, "mcnemar", 1, 127),
    )
    rows = tuple(Row(label, label, 123.0, (cell, cell)) for label in ("tiny-student", "advdistill-with-a-long-name"))
    comparison = Comparison(("arithmetic:test", "arithmetic:ood"), rows, "tiny-student", ())
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    table, _ = comparison_table(comparison)
    with console.capture() as drawn:
        console.print(table)
    assert "…" not in drawn.get()
    assert max(map(len, drawn.get().splitlines())) <= 80


def test_more_benchmarks_than_fit_side_by_side_stand_below_one_another() -> None:
    certain = Difference(1000, 0.126, Interval(0.1, 0.2), 0.0004, "mcnemar", 127, 1, adjusted_p=0.002)
    known = Cell(0.341, Interval(0.312, 0.371), 1000, Means(24.1, None, None), 13.0, certain)
    slight = replace(known, difference=replace(certain, p=0.03, adjusted_p=0.09))
    rows = (
        Row("base", "base", None, (known, None, known)),
        Row("sft", "sft", 1.0, (known, known, slight)),
    )
    comparison = Comparison(("sums:test", "sums:ood", "bbh:test"), rows, "base", ())
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    table, _ = comparison_table(comparison)
    with console.capture() as drawn:
        console.print(table)
    lines = drawn.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("34.1 (31.2–37.1)" in line for line in lines) == 5
    [ood] = [line for line in lines if "sums:ood" in line]  # 'base' was not evaluated on it
    assert "sft" in ood
    assert "+12.6* p<0.001" in ood
    assert any("+12.6 p=0.030" in line for line in lines)  # beyond chance alone, not among the others


def test_the_smallest_count_is_still_seen() -> None:
    assert bar(1, 60_000, 28) == "▏"
    assert sparkline([0, 1, 60_000]) == " ▁█"
