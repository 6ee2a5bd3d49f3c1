"""Watching a run: what a session counts, what another process can tell of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.curate import watch as watch_module
from distill.curate.cut import Shard
from distill.curate.pipeline import curate_dataset, run_shard
from distill.curate.watch import ShardStatus, Snapshot, Watch, read_status, together
from distill.errors import DistillError
from tests.curate_parts import SCRIPTED, ScriptedBackend, make_group, make_scores


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def events(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]


def test_a_snapshot_tells_what_is_in_flight_and_how_long_it_waits(tmp_path: Path) -> None:
    clock, shown = Clock(), []
    watch = Watch(tmp_path / "events.jsonl", shown.append, clock)
    watch.begin(stored=2, total=10)
    groups = [make_group(index) for index in range(4)]
    handed_out = watch.handed_out(group.problem for group in groups)
    next(handed_out)
    clock.now += 5
    next(handed_out), next(handed_out)
    watch.returned(groups[1])
    clock.now += 5
    watch.tokens(300)
    snapshot = watch.snapshot()
    assert (snapshot.in_flight, snapshot.oldest_seconds) == (2, 10.0)  # groups 0 and 2; 0 is the older
    assert (snapshot.finished, snapshot.sampled, snapshot.completions) == (3, 1, 4)
    assert snapshot.tokens_per_second == 30.0
    assert snapshot.seconds_left == 70.0  # 7 are left, one took 10 s
    assert shown[-1] == snapshot


def test_rewards_and_kept_groups_are_counted(tmp_path: Path) -> None:
    watch = Watch(tmp_path / "events.jsonl", lambda _: None, Clock())
    scores = [make_scores(make_group(index)) for index in range(3)]  # the third is dropped
    for scored in scores:
        watch.scored(scored)
    rewards = [reward for scored in scores for reward in scored.rewards if reward is not None]
    snapshot = watch.snapshot()
    assert (snapshot.scored, snapshot.kept) == (3, 2)
    assert snapshot.reward_mean == pytest.approx(sum(rewards) / len(rewards))


def test_a_snapshot_is_written_every_few_seconds_not_every_group(tmp_path: Path) -> None:
    clock = Clock()
    watch = Watch(tmp_path / "events.jsonl", lambda _: None, clock)
    for _ in range(100):
        clock.now += 1
        watch.tokens(1)
    assert len(events(tmp_path)) == 100 // watch_module.EVENT_SECONDS


def test_a_finished_run_says_so(tmp_path: Path) -> None:
    curate_dataset(SCRIPTED, tmp_path)
    status = read_status(tmp_path)
    (shard,) = status.shards
    assert (shard.name, shard.state, shard.is_held, shard.errors) == ("", "done", False, {})
    assert isinstance(status.total, Snapshot)
    assert (status.total.finished, status.total.total, status.total.in_flight) == (10, 10, 0)
    assert status.total.scored == 10


def test_a_stopped_run_says_so_and_a_later_session_counts_on(tmp_path: Path) -> None:
    ScriptedBackend.script(interrupt_after=4)
    with pytest.raises(KeyboardInterrupt):
        curate_dataset(SCRIPTED, tmp_path)
    assert read_status(tmp_path).shards[0].state == "stopped"
    ScriptedBackend.script()
    curate_dataset(SCRIPTED, tmp_path)
    status = read_status(tmp_path)
    assert status.shards[0].state == "done"
    assert (status.total.finished, status.total.sampled) == (10, 6)


def test_events_torn_by_a_crash_are_passed_over(tmp_path: Path) -> None:
    curate_dataset(SCRIPTED, tmp_path)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-01-01T00:00:00", "ev\xff')
    assert read_status(tmp_path).shards[0].state == "done"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match="holds no curation run"):
        read_status(tmp_path)
    (tmp_path / "run.json").write_text("{}", "utf-8")
    (tmp_path / "metrics.jsonl").write_text("", "utf-8")
    with pytest.raises(DistillError, match="is a training run"):
        read_status(tmp_path)


def shard_at(last_event: str, seconds: float, tokens: int, name: str = "00000-of-00002") -> ShardStatus:
    snapshot = Snapshot(5, 2, 2, 0, 0, 0.0, 2, 1, 1.0, 8, tokens, seconds)
    return ShardStatus(name, False, "done", f"2026-01-01T{last_event}+00:00", snapshot, {})


@pytest.mark.parametrize(
    ("sessions", "seconds"),
    [
        ([("10:01:00", 60)], 60),
        ([("10:01:00", 60), ("10:01:30", 60)], 90),  # half of the second beside the first
        ([("10:01:00", 60), ("10:00:50", 20)], 60),  # inside it
        ([("10:01:00", 60), ("10:02:00", 60)], 120),  # one after the other
        ([("10:01:00", 60), ("18:00:00", 60)], 120),  # the time in between is nobody's
    ],
)
def test_shards_are_as_fast_as_the_time_in_which_one_of_them_was_at_work(
    sessions: list[tuple[str, float]], seconds: float
) -> None:
    shards = [shard_at(last_event, lasted, 600) for last_event, lasted in sessions]
    snapshot = together(shards, 20)
    assert (snapshot.seconds, snapshot.total) == (seconds, 20)
    assert snapshot.tokens_per_second == 600 * len(sessions) / seconds


def test_a_run_that_is_cut_has_the_problems_of_shards_too_that_have_not_begun(tmp_path: Path) -> None:
    run_shard(SCRIPTED, tmp_path, Shard(0, 3))
    status = read_status(tmp_path)
    assert status.total is not None
    assert status.total.total == 10
    assert 0 < status.total.finished < 10
