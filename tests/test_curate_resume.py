"""Going on with a run: what survives an interruption or a kill, and what is never done twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill.config import (
    CurateConfig,
    RewardPartConfig,
    RewardsConfig,
    SamplingConfig,
    SourceConfig,
    TeacherConfig,
)
from distill.curate.dataset import load_groups, open_dataset
from distill.curate.pipeline import curate_dataset
from distill.errors import DistillError
from tests.curate_parts import (
    SCRIPTED,
    ScriptedBackend,
    data_bytes,
    scripted,
    stored_ids,
)
from tests.tiny import save_tiny


@pytest.fixture(autouse=True)
def script():
    ScriptedBackend.script()


def limited(limit):
    return scripted(source=SourceConfig(name="arithmetic", limit=limit))


def test_the_same_call_again_samples_nothing_and_changes_nothing(tmp_path):
    curate_dataset(SCRIPTED, tmp_path)
    kept = ("dataset", "completions/00000-of-00001/DONE", "scores/00000-of-00001/DONE", "problems.parquet")
    before = [(tmp_path / name).stat().st_ino for name in kept]
    ScriptedBackend.script()
    result = curate_dataset(SCRIPTED, tmp_path)
    assert ScriptedBackend.asked == []
    assert [(tmp_path / name).stat().st_ino for name in kept] == before
    assert result.stats.groups == 10


@pytest.mark.parametrize("after", [0, 1, 7])
def test_an_interrupted_run_goes_on_to_the_same_dataset(tmp_path, after):
    curate_dataset(SCRIPTED, tmp_path / "whole")
    ScriptedBackend.script(interrupt_after=after)
    with pytest.raises(KeyboardInterrupt, match=f"{after} of 10 groups are safe"):
        curate_dataset(SCRIPTED, tmp_path / "run")
    finished = list(ScriptedBackend.asked)
    assert stored_ids(tmp_path / "run") == finished
    ScriptedBackend.script()
    curate_dataset(SCRIPTED, tmp_path / "run")
    assert len(ScriptedBackend.asked) == 10 - after
    assert not set(ScriptedBackend.asked) & set(finished)
    assert data_bytes(tmp_path / "run") == data_bytes(tmp_path / "whole")


@pytest.mark.parametrize("missing", ["dataset", "scores", "completions/00000-of-00001/DONE", "problems.parquet"])
def test_a_stage_that_is_lost_is_made_again_without_sampling(tmp_path, missing):
    curate_dataset(SCRIPTED, tmp_path)
    before = data_bytes(tmp_path)
    path = tmp_path / missing
    path.rename(path.with_name("lost"))
    ScriptedBackend.script()
    curate_dataset(SCRIPTED, tmp_path)
    assert ScriptedBackend.asked == []
    assert data_bytes(tmp_path) == before


def test_a_run_grows_with_its_limit_and_keeps_what_it_has(tmp_path):
    curate_dataset(limited(4), tmp_path / "run")
    first = list(ScriptedBackend.asked)
    curate_dataset(limited(10), tmp_path / "run")
    assert len(ScriptedBackend.asked) == 10
    assert ScriptedBackend.asked[:4] == first
    curate_dataset(limited(10), tmp_path / "whole")
    assert data_bytes(tmp_path / "run") == data_bytes(tmp_path / "whole")


def test_a_smaller_limit_gives_a_smaller_dataset_and_throws_no_group_away(tmp_path):
    curate_dataset(limited(10), tmp_path)
    curate_dataset(limited(4), tmp_path)
    assert open_dataset(tmp_path)["index"][:] == [0, 1, 2, 3]
    assert len(stored_ids(tmp_path)) == 10
    curate_dataset(limited(10), tmp_path)
    assert len(ScriptedBackend.asked) == 10
    assert len(open_dataset(tmp_path)) == 10


def test_a_group_that_the_backend_leaves_out_is_asked_for_again(tmp_path):
    curate_dataset(SCRIPTED, tmp_path / "whole")
    lost = ScriptedBackend.asked[3]
    ScriptedBackend.script(omitted=[lost])
    result = curate_dataset(SCRIPTED, tmp_path / "run")
    assert (result.unsampled, result.stats.groups) == (1, 9)
    errors = (tmp_path / "run" / "completions" / "00000-of-00001" / "errors.jsonl").read_text()
    assert json.loads(errors) == {"id": lost, "index": 5, "reason": "not_sampled"}
    ScriptedBackend.script()
    assert curate_dataset(SCRIPTED, tmp_path / "run").unsampled == 0
    assert ScriptedBackend.asked == [lost]
    assert data_bytes(tmp_path / "run") == data_bytes(tmp_path / "whole")


def test_a_backend_that_returns_part_of_a_group_is_stopped(tmp_path):
    ScriptedBackend.script(num_missing=1)
    with pytest.raises(DistillError, match="returned 3 completions of 'arithmetic/train/00002', not 4"):
        curate_dataset(SCRIPTED, tmp_path)
    assert stored_ids(tmp_path) == []


def test_a_prompt_that_leaves_no_room_is_kept_as_a_dropped_group(tmp_path):
    ScriptedBackend.script(num_missing=4)
    stats = curate_dataset(SCRIPTED, tmp_path).stats
    assert stats.dropped == {"prompt_too_long": 10}


def test_other_settings_stop_the_run_before_a_token_is_bought(tmp_path):
    curate_dataset(SCRIPTED, tmp_path)
    ScriptedBackend.script()
    with pytest.raises(DistillError, match=r"completions.sampling.temperature was 0.9, is 0.5"):
        curate_dataset(scripted(sampling=SamplingConfig(num_completions=4, temperature=0.5)), tmp_path)
    assert ScriptedBackend.asked == []


def test_a_broken_reward_is_found_before_the_folder_is_made(tmp_path):
    parts = {"cosine": RewardPartConfig(options={"max_token": 3})}
    with pytest.raises(DistillError, match="max_token"):
        curate_dataset(scripted(rewards=RewardsConfig(parts=parts)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_scores_of_another_version_are_made_anew(tmp_path, monkeypatch):
    curate_dataset(SCRIPTED, tmp_path)
    folder = tmp_path / "scores" / "00000-of-00001"
    before = (folder / "stage.json").read_text()
    monkeypatch.setattr("distill.curate.job.__version__", "99")
    ScriptedBackend.script()
    assert curate_dataset(SCRIPTED, tmp_path).stats.groups == 10
    assert (folder / "stage.json").read_text() != before
    assert ScriptedBackend.asked == []


def tell_of_groups(stage: str, advance: int, total: int | None) -> None:
    """Progress of the process that is killed: a line for every group, as soon as it is safe."""
    if stage == "sampling" and advance:
        print("group", flush=True)


KILLED = """
import sys
from pathlib import Path
from distill.config import CurateConfig
from distill.curate.pipeline import curate_dataset
from tests.test_curate_resume import tell_of_groups

curate_dataset(CurateConfig.model_validate_json(sys.argv[1]), Path(sys.argv[2]), progress=tell_of_groups)
"""


@pytest.mark.slow
def test_kill_dash_nine_while_sampling_loses_no_finished_group_and_duplicates_none(tmp_path):
    config = CurateConfig(
        source=SourceConfig(name="arithmetic", limit=16),
        teacher=TeacherConfig(model=str(save_tiny(tmp_path / "teacher")), device="cpu", groups_in_flight=2),
        sampling=SamplingConfig(num_completions=2, max_new_tokens=24),
    )
    curate_dataset(config, tmp_path / "whole")
    command = [sys.executable, "-c", KILLED, config.model_dump_json(), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as process:
        for _ in range(5):
            assert process.stdout.readline() == "group\n"
        process.kill()
    safe = stored_ids(tmp_path / "run")
    assert 5 <= len(safe) < 16
    sampled = []
    curate_dataset(config, tmp_path / "run", progress=lambda *call: sampled.append(call))
    # the first call tells what was there, one more for each group that was sampled
    counted = [advance for stage, advance, _ in sampled if stage == "sampling" and advance]
    assert counted == [len(safe)] + [1] * (16 - len(safe))
    assert sorted(stored_ids(tmp_path / "run")) == sorted(stored_ids(tmp_path / "whole"))
    for resumed, whole in zip(load_groups(tmp_path / "run"), load_groups(tmp_path / "whole"), strict=True):
        assert [c.token_ids for c in resumed[0].completions] == [c.token_ids for c in whole[0].completions]
        assert [c.text for c in resumed[0].completions] == [c.text for c in whole[0].completions]
        assert resumed[1] == whole[1]
        for one, other in zip(resumed[0].completions, whole[0].completions, strict=True):
            # float16 near 5 nats has steps of 2^-8; sums over batches of another shape may round to the next
            assert one.entropies == pytest.approx(other.entropies, abs=2**-8)
