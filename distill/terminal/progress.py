"""Progress of long work: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
def progress() -> Iterator[ReportProgress]:
    """A callable ``(stage, advance, total)`` that draws; a stage appears when it is first named."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        lines = _PlainLines()
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
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], advance=advance, total=total)

        yield report


class _PlainLines:
    """At most one line per stage every few seconds, and one when a stage ends."""

    def __init__(self) -> None:
        self._done: dict[str, tuple[int, int | None]] = {}
        self._started: dict[str, float] = {}
        self._printed: dict[str, tuple[float, int]] = {}
        self._console = stderr()

    def report(self, stage: str, advance: int, total: int | None) -> None:
        now = time.monotonic()
        self._started.setdefault(stage, now)
        done = self._done.get(stage, (0, None))[0] + advance
        self._done[stage] = (done, total)
        last_time, _ = self._printed.setdefault(stage, (now, -1))
        if (total is not None and done >= total) or now - last_time >= PLAIN_INTERVAL_SECONDS:
            self._print(stage, now)

    def close(self) -> None:
        """Print the last state of every stage that was not printed at its end."""
        for stage in self._done:
            self._print(stage, time.monotonic())

    def _print(self, stage: str, now: float) -> None:
        done, total = self._done[stage]
        if self._printed[stage][1] == done:
            return
        self._printed[stage] = (now, done)
        share = f"/{total:,}" if total is not None else ""
        self._console.print(f"{stage}: {done:,}{share}  {now - self._started[stage]:.0f} s")
