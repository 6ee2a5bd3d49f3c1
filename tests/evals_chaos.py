"""kill -9 of real evaluations, resumed each time, and what must hold after every kill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos import run_with_kills, started

REPOSITORY = Path(__file__).parents[1]
TIMES = ("cpu_seconds", "wall_seconds")


@dataclass(frozen=True, slots=True)
class Trial:
    """An evaluation of the tiny student on the stories and on their harder cousins, in a folder of its own."""

    out: Path
    limit: int
    """Problems of each of the two benchmarks."""

    def started(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """``distill eval`` in a process of its own."""
        sets = ("sampling.num_completions=2", "sampling.temperature=1", "groups_in_flight=8", "device=cpu")
        command = [sys.executable, "-m", "distill", "eval", "tiny-student", "-b", "arithmetic", "-b", "arithmetic:ood"]
        command += ["--limit", str(self.limit), "--out", str(self.out), "--json"]
        command += [option for value in sets for option in ("--set", value)]
        return started(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stored(self) -> list[dict[str, Any]]:
        """The judged groups whose lines are whole, of both benchmarks, without what they took."""
        lines = [line for path in self._files() for line in path.read_bytes().split(b"\n")[:-1]]
        return [_untimed(json.loads(line)) for line in lines]

    def num_stored(self) -> int:
        """How many lines are whole."""
        return sum(path.read_bytes().count(b"\n") for path in self._files())

    def reports(self) -> list[dict[str, Any]]:
        """The reports, without what they took."""
        return [_untimed(json.loads(path.read_text("utf-8"))) for path in sorted(self.out.glob("*/report.json"))]

    def is_reporting(self) -> bool:
        """True while a report is written."""
        return any(self.out.glob("*/report.json.tmp"))

    def _files(self) -> list[Path]:
        return sorted(self.out.glob("*/completions.jsonl"))


def evaluate_with_kills(trial: Trial, moments: Iterator[Callable[[Trial], bool]]) -> list[int]:
    """Evaluate to the end, killed at each moment that comes, one a process; groups stored at each kill."""
    happened = (partial(moment, trial) for moment in moments)
    return run_with_kills(trial.started, happened, trial.stored, partial(_check, trial))


def same_evaluation(whole: Trial, killed: Trial) -> None:
    """Raise unless both came to the same reports out of the same completions and verdicts."""
    assert len(whole.reports()) == 2
    assert killed.reports() == whole.reports()
    ours, theirs = ({row["id"]: row for row in trial.stored()} for trial in (killed, whole))
    assert ours == theirs
    assert len(killed.stored()) == len(theirs) == 2 * whole.limit, "a problem was stored twice"


def after(number: int, seconds: float) -> Callable[[Trial], bool]:
    """True once so many groups are stored and this time has passed since."""
    reached: list[float] = []

    def happened(trial: Trial) -> bool:
        if not reached and trial.num_stored() >= number:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() >= reached[0] + seconds

    return happened


def _check(trial: Trial, before: list[dict[str, Any]]) -> int:
    """Nothing that was stored is lost, changed or stored again; returns how many groups are stored."""
    rows = trial.stored()
    stored = {row["id"]: row for row in rows}
    assert len(stored) == len(rows), "a problem was stored twice"
    assert all(stored.get(row["id"]) == row for row in before), "a stored group was lost or changed"
    return len(rows)


def _untimed(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in TIMES}
