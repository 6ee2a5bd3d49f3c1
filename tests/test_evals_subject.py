"""What is known of a model before it is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.evals.subject import Subject, describe_model
from distill.models import model_fingerprint


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
    assert subject.digest == model_fingerprint(str(folder))
    inner = model_folder(folder / "student")  # a model is taken as it is, whatever stands beside it
    assert describe_model(str(folder)).path == str(inner.parent)


@pytest.mark.parametrize("content", ["{", "[]", '{"method": "sft"}', '{"method": "sft", "cpu_seconds": "long"}'])
def test_a_broken_account_of_the_training_is_a_users_error(tmp_path: Path, content: str) -> None:
    folder = model_folder(tmp_path / "student")
    (folder / "distill_train.json").write_text(content)
    with pytest.raises(DistillError, match="not what 'distill train' writes"):
        describe_model(str(folder))
