"""Shards: every problem in exactly one, a dataset equal to the uncut run's, and no way to mix two cuts."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import pytest

from distill.config import CurateConfig, SamplingConfig, SourceConfig, TeacherConfig
from distill.curate.cut import Shard, parse_shard
from distill.curate.dataset import load_groups
from distill.curate.pipeline import curate_dataset, join_run, run_shard, score_run
from distill.curate.watch import read_status
from distill.errors import DistillError
from tests.curate_parts import SCRIPTED, ScriptedBackend
from tests.tiny import save_tiny


@pytest.fixture(autouse=True)
def script() -> None:
    ScriptedBackend.script()


def cut(run: Path, world_size: int = 3, config: CurateConfig = SCRIPTED) -> None:
    for rank in range(world_size):
        run_shard(config, run, Shard(rank, world_size))


def test_every_problem_belongs_to_exactly_one_shard() -> None:
    for number in range(200):
        assert sum(Shard(rank, 7).holds(f"sums/{number}") for rank in range(7)) == 1


def test_a_cut_run_joins_to_the_dataset_of_an_uncut_one(tmp_path: Path) -> None:
    curate_dataset(SCRIPTED, tmp_path / "whole")
    cut(tmp_path / "cut")
    result = join_run(tmp_path / "cut")
    assert (result.problems, result.unsampled, result.stats.groups) == (10, 0, 10)
    assert list(load_groups(tmp_path / "cut")) == list(load_groups(tmp_path / "whole"))


def test_joining_again_changes_nothing(tmp_path: Path) -> None:
    cut(tmp_path)
    join_run(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").iterdir()}
    join_run(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "dataset").iterdir()} == before


def test_a_missing_or_unfinished_shard_is_named_and_may_be_allowed(tmp_path: Path) -> None:
    cut(tmp_path)
    lost = next(rank for rank in range(3) if any(Shard(rank, 3).holds(problem) for problem in ScriptedBackend.asked))
    shutil.rmtree(tmp_path / "completions" / Shard(lost, 3).name)
    with pytest.raises(DistillError, match=rf"1 are missing and 0 unfinished: {lost}") as caught:
        join_run(tmp_path)
    assert "--allow-missing" in (caught.value.hint or "")
    result = join_run(tmp_path, allow_missing=True)
    assert 0 < result.stats.groups < 10
    assert result.unsampled == 10 - result.stats.groups
    run_shard(SCRIPTED, tmp_path, Shard(lost, 3))
    assert join_run(tmp_path).stats.groups == 10


def test_an_interrupted_shard_goes_on(tmp_path: Path) -> None:
    ScriptedBackend.script(interrupt_after=1)
    with pytest.raises(KeyboardInterrupt, match=r"1 of \d groups are safe"):
        cut(tmp_path)
    assert read_status(tmp_path).shards[0].state == "stopped"
    with pytest.raises(DistillError, match="2 are missing and 1 unfinished"):
        join_run(tmp_path)
    ScriptedBackend.script()
    cut(tmp_path)
    assert join_run(tmp_path).stats.groups == 10
    assert len(ScriptedBackend.asked) == 9


def test_two_cuts_do_not_mix(tmp_path: Path) -> None:
    cut(tmp_path / "cut")
    with pytest.raises(DistillError, match="cut in 3 shards"):
        run_shard(SCRIPTED, tmp_path / "cut", Shard(0, 4))
    with pytest.raises(DistillError, match="cut in 3 shards"):
        curate_dataset(SCRIPTED, tmp_path / "cut")
    curate_dataset(SCRIPTED, tmp_path / "whole")
    with pytest.raises(DistillError, match="not cut in shards"):
        run_shard(SCRIPTED, tmp_path / "whole", Shard(0, 4))


def test_a_cut_run_can_be_scored_anew(tmp_path: Path) -> None:
    cut(tmp_path)
    join_run(tmp_path)
    changed = SCRIPTED.model_copy(update={"filters": ()})
    assert score_run(tmp_path, changed).stats.kept == 10


def test_the_status_of_a_cut_run_is_the_sum_of_its_shards(tmp_path: Path) -> None:
    cut(tmp_path)
    status = read_status(tmp_path)
    assert [shard.name for shard in status.shards] == [Shard(rank, 3).name for rank in range(3)]
    assert (status.total.finished, status.total.total, status.total.scored) == (10, 10, 10)


@pytest.mark.parametrize("text", ["3/3", "4/3", "-1/3", "1", "a/b", "1/0", ""])
def test_what_names_no_shard_is_refused(text: str) -> None:
    with pytest.raises(DistillError, match="names no shard"):
        parse_shard(text)


def work(config: CurateConfig, run: Path, shard: Shard) -> None:
    run_shard(config, run, shard)


@pytest.mark.slow
def test_shards_work_side_by_side_in_one_folder(tmp_path: Path) -> None:
    config = CurateConfig(
        source=SourceConfig(name="arithmetic", limit=12),
        teacher=TeacherConfig(model=str(save_tiny(tmp_path / "teacher")), device="cpu"),
        sampling=SamplingConfig(num_completions=2, max_new_tokens=12),
    )
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=work, args=(config, tmp_path / "cut", Shard(rank, 2))) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    join_run(tmp_path / "cut")
    curate_dataset(config, tmp_path / "whole")
    for one, other in zip(load_groups(tmp_path / "cut"), load_groups(tmp_path / "whole"), strict=True):
        assert [c.token_ids for c in one[0].completions] == [c.token_ids for c in other[0].completions]
        assert one[1] == other[1]
