"""Watching a run: what a session has done so far, kept as JSON lines for machines and for other terminals."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from distill.curate import Progress
from distill.errors import DistillError
from distill.files import is_held
from distill.records import Group, GroupScores, Problem

SUMMED = ("sampled", "failed", "in_flight", "scored", "kept", "completions", "tokens")
EVENT_SECONDS = 10.0
"""Between two snapshots of a session at work."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at a session."""

    total: int
    """Problems of the run."""
    finished: int
    """Groups that are durable, those of earlier sessions too."""
    sampled: int
    """Groups of this session."""
    failed: int
    in_flight: int
    """Problems handed to the backend whose groups are not back."""
    oldest_seconds: float
    """How long the oldest of them has waited."""
    scored: int
    """In this session, as all that follow."""
    kept: int
    reward_mean: float | None
    """Over the rewarded completions."""
    completions: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Over the whole session, start-up included."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At the session's rate so far; None while there is none."""
        left = self.total - self.finished - self.failed
        return left * self.seconds / self.sampled if self.sampled else None


class Watch:
    """Counts what a session does; now and then, and at its end, a snapshot goes to the run's events and to ``show``.

    Args:
        path: the file of events.
        show: called with every snapshot, at most about once a second.
    """

    def __init__(
        self, path: Path, show: Callable[[Snapshot], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._show = show
        self._clock = clock
        self._started = self._shown = self._written = clock()
        self._waiting: dict[int, float] = {}
        self._counts = Counter[str]()
        self._reward_sum = 0.0
        self.total = 0
        self.stored = 0
        """Groups of earlier sessions."""

    def begin(self, stored: int, total: int) -> None:
        """The session has found so many groups of so many problems."""
        self.stored, self.total = stored, total
        self.event("begin", stored=stored, total=total, pid=os.getpid())

    def handed_out(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """The same problems; each counts as in flight from here on."""
        for problem in problems:
            self._waiting[problem.index] = self._clock()
            yield problem

    def tokens(self, number: int) -> None:
        """So many tokens more were sampled."""
        self._counts["tokens"] += number
        self._look()

    def returned(self, group: Group) -> None:
        """A group is back, whole or failed."""
        self._waiting.pop(group.problem.index, None)
        if group.error:
            self._counts["failed"] += 1
            self.event("error", id=group.problem.id, reason=group.error)
        else:
            self._counts["sampled"] += 1
            self._counts["completions"] += len(group.completions)
        self._look()

    def scored(self, scores: GroupScores) -> None:
        """A group has its scores."""
        rewards = [reward for reward in scores.rewards if reward is not None]
        self._counts.update(scored=1, kept=scores.kept, rewards=len(rewards))
        self._reward_sum += sum(rewards)
        self._look()

    def end(self, how: str) -> None:
        """The session ends: 'done', 'stopped', or an error's message."""
        self._write(how)
        self._show(self.snapshot())

    def snapshot(self) -> Snapshot:
        """Where the session stands."""
        now, counts = self._clock(), self._counts
        return Snapshot(
            total=self.total,
            finished=self.stored + counts["sampled"],
            sampled=counts["sampled"],
            failed=counts["failed"],
            in_flight=len(self._waiting),
            oldest_seconds=now - min(self._waiting.values(), default=now),
            scored=counts["scored"],
            kept=counts["kept"],
            reward_mean=self._reward_sum / counts["rewards"] if counts["rewards"] else None,
            completions=counts["completions"],
            tokens=counts["tokens"],
            seconds=now - self._started,
        )

    def event(self, kind: str, **values: Any) -> None:
        """One more line of the run's events."""
        moment = datetime.now(UTC).isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": moment, "event": kind, **values}) + "\n")

    def _look(self) -> None:
        now = self._clock()
        if now - self._shown >= 1:
            self._shown = now
            self._show(self.snapshot())
        if now - self._written >= EVENT_SECONDS:
            self._write("working")

    def _write(self, state: str) -> None:
        self._written = self._clock()
        self.event("snapshot", state=state, **asdict(self.snapshot()))


@dataclass(frozen=True, slots=True)
class Session:
    """What a session at work tells, and is told."""

    progress: Progress
    watch: Watch
    stopped: Callable[[], bool]
    """Once true, no further problem is begun; those in flight are finished."""


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """What the events of one shard tell, or those of a run that is not cut."""

    name: str
    is_held: bool
    """A process works on it."""
    state: str
    """Of the last snapshot: 'working', 'done', 'stopped' or an error's message; empty before the first."""
    last_event: str
    """When the last line was written, in UTC."""
    snapshot: Snapshot | None
    errors: dict[str, int]
    """Reason -> problems, of the latest session."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What can be told of a run from outside."""

    run: str
    shards: tuple[ShardStatus, ...]
    """One when the run is not cut."""
    total: Snapshot | None
    """All shards together."""


def read_status(run: Path) -> RunStatus:
    """How a run stands, from its files alone: any process may ask, at any time.

    Raises:
        DistillError: the folder holds no run.
    """
    if (run / "metrics.jsonl").is_file():
        raise DistillError(f"'{run}' is a training run, not a curation run", hint="'distill plot' draws how it stands")
    if not (run / "run.json").is_file():
        raise DistillError(f"'{run}' holds no curation run", hint="expected the folder that 'distill curate' writes")
    shards = read_shards(run)
    known = [shard.snapshot for shard in shards if shard.snapshot]
    if not known or (len(shards) == 1 and not shards[0].name):
        return RunStatus(str(run), shards, known[0] if known else None)
    return RunStatus(str(run), shards, together(shards, _number_of_problems(run, known)))


def read_shards(run: Path) -> tuple[ShardStatus, ...]:
    """How the shards of a run stand that have begun; one where it is not cut."""
    return tuple(_shard_status(run, path) for path in sorted(run.glob("events*.jsonl")))


def read_notes(run: Path) -> list[str]:
    """What backends had to say of a run's sessions, such as that seeds do not repeat a completion there."""
    events = (event for path in run.glob("events*.jsonl") for event in _events(path))
    notes = {str(event.get("text")) for event in events if event["event"] == "note"}
    return sorted(notes)


def _shard_status(run: Path, path: Path) -> ShardStatus:
    name = path.stem.removeprefix("events").removeprefix("-")
    last: dict[str, Any] = {}
    snapshot: dict[str, Any] = {}
    errors = Counter[str]()
    for event in _events(path):
        last = event
        if event["event"] == "begin":
            errors.clear()
        elif event["event"] == "error":
            errors[str(event["reason"]).partition(":")[0]] += 1
        elif event["event"] == "snapshot":
            snapshot = event
    fields = {field: snapshot[field] for field in Snapshot.__slots__ if field in snapshot}
    return ShardStatus(
        name=name,
        is_held=is_held(run / "completions" / name if name else run),
        state=snapshot.get("state", ""),
        last_event=last.get("time", ""),
        snapshot=Snapshot(**fields) if snapshot else None,
        errors=dict(errors.most_common()),
    )


def together(shards: Sequence[ShardStatus], total: int, *, since: str = "", seconds: float | None = None) -> Snapshot:
    """All shards in one snapshot; what only a session knows comes from those that have said something since.

    Args:
        total: problems of the whole run.
        since: when the session began that is looked at, as events say it; empty takes the last one of every shard.
        seconds: how long it has lasted; None counts the time in which any of the shards' sessions was at work.
    """
    every = [shard.snapshot for shard in shards if shard.snapshot]
    own = [(shard, shard.snapshot) for shard in shards if shard.snapshot and shard.last_event >= since]
    rewarded = [(each.reward_mean, each.scored) for _, each in own if each.reward_mean is not None]
    weight = sum(scored for _, scored in rewarded)
    return Snapshot(
        total=total,
        finished=sum(each.finished for each in every),
        oldest_seconds=max((each.oldest_seconds for _, each in own), default=0.0),
        reward_mean=sum(mean * scored for mean, scored in rewarded) / weight if weight else None,
        seconds=_seconds_at_work(own) if seconds is None else seconds,
        **{name: sum(getattr(each, name) for _, each in own) for name in SUMMED},
    )


def _seconds_at_work(sessions: Sequence[tuple[ShardStatus, Snapshot]]) -> float:
    """Seconds in which at least one of the sessions was at work: they may overlap, or follow one another."""
    ends = [(datetime.fromisoformat(shard.last_event).timestamp(), snapshot.seconds) for shard, snapshot in sessions]
    total, reached = 0.0, float("-inf")
    for begin, end in sorted((end - seconds, end) for end, seconds in ends):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def _number_of_problems(run: Path, known: Iterable[Snapshot]) -> int:
    """Problems of a run that is cut: its list counts those of shards, too, that have not begun."""
    from distill.curate.preparation import stored_problems

    path = run / "problems.parquet"
    return len(stored_problems(path).indices) if path.exists() else sum(each.total for each in known)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The events of a file that somebody may be writing: a torn line is none."""
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and "event" in event:
                yield event
