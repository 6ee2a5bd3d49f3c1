"""Scoring a run anew: other rewards for the same completions."""

from __future__ import annotations

import pytest

from distill.config import (
    AdvantagesConfig,
    RewardPartConfig,
    RewardsConfig,
    VerifierConfig,
)
from distill.curate.dataset import open_dataset
from distill.curate.pipeline import curate_dataset, score_run
from distill.curate.run_dir import read_config
from distill.errors import DistillError
from tests.curate_parts import (
    SCRIPTED,
    ScriptedBackend,
    data_bytes,
    recorded_config,
    scripted,
)


@pytest.fixture(autouse=True)
def script():
    ScriptedBackend.script()


@pytest.fixture
def recorded(tmp_path):
    return recorded_config(tmp_path)


def test_scoring_anew_changes_rewards_and_leaves_completions_alone(tmp_path):
    curate_dataset(SCRIPTED, tmp_path)
    shard = tmp_path / "completions" / "00000-of-00001"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in shard.iterdir()}
    old = dict(open_dataset(tmp_path)[3])
    ScriptedBackend.script()
    rewards = RewardsConfig(parts={"cosine": RewardPartConfig(weight=1.0, options={"preset": "yeo"})})
    changed = scripted(rewards=rewards, filters=(), advantages=AdvantagesConfig(ddof=0))
    result = score_run(tmp_path, changed)
    assert ScriptedBackend.asked == []
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in shard.iterdir()} == before
    new = open_dataset(tmp_path)[3]
    assert new["completions"] == old["completions"]
    assert new["rewards"][0] == pytest.approx(2.0, abs=1e-3)  # yeo: 2 at length 0, and 10 of 2048 tokens is near it
    assert new["run_id"] != old["run_id"]
    assert "reward_format" not in new
    assert result.stats.dropped == {}
    assert read_config(tmp_path) == changed
    curate_dataset(changed, tmp_path, resume="always")  # the run is now one of these settings
    with pytest.raises(DistillError, match=r"scores\.filters") as caught:
        curate_dataset(SCRIPTED, tmp_path)
    assert "distill score" in caught.value.hint


def test_scoring_anew_needs_no_source(tmp_path, recorded):
    run = tmp_path / "run"
    curate_dataset(recorded, run)
    for name in ("problems.jsonl", "completions.jsonl"):
        (tmp_path / name).unlink()
    result = score_run(run, recorded.model_copy(update={"verifier": VerifierConfig(markers=("idea",))}))
    assert result.stats.groups == 4


def test_interrupted_scoring_leaves_the_old_scores_whole(tmp_path):
    curate_dataset(SCRIPTED, tmp_path)
    before = data_bytes(tmp_path), (tmp_path / "scores" / "00000-of-00001" / "part-000000.parquet").read_bytes()

    def interrupt(stage: str, advance: int, total: int | None) -> None:
        if stage == "scoring" and advance:
            raise KeyboardInterrupt

    changed = scripted(filters=())
    with pytest.raises(KeyboardInterrupt):
        score_run(tmp_path, changed, progress=interrupt)
    after = data_bytes(tmp_path), (tmp_path / "scores" / "00000-of-00001" / "part-000000.parquet").read_bytes()
    assert after == before
    assert read_config(tmp_path) == SCRIPTED
    curate_dataset(SCRIPTED, tmp_path)
    assert score_run(tmp_path, changed).stats.dropped == {}


def test_scoring_anew_cannot_change_what_was_sampled(tmp_path):
    curate_dataset(SCRIPTED, tmp_path)
    with pytest.raises(DistillError, match=r"'seed' was 0 .* cannot become 1"):
        score_run(tmp_path, scripted(seed=1))
    elsewhere = SCRIPTED.teacher.model_copy(update={"device": "cpu", "groups_in_flight": 2})
    assert score_run(tmp_path, scripted(teacher=elsewhere)).stats.groups == 10


def test_an_unfinished_run_can_be_scored_for_a_first_look(tmp_path):
    ScriptedBackend.script(interrupt_after=6)
    with pytest.raises(KeyboardInterrupt):
        curate_dataset(SCRIPTED, tmp_path)
    result = score_run(tmp_path)
    assert (result.stats.groups, result.unsampled) == (6, 4)
    ScriptedBackend.script()
    assert curate_dataset(SCRIPTED, tmp_path).stats.groups == 10


def test_a_folder_without_a_run_cannot_be_scored(tmp_path):
    with pytest.raises(DistillError, match="holds no curation run"):
        score_run(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
