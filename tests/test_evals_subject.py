"""What is known of a model before it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.evals.subject import Subject, describe_model, folder_digest


def model_folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_a_hub_model_is_called_by_the_last_part_of_its_name() -> None:
    assert describe_model("Qwen/Qwen2.5-7B") == Subject("Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-7B", "Qwen2.5-7B", "")


def test_a_tiny_model_is_called_by_its_name_and_known_by_its_files() -> None:
    subject = describe_model("tiny-student")
    assert (subject.path, subject.label) == ("tiny-student", "tiny-student")
    assert len(subject.digest) == 16
    assert subject.digest != describe_model("tiny-teacher").digest


def test_a_student_trained_here_is_called_by_its_method_and_brings_its_cost(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "student")
    (folder / "distill_train.json").write_text(json.dumps({"method": "advdistill", "cpu_seconds": 81.5, "steps": 12}))
    subject = describe_model(f"{folder}/")
    assert (subject.model, subject.label, subject.train_cpu_seconds) == (f"{folder}/", "advdistill", 81.5)


def test_the_folder_of_a_training_run_stands_for_its_student(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "run" / "student")
    (folder / "distill_train.json").write_text('{"method": "my_parts.losses:Gentle", "cpu_seconds": 3}')
    (tmp_path / "run" / "train.json").write_text("{}")
    subject = describe_model(str(tmp_path / "run"))
    assert (subject.model, subject.path, subject.label) == (str(tmp_path / "run"), str(folder), "Gentle")
    assert subject.digest == folder_digest(folder)
    inner = model_folder(folder / "student")  # a model is taken as it is, whatever stands beside it
    assert describe_model(str(folder)).path == str(inner.parent)


@pytest.mark.parametrize("content", ["{", "[]", '{"method": "sft"}', '{"method": "sft", "cpu_seconds": "long"}'])
def test_a_broken_account_of_the_training_is_a_users_error(tmp_path: Path, content: str) -> None:
    folder = model_folder(tmp_path / "student")
    (folder / "distill_train.json").write_text(content)
    with pytest.raises(DistillError, match="not what 'distill train' writes"):
        describe_model(str(folder))


def test_the_digest_changes_with_the_files_that_make_the_model_and_with_nothing_else(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "student")
    digest = folder_digest(folder)
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "README.md").write_text("a card")
    (copy / "distill_train.json").write_text("{}")
    (copy / "checkpoints").mkdir()
    assert folder_digest(copy) == digest
    (copy / "model.safetensors").write_bytes(b"weightz")
    assert folder_digest(copy) != digest
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    assert folder_digest(folder) != digest


def test_the_digest_of_an_adapter_covers_the_base_model_in_a_folder(tmp_path: Path) -> None:
    base, adapter = model_folder(tmp_path / "base"), model_folder(tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    digest = folder_digest(adapter)
    (base / "model.safetensors").write_bytes(b"others")
    assert folder_digest(adapter) != digest
