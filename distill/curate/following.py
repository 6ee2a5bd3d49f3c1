"""Following the tasks of an executor from outside, by the files that they leave in the run's folder."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from distill.curate import Progress
from distill.curate.cut import Shard
from distill.curate.shard_task import Outcome, read_outcome
from distill.curate.watch import Snapshot, read_shards, together
from distill.files import is_held

LOOK_SECONDS = 0.5
LOOK_SHARE = 20
"""Looking at a run reads all its events; it is done for at most this small a part of the time."""


class Following:
    """One session of an executor: what its shards have done, and which of them are over.

    Args:
        run: the run's folder.
        shards: those of the session.
        total: problems of the whole run.
        progress: called with (stage, advance, total).
        show: called with a snapshot of all shards together.
    """

    def __init__(
        self, run: Path, shards: Sequence[Shard], total: int, progress: Progress, show: Callable[[Snapshot], None]
    ) -> None:
        self.run = run
        self.total = total
        self.finished = 0
        """Groups that were durable at the last look, those of earlier sessions too."""
        self._shards = shards
        self._progress, self._show = progress, show
        self._began, self._clock = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        self._next_look = 0.0

    def look(self, *, at_once: bool = False) -> None:
        """Report what has changed, unless that was done a moment ago."""
        now = time.monotonic()
        if now < self._next_look and not at_once:
            return
        snapshot = together(read_shards(self.run), self.total, since=self._began, seconds=now - self._clock)
        self._progress("sampling", snapshot.finished - self.finished, self.total)
        self.finished = snapshot.finished
        self._show(snapshot)
        self._next_look = now + max(LOOK_SECONDS, LOOK_SHARE * (time.monotonic() - now))

    def is_over(self) -> bool:
        """True when every task has ended, those too that were lost: datatrove's pool would wait for them for ever."""
        for shard in self._shards:
            outcome = read_outcome(self.run, shard)
            if outcome is None or (outcome.state == "running" and not self._is_lost(shard, outcome)):
                return False
        return True

    def failures(self) -> Iterator[tuple[Shard, Outcome]]:
        """The tasks that have not come to a good end."""
        for shard in self._shards:
            outcome = read_outcome(self.run, shard)
            if outcome is None:
                yield shard, Outcome("failed", "", launcher=0, error="its task was never begun")
            elif outcome.state == "running":
                yield shard, replace(outcome, state="failed", error="the process that waited for its end was killed")
            elif outcome.state in ("failed", "stopped"):
                yield shard, outcome

    def workers(self) -> Iterator[int]:
        """The processes of this machine that work on shards."""
        for shard in self._shards:
            outcome = read_outcome(self.run, shard)
            if outcome and outcome.state == "running" and outcome.worker and outcome.host == platform.node():
                yield outcome.worker

    def is_at_work(self) -> bool:
        """True while a process works on any of the shards."""
        folders = [self.run / "completions" / shard.name for shard in self._shards]
        return any(folder.is_dir() and is_held(folder) for folder in folders)

    def _is_lost(self, shard: Shard, outcome: Outcome) -> bool:
        """Who waited for the shard's process is gone without a word, and so is that process."""
        if outcome.host != platform.node() or _is_alive(outcome.launcher):
            return False
        return not is_held(self.run / "completions" / shard.name)


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
