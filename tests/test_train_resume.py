"""Runs that were interrupted, finished runs, and folders that hold something else."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from distill.errors import DistillError
from distill.train.checkpoint import latest_checkpoint
from distill.train.loop import train_student
from distill.train.report import read_metrics
from tests.tiny import save_tiny
from tests.train_fixtures import losses, save_rows, sums, tiny_config

LORA = {"rank": 4, "dropout": 0.3}


class Interruption(Exception):  # noqa: N818 - it is no error, it stands for a kill
    """Stands for a kill."""


def stop_after_epoch(number: int) -> Any:
    def on_epoch_end(epoch: int, student: Any) -> None:
        if epoch == number:
            raise Interruption

    return on_epoch_end


def stop_at_step(number: int) -> Any:
    """A progress callback that dies once a step's metrics are written and before its checkpoint."""
    done = 0

    def progress(stage: str, advance: int, total: int | None) -> None:
        nonlocal done
        done += advance if stage == "train" else 0
        if done == number:
            raise Interruption

    return progress


def weights_hash(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    assert files
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_three_steps_and_a_resumed_three_are_six_bit_for_bit(tmp_path, lora):
    save_tiny(tmp_path / "dropout", attention_dropout=0.2)  # so that random numbers matter in full training too
    config = tiny_config(tmp_path, lora=lora, model=str(tmp_path / "dropout"))
    whole = train_student(config, tmp_path / "whole")
    assert whole.steps == 6
    with pytest.raises(Interruption):
        train_student(config, tmp_path / "parts", on_epoch_end=stop_after_epoch(1))
    assert len(losses(tmp_path / "parts")) == 3
    train_student(config, tmp_path / "parts", resume="always")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert weights_hash(tmp_path / "parts" / "student") == weights_hash(tmp_path / "whole" / "student")


def test_steps_after_the_last_checkpoint_are_taken_again(tmp_path):
    config = tiny_config(tmp_path, save_every=2)
    train_student(config, tmp_path / "whole")
    with pytest.raises(Interruption):
        train_student(config, tmp_path / "parts", progress=stop_at_step(5))
    with (tmp_path / "parts" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # the line that was being written
    assert [path.name for path in (tmp_path / "parts" / "checkpoints").glob("step-*")] == ["step-000004"]
    report = train_student(config, tmp_path / "parts")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert weights_hash(tmp_path / "parts" / "student") == weights_hash(tmp_path / "whole" / "student")
    assert report.tokens == sum(line["tokens"] for line in read_metrics(tmp_path / "parts" / "metrics.jsonl"))


def test_a_crash_while_saving_leaves_the_checkpoint_before_it(tmp_path):
    config = tiny_config(tmp_path)
    train_student(config, tmp_path / "whole")
    with pytest.raises(Interruption):
        train_student(config, tmp_path / "parts", on_epoch_end=stop_after_epoch(1))
    checkpoints = tmp_path / "parts" / "checkpoints"
    for unfinished in ("step-000006.tmp", "step-000006"):  # half written; renamed but not yet pointed to
        (checkpoints / unfinished).mkdir()
        (checkpoints / unfinished / "weights.safetensors").write_bytes(b"torn")
    train_student(config, tmp_path / "parts")
    assert weights_hash(tmp_path / "parts" / "student") == weights_hash(tmp_path / "whole" / "student")


def test_a_finished_run_returns_its_report_at_once(tmp_path):
    config, told = tiny_config(tmp_path), []
    first = train_student(config, tmp_path / "out")
    again = train_student(config, tmp_path / "out", progress=lambda stage, *_: told.append(stage))
    assert again == first
    assert set(told) == {"read"}


def test_a_moved_dataset_and_another_token_budget_are_the_same_run(tmp_path):
    config = tiny_config(tmp_path)
    first = train_student(config, tmp_path / "out")
    (tmp_path / "sums").rename(tmp_path / "moved")
    moved = config.model_copy(update={"dataset": str(tmp_path / "moved"), "tokens_per_micro_batch": 100})
    assert train_student(moved, tmp_path / "out") == first


def test_a_folder_with_another_run_is_refused_with_the_differing_settings(tmp_path):
    train_student(tiny_config(tmp_path, epochs=1), tmp_path / "out")
    other = tiny_config(tmp_path, epochs=1, seed=1, loss={"temperature": 0.7})
    with pytest.raises(DistillError) as caught:
        train_student(other, tmp_path / "out")
    assert str(caught.value).endswith("other settings: loss.temperature was 0.5, is 0.7; seed was 0, is 1")


def test_another_dataset_is_another_run(tmp_path):
    train_student(tiny_config(tmp_path, epochs=1), tmp_path / "out")
    changed = tiny_config(tmp_path, epochs=1, dataset=str(save_rows(tmp_path / "more", sums(7))))
    with pytest.raises(DistillError, match=r"other settings: data.digest"):
        train_student(changed, tmp_path / "out")


def test_a_run_that_ended_before_its_first_step_binds_nobody_to_its_settings(tmp_path):
    wrong = tiny_config(tmp_path, lora={"rank": 2, "target_modules": ["nope"]})
    with pytest.raises(DistillError, match=r"lora.target_modules"):
        train_student(wrong, tmp_path / "out")
    right = tiny_config(tmp_path, lora={"rank": 2, "target_modules": ["q_proj"]}, epochs=1)
    assert train_student(right, tmp_path / "out").steps == 3
    with pytest.raises(DistillError, match=r"other settings: .*lora.target_modules was"):
        train_student(wrong, tmp_path / "out")


def something_else(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("")


def curation_run(out: Path) -> None:
    out.mkdir()
    (out / "run.json").write_text('{"format": 1}')


def plain_file(out: Path) -> None:
    out.write_text("")


REFUSED_FOLDERS = [
    ("never", something_else, "is not empty"),
    ("if-possible", something_else, "holds something else than a training run"),
    ("if-possible", curation_run, "holds something else than a training run"),
    ("if-possible", plain_file, "is a file"),
    ("always", Path.mkdir, "holds no run to resume"),
]


@pytest.mark.parametrize(("resume", "make", "message"), REFUSED_FOLDERS)
def test_folders_that_do_not_suit_are_refused(tmp_path, resume, make, message):
    make(tmp_path / "out")
    with pytest.raises(DistillError, match=message):
        train_student(tiny_config(tmp_path), tmp_path / "out", resume=resume)


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DistillError, match="another process works in"):
            train_student(tiny_config(tmp_path), tmp_path / "out")


def test_a_base_model_trained_again_in_its_folder_is_another_base(tmp_path):
    config = tiny_config(tmp_path, epochs=1)
    train_student(config, tmp_path / "out")
    save_tiny(tmp_path / "base", seed=1)
    with pytest.raises(DistillError, match="other settings: model_files"):
        train_student(config, tmp_path / "out")


def test_a_finished_run_whose_student_is_gone_is_trained_again(tmp_path):
    config = tiny_config(tmp_path, epochs=1)
    train_student(config, tmp_path / "out")
    before = weights_hash(tmp_path / "out" / "student")
    (tmp_path / "out" / "student").rename(tmp_path / "taken")
    train_student(config, tmp_path / "out")
    assert weights_hash(tmp_path / "out" / "student") == before


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path):
    with pytest.raises(DistillError, match="does not exist"):
        train_student(tiny_config(tmp_path, dataset="nowhere"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_is_a_users_error_and_the_run_goes_on_afterwards(tmp_path):
    resource = pytest.importorskip("resource")
    config = tiny_config(tmp_path, epochs=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # no file beyond 20 kB: the weights take 150 kB
    try:
        with pytest.raises(DistillError, match=r"step-000003.* cannot be written") as caught:
            train_student(config, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "make room" in caught.value.hint
    assert train_student(config, tmp_path / "out").steps == 3


def test_a_run_that_is_asked_to_stop_saves_its_step_and_goes_on_from_there(tmp_path):
    config = tiny_config(tmp_path, lora=LORA)
    train_student(config, tmp_path / "whole")
    taken: list[str] = []

    def progress(stage: str, advance: int, total: int | None) -> None:
        taken.extend([stage] * advance if stage == "train" else [])

    with pytest.raises(KeyboardInterrupt, match="step 2 of 6 is saved"):
        train_student(config, tmp_path / "parts", progress=progress, stopped=lambda: len(taken) >= 2)
    assert len(losses(tmp_path / "parts")) == 2
    assert latest_checkpoint(tmp_path / "parts" / "checkpoints").name == "step-000002"
    train_student(config, tmp_path / "parts", resume="always")
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert weights_hash(tmp_path / "parts" / "student") == weights_hash(tmp_path / "whole" / "student")


def test_a_run_that_is_stopped_while_it_reads_has_not_begun(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="before the first step"):
        train_student(tiny_config(tmp_path), tmp_path / "out", stopped=lambda: True)
    assert not (tmp_path / "out").exists()
