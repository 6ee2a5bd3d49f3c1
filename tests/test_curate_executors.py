"""Executors: a run in many processes equals one in a single process, whatever becomes of any of them."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from distill.cli import app
from distill.config import TeacherConfig
from distill.curate import executors, machine_share
from distill.curate.cut import Shard
from distill.curate.dataset import load_groups
from distill.curate.executor_process import Plan, read_plan
from distill.curate.executors import Scale, Watcher, curate_in_tasks, dry_scripts, submit_tasks
from distill.curate.machine_share import devices_each, num_workers, share_verifiers, threads_each
from distill.curate.pipeline import curate_dataset
from distill.curate.shard_task import ShardTask, last_words, log_path, read_outcome
from distill.curate.slurm import parse_slurm
from distill.curate.watch import ShardStatus, Snapshot, together
from distill.errors import DistillError
from tests.curate_parts import SCRIPTED
from tests.executor_backends import FOLDER

pytestmark = pytest.mark.slow

CONFIG = SCRIPTED.model_copy(
    update={"teacher": TeacherConfig(model="scripted", backend="tests.executor_backends:FolderBackend")}
)
LOCAL = Scale("local", tasks=4, workers=2)
SLURM = ["partition=gpu", "time=20:00:00", "mem=64G", "cpus-per-task=8", "account=team", "env=module load cuda"]

needs_datatrove = pytest.mark.skipif(
    find_spec("datatrove") is None, reason="datatrove is not installed (extra 'scale')"
)
needs_ray = pytest.mark.skipif(
    find_spec("datatrove") is None or find_spec("ray") is None, reason="ray is not installed (extra 'ray')"
)


class Teacher:
    """The folder that ``FolderBackend`` reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "asked").mkdir(parents=True)

    def does(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(text)

    def asked(self) -> Counter[str]:
        return Counter(line for path in (self.folder / "asked").iterdir() for line in path.read_text().split())


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Teacher:
    monkeypatch.setenv(FOLDER, str(tmp_path / "teacher"))
    monkeypatch.chdir(Path(__file__).parents[1])  # where the processes of shards find the teacher's module
    return Teacher(tmp_path / "teacher")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The groups of a run in a single process."""
    folder = tmp_path_factory.mktemp("whole")
    curate_dataset(SCRIPTED, folder / "run")
    return list(load_groups(folder / "run"))


def shard_of(problem_id: str, world_size: int) -> Shard:
    return next(Shard(rank, world_size) for rank in range(world_size) if Shard(rank, world_size).holds(problem_id))


def times(*folders: Path) -> dict[Path, int]:
    """When each file was written; no file of a log means that no process was started."""
    return {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*") if path.name != ".lock"}


@needs_datatrove
def test_local_tasks_give_the_dataset_of_a_single_process_and_a_second_call_samples_nothing(
    teacher: Teacher, tmp_path: Path, whole: list[object]
) -> None:
    shown: list[tuple[str, int, int | None]] = []
    watcher = Watcher(progress=lambda *said: shown.append(said))
    result = curate_in_tasks(CONFIG, tmp_path / "run", LOCAL, watcher=watcher)
    assert (result.problems, result.unsampled) == (10, 0)
    assert list(load_groups(tmp_path / "run")) == whole
    assert sum(advance for stage, advance, _ in shown if stage == "sampling") == 10
    assert teacher.asked() == Counter(group.problem.id for group, _ in load_groups(tmp_path / "run"))

    teacher.does("broken", "any process would stumble")
    shutil.rmtree(teacher.folder / "asked")  # and could not even say what it has sampled
    before = times(tmp_path / "run" / "dataset", tmp_path / "run" / "tasks")
    curate_in_tasks(CONFIG, tmp_path / "run", LOCAL)
    assert times(tmp_path / "run" / "dataset", tmp_path / "run" / "tasks") == before
    with pytest.raises(DistillError, match=r"all 4 shards of '.*' are finished"):  # whoever runs them
        submit_tasks(CONFIG, tmp_path / "run", replace(LOCAL, executor="slurm", slurm=parse_slurm(SLURM)))


@needs_datatrove
def test_a_killed_process_is_named_and_the_next_call_runs_only_its_shard(
    teacher: Teacher, tmp_path: Path, whole: list[object]
) -> None:
    scale = Scale("local", tasks=2, workers=2)
    teacher.does("kill-worker")
    with pytest.raises(DistillError, match=r"shard \d of 2 failed: its process was ended by SIGKILL") as caught:
        curate_in_tasks(CONFIG, tmp_path / "run", scale)
    assert "the same command runs only what is missing" in caught.value.hint
    assert 0 < len(teacher.asked()) < 10
    teacher.does("kill-launcher")
    with pytest.raises(DistillError, match=r"shard \d of 2 failed: the process that waited for its end was killed"):
        curate_in_tasks(CONFIG, tmp_path / "run", scale)  # where datatrove's pool alone would wait for ever
    curate_in_tasks(CONFIG, tmp_path / "run", scale)
    assert list(load_groups(tmp_path / "run")) == whole
    assert set(teacher.asked().values()) == {1}, "a group was sampled twice"


@needs_datatrove
def test_a_failing_shard_is_named_with_its_log_and_leaves_the_others_finished(teacher: Teacher, tmp_path: Path) -> None:
    teacher.does("broken", "arithmetic/train/00003")
    failing = shard_of("arithmetic/train/00003", 2)
    with pytest.raises(DistillError) as caught:
        curate_in_tasks(CONFIG, tmp_path / "run", Scale("local", tasks=2, workers=1))
    log = log_path(tmp_path / "run", failing)
    assert f"shard {failing.rank} of 2 failed: the teacher cannot read 'arithmetic/train/00003'" in str(caught.value)
    assert f"(log: '{log}')" in str(caught.value)
    assert "give it glasses; the other shards are finished" in caught.value.hint
    assert "error: the teacher cannot read" in log.read_text()
    states = {rank: read_outcome(tmp_path / "run", Shard(rank, 2)) for rank in range(2)}
    assert {rank for rank, outcome in states.items() if outcome and outcome.state == "done"} == {0, 1} - {failing.rank}
    markers = sorted(path.name for path in (tmp_path / "run" / "tasks" / "datatrove" / "completions").iterdir())
    assert markers == ["00000", "00001"]  # datatrove's own word, which is not taken for it


@needs_datatrove
def test_a_stop_lets_groups_in_flight_finish_and_leaves_a_run_to_go_on_with(
    teacher: Teacher, tmp_path: Path, whole: list[object]
) -> None:
    teacher.does("stop")
    watcher = Watcher(stopped=(teacher.folder / "stop-done").exists)
    with pytest.raises(KeyboardInterrupt, match=r"\d of 10 groups are safe"):
        curate_in_tasks(CONFIG, tmp_path / "run", Scale("local", tasks=2, workers=2), watcher=watcher)
    assert 0 < len(teacher.asked()) < 10
    curate_in_tasks(CONFIG, tmp_path / "run", Scale("local", tasks=2, workers=2))
    assert list(load_groups(tmp_path / "run")) == whole
    assert set(teacher.asked().values()) == {1}


@needs_ray
def test_ray_on_one_machine_gives_the_dataset_of_a_single_process_after_a_killed_worker(
    teacher: Teacher, tmp_path: Path, whole: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")  # whatever cluster somebody has started here
    teacher.does("kill-worker")
    scale = Scale("ray", tasks=2, workers=2)
    with pytest.raises(DistillError, match=r"shard \d of 2 failed: its process was ended by SIGKILL"):
        curate_in_tasks(CONFIG, tmp_path / "run", scale)
    curate_in_tasks(CONFIG, tmp_path / "run", scale)
    assert list(load_groups(tmp_path / "run")) == whole
    assert set(teacher.asked().values()) == {1}


@needs_datatrove
def test_the_slurm_scripts_say_what_was_asked_for_and_touch_nothing(tmp_path: Path) -> None:
    run = tmp_path / "gsm8k"
    scale = Scale("slurm", tasks=16, workers=4, gpus_per_task=2, slurm=parse_slurm(SLURM))
    array, join = dry_scripts(SCRIPTED, run, scale)
    for line in (
        "#SBATCH --array=0-15%4",
        "#SBATCH --partition=gpu",
        "#SBATCH --time=20:00:00",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem-per-cpu=8192M",  # 64 GiB over 8 cores
        "#SBATCH --gpus=2",
        "#SBATCH --account=team",
        "#SBATCH --requeue",
        f"#SBATCH --output={run}/tasks/slurm/%A_%a.out",
        "module load cuda",
        f"srun  -l -n 1 launch_pickled_pipeline {run}/tasks/datatrove/executor.pik",
    ):
        assert line in array.splitlines()
    assert "--qos" not in array
    for line in (
        "#SBATCH --dependency=afterany:ARRAY_JOB_ID",
        "#SBATCH --account=team",
        "#SBATCH --cpus-per-task=1",
        f"{sys.executable} -m distill join {run}",
    ):
        assert line in join.splitlines()
    assert "--array" not in join
    assert "--gpus" not in join
    assert not run.exists()


SBATCH = """#!/bin/sh
for script; do :; done
number=$(ls "$SLURM_TEST" | grep -c script)
cp "$script" "$SLURM_TEST/script-$number"
echo "$@" > "$SLURM_TEST/arguments-$number"
echo "Submitted batch job 10$number"
"""
SQUEUE = """#!/bin/sh
[ -e "$SLURM_TEST/queue" ] && cat "$SLURM_TEST/queue"
exit 0
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What sbatch was given: there is no cluster here, so a script stands in its place and writes that down."""
    folder = tmp_path / "slurm"
    (folder / "bin").mkdir(parents=True)
    for name, text in {"sbatch": SBATCH, "squeue": SQUEUE}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    monkeypatch.setenv("SLURM_TEST", str(folder))
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    return folder


@needs_datatrove
def test_what_is_submitted_is_what_the_dry_run_shows_and_only_for_shards_that_are_left(
    teacher: Teacher, slurm: Path, tmp_path: Path
) -> None:
    run, scale = tmp_path / "run", Scale("slurm", tasks=3, slurm=parse_slurm(SLURM))
    submission = submit_tasks(CONFIG, run, scale)
    assert (submission.array_job, submission.join_job) == ("100", "101")
    array, join = dry_scripts(CONFIG, run, scale)
    assert (slurm / "script-0").read_text() == array
    assert (slurm / "script-1").read_text() == join.replace("ARRAY_JOB_ID", "100")

    (slurm / "queue").write_text("100_1 gpu distill-run R")
    with pytest.raises(DistillError, match="job 100 of this run is still queued or at work"):
        submit_tasks(CONFIG, run, scale)
    (slurm / "queue").unlink()
    assert submit_tasks(CONFIG, run, scale).array_job == "102"


@needs_datatrove
def test_a_machine_without_slurm_is_told_so(teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DistillError, match="there is no 'sbatch' on this machine"):
        submit_tasks(CONFIG, tmp_path / "run", Scale("slurm", tasks=2, slurm=parse_slurm(SLURM)))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["time=1:00:00"], "the Slurm job has no partition"),
        (["partition=gpu"], "the Slurm job has no time"),
        (["partition"], "not of the form key=value"),
        (["array=0-7"], "'--slurm array=0-7' cannot be set"),
        (["partition=gpu", "time=1:00:00", "cpus-per-task=all"], "'--slurm cpus-per-task=all' is no number"),
        (["partition=gpu", "time=1:00:00", "mem=much"], "'--slurm mem=much' is no amount of memory"),
    ],
)
def test_slurm_options_that_make_no_script_are_refused(texts: list[str], message: str) -> None:
    with pytest.raises(DistillError, match=re.escape(message)):
        parse_slurm(texts)


def test_options_of_sbatch_are_read_however_they_are_spelt() -> None:
    options = parse_slurm(["--partition=gpu", "time=1:00:00", "cpus_per_task=2", "gres=gpu:a100:1", "env=a=b", "env=c"])
    assert options.options == {"partition": "gpu", "time": "1:00:00", "cpus-per-task": "2", "gres": "gpu:a100:1"}
    assert options.env == ("a=b", "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tasks", "4"], "'--tasks' is for an executor"),
        (["--executor", "local"], "--executor local needs --tasks"),
        (["--executor", "local", "--tasks", "2", "--slurm", "time=1"], "means nothing to --executor local"),
        (["--executor", "local", "--tasks", "2", "--shard", "0/2"], "do not go together"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["curate", "arithmetic", "--out", str(tmp_path / "run"), *arguments])
    assert isinstance(result.exception, DistillError)
    assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("package", ["datatrove", "ray"])
def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executors, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(DistillError, match=f"the executor 'ray' needs {package}") as caught:
        executors.check_installed("ray")
    assert "pip install 'distill-reasoning[ray]'" in caught.value.hint


def test_every_worker_gets_gpus_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7,MIG-1")
    assert devices_each(2, 2) == ("4,5", "6,7")
    assert num_workers(tasks=16, workers=None, gpus_per_task=2) == 2
    with pytest.raises(DistillError, match="3 workers with 2 GPUs each need 6 GPUs, and 5 are here"):
        devices_each(2, 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert num_workers(tasks=16, workers=None, gpus_per_task=1) == 1
    with pytest.raises(DistillError, match="and 0 are here"):
        devices_each(1, 1)


def test_verifier_processes_are_shared_out_unless_the_recipe_says_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_share, "num_cores", lambda: 8)
    assert share_verifiers(SCRIPTED, 4).verifier.workers == 2
    assert share_verifiers(SCRIPTED, 16).verifier.workers == 1
    assert share_verifiers(SCRIPTED, 1).verifier.workers is None
    chosen = SCRIPTED.model_copy(update={"verifier": SCRIPTED.verifier.model_copy(update={"workers": 5})})
    assert share_verifiers(chosen, 4).verifier.workers == 5
    assert (threads_each(3), threads_each(16)) == (2, 1)


def test_a_plan_survives_its_way_to_the_executors_process() -> None:
    task = ShardTask("/runs/a b/config.yaml", "gsm8k", "/home/x", "0f", threads=2, devices=("0,1", "2,3"))
    plan = Plan("local", task, tasks=8, workers=2, gpus_per_task=2, logging_dir="/runs/a b/tasks/datatrove")
    assert read_plan(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error: old\nhint: older\nerror: new\nhint: newer\nrest\n", ("new", "newer")),
        ("sampling: 1/2\nTraceback …\nValueError: odd\n\n", ("ValueError: odd", "its log holds the whole story")),
        ("", ("its process ended without a word", "its log holds the whole story")),
    ],
)
def test_the_reason_of_an_end_is_the_last_error_of_the_log(
    text: str, expected: tuple[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "shard.log"
    log.write_text("error: of an earlier session\n" + text)
    assert last_words(log, len("error: of an earlier session\n")) == expected


def test_the_shards_of_a_session_are_summed_and_those_of_earlier_ones_only_count_as_finished() -> None:
    def shard(last_event: str, finished: int, tokens: int, reward: float | None) -> ShardStatus:
        snapshot = Snapshot(5, finished, finished, 0, 1, 2.0, finished, 1, reward, 8, tokens, 60.0)
        return ShardStatus("", True, "working", last_event, snapshot, {})

    earlier, one, other = shard("08:00", 5, 1000, 9.0), shard("10:00", 3, 300, 1.0), shard("10:01", 1, 100, 0.0)
    snapshot = together([earlier, one, other], 20, since="09:00", seconds=40.0)
    assert (snapshot.total, snapshot.finished, snapshot.sampled, snapshot.in_flight) == (20, 9, 4, 2)
    assert snapshot.tokens_per_second == 10.0  # 400 tokens in 40 s
    assert snapshot.reward_mean == 0.75  # 3 groups of 1.0 and 1 of 0.0
