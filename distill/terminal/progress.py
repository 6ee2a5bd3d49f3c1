"""Progress of long work: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from distill.terminal.consoles import stderr

ReportProgress = Callable[[str, int, int | None], None]
PLAIN_INTERVAL_SECONDS = 5.0


@contextmanager
def show_progress(clock: Callable[[], float] = time.monotonic) -> Iterator[ReportProgress]:
    """A callable ``(stage, advance, total)`` that draws; a stage appears when it is first named."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        lines = _PlainLines(clock)
        yield lines.report
        lines.close()


@contextmanager
def _bars() -> Iterator[ReportProgress]:
    columns = (
        SpinnerColumn(finished_text="[green]✓[/]"),
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=stderr()) as bars:

        def report(stage: str, advance: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(escape(stage), total=total)
            bars.update(tasks[stage], advance=advance, total=total)

        yield report
        for task in bars.tasks:
            if task.total is None:  # a mere count is complete when the work is
                bars.update(task.id, total=task.completed)


class _PlainLines:
    """At most one line per stage every few seconds, and one when a stage ends.

    A count without a total has no end to wait for: "sampling tokens" stands at the end of the lines of "sampling".
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._done: dict[str, int] = {}
        self._totals: dict[str, int | None] = {}
        self._started: dict[str, float] = {}
        self._printed: dict[str, tuple[float, int]] = {}
        self._console = stderr()

    def report(self, stage: str, advance: int, total: int | None) -> None:
        now = self._clock()
        self._started.setdefault(stage, now)
        self._done[stage] = done = self._done.get(stage, 0) + advance
        self._totals[stage] = total
        last_time, _ = self._printed.setdefault(stage, (now, -1))
        if total is not None and (done >= total or now - last_time >= PLAIN_INTERVAL_SECONDS):
            self._print(stage, now)

    def close(self) -> None:
        """Print the last state of every stage that was not printed at its end."""
        for stage, total in self._totals.items():
            if total is not None:
                self._print(stage, self._clock())

    def _print(self, stage: str, now: float) -> None:
        done = self._done[stage]
        if self._printed[stage][1] == done:
            return
        self._printed[stage] = (now, done)
        line = f"{stage}: {done:,}/{self._totals[stage]:,}  {now - self._started[stage]:.0f} s"
        self._console.print(line + self._counts(stage, now), markup=False)

    def _counts(self, stage: str, now: float) -> str:
        """The counts that belong to a stage, with their rate."""
        texts = []
        for name, total in self._totals.items():
            owner, _, what = name.rpartition(" ")
            if total is None and owner == stage:
                seconds = max(now - self._started[name], 1e-9)
                texts.append(f", {self._done[name]:,} {what} ({self._done[name] / seconds:,.0f}/s)")
        return "".join(texts)
