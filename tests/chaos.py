"""Real processes that are killed, and looks at what curations leave: for tests and for ``benchmarks/chaos.py``.

Evaluations (``evals_chaos``) and trainings (``train_chaos``) are killed by the same loop.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from tests.curate_parts import data_bytes, write_jsonl
from tests.replay_server import ReplayServer

SHARD = "00000-of-00001"
WAIT_SECONDS = 120.0
State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Trial:
    """A curation of problems that are told apart by their number, in a folder of its own."""

    problems: Path
    out: Path
    sets: Mapping[str, Any]
    """Fields of the recipe."""

    @property
    def command(self) -> list[str]:
        """What a terminal would be told."""
        sets = [option for name, value in self.sets.items() for option in ("--set", f"{name}={value}")]
        return [sys.executable, "-m", "distill", "curate", str(self.problems), "--out", str(self.out), *sets]

    @contextmanager
    def started(self, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """The command as a process; what it says is appended to a file beside the run."""
        with self.said_path.open("ab") as said, started(self.command, stdout=said, stderr=said, **options) as process:
            yield process

    def finish(self, **options: Any) -> int:
        """Run the command to its end; returns its exit status."""
        with self.started(**options) as process:
            return process.wait(WAIT_SECONDS)

    @property
    def said_path(self) -> Path:
        return self.out.with_name(self.out.name + ".said")

    @property
    def said(self) -> str:
        """What all sessions have said so far."""
        return self.said_path.read_text("utf-8") if self.said_path.exists() else ""

    def stage(self, name: str) -> Path:
        """The folder of a stage."""
        return self.out / name / SHARD

    def stored(self, stage: str = "completions") -> Counter[str]:
        """Ids of the rows that a new session will find, each as often as it finds it: the parts win over the log."""
        parts = sorted(self.stage(stage).glob("part-*.parquet"))
        found = Counter(each for part in parts for each in pq.read_table(part, columns=["id"])["id"].to_pylist())
        log = self.stage(stage) / "wal.jsonl"
        logged = Counter(
            row["id"] for line in (log.read_bytes().split(b"\n") if log.exists() else []) if (row := _row(line))
        )
        return found + Counter({each: count for each, count in logged.items() if each not in found})

    def errors(self) -> dict[str, str]:
        """Problems without a group in the last session, each with the reason."""
        path = self.stage("completions") / "errors.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return {row["id"]: row["reason"] for row in map(json.loads, lines)}

    def dataset(self) -> dict[str, list[Any]]:
        """Some columns of the dataset."""
        names = ["id", "completions", "drop_reason"]
        tables = [
            pa.ipc.open_stream(path).read_all().select(names)
            for path in sorted((self.out / "dataset").glob("data-*.arrow"))
        ]
        return pa.concat_tables(tables).to_pydict()

    def bytes(self) -> list[bytes]:
        """The dataset's data files."""
        return data_bytes(self.out)


def numbered_problems(folder: Path, number: int) -> Path:
    """Problems whose ids are numbers that stand in their questions too."""
    rows = (
        {"id": str(index), "question": f"What is {index * index} plus 1? (item {index})", "answer": str(index**2 + 1)}
        for index in range(number)
    )
    return write_jsonl(folder / "problems.jsonl", rows)


def asked(server: ReplayServer) -> Counter[str]:
    """How many completions were asked of a server for each problem."""
    counts: Counter[str] = Counter()
    for prompt, number in list(server.stats.by_prompt.items()):
        found = re.search(r"\(item (\d+)\)", prompt)
        assert found is not None
        counts[found[1]] += number
    return counts


@contextmanager
def started(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command as a process of one thread that ends here at the latest."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def run_with_kills(
    start: Callable[[], AbstractContextManager[subprocess.Popen[bytes]]],
    moments: Iterator[Callable[[], bool]],
    look: Callable[[], State],
    check: Callable[[State], int],
) -> list[int]:
    """Run a command to its end, killed at each moment that comes, one a process.

    Args:
        look: what stands there, before each process is started.
        check: given that after each kill; raises where something is lost, and returns the number to be kept.

    Returns:
        What ``check`` returned after each kill.
    """
    kept: list[int] = []
    while True:
        before, moment = look(), next(moments, None)
        with start() as process:
            if moment is None or not kill_when(process, moment, math.inf):
                status = process.wait()
                assert status == 0, f"after {len(kept)} kills a process ended with {status}"
                return kept
        kept.append(check(before))


def kill(trial: Trial, happened: Callable[[], bool]) -> bool:
    """Start a run and kill it as soon as something has happened; False where it came to its end before."""
    with trial.started() as process:
        return kill_when(process, happened)


def kill_when(process: subprocess.Popen[bytes], happened: Callable[[], bool], seconds: float = WAIT_SECONDS) -> bool:
    """Kill a process as soon as something has happened; False where it came to its end before."""
    wait(process, happened, seconds)
    if process.poll() is not None:
        return False
    process.kill()
    return process.wait() == -signal.SIGKILL


def wait(process: subprocess.Popen[bytes], happened: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Return when something has happened, or the process has ended; fail when neither has after these seconds."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not happened():
        assert time.monotonic() < deadline
        time.sleep(0.0005)


def after(seconds: float) -> Callable[[], bool]:
    """Happens so many seconds from now."""
    moment = time.monotonic() + seconds
    return lambda: time.monotonic() >= moment


@dataclass(frozen=True, slots=True)
class Kept:
    """What stood in a run before a session, to be compared with what stands there after it."""

    stored: Counter[str]
    asked: Counter[str]


def look(trial: Trial, server: ReplayServer) -> Kept:
    """What stands in a run, and what its server was asked so far."""
    return Kept(trial.stored(), asked(server))


def check_session(before: Kept, trial: Trial, server: ReplayServer, in_flight: int) -> int:
    """Check what a killed session has left; returns how many groups it will cost again.

    No finished group is lost or asked for again, none is stored twice, and what was begun and is not stored was in
    flight.
    """
    now = look(trial, server)
    lost = before.stored - now.stored
    assert not lost, f"lost: {sorted(lost)}"
    twice = [each for each, count in now.stored.items() if count > 1]
    assert not twice, f"stored twice: {twice}"
    begun = now.asked - before.asked
    again = begun.keys() & before.stored.keys()
    assert not again, f"finished, and asked for again: {sorted(again)}"
    repeated = begun.keys() - now.stored.keys()
    most = in_flight + max(1, in_flight // 4) if in_flight else 0  # some wait for the caller to take them
    assert len(repeated) <= most, f"{len(repeated)} groups were begun for nothing"
    assert "Traceback" not in trial.said, trial.said
    return len(repeated)


def _row(line: bytes) -> dict[str, Any] | None:
    """The row of a line of the log; a torn one is none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
