"""The model that is evaluated: what it is called, which files it consists of, what its training cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.models import STUDENT_REPORT_FILE, model_fingerprint, resolve_model

STUDENT_FOLDER = "student"
ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True, slots=True)
class Subject:
    """The evaluated model."""

    model: str
    """As it was given."""
    path: str
    """What is loaded: the same, or the student inside the folder of a training run."""
    label: str
    """Short name for tables."""
    digest: str
    """Of the files of a local folder; empty for a model of the Hub."""
    train_cpu_seconds: float | None = None


def describe_model(model: str) -> Subject:
    """Look at a model's folder without loading it; a Hub id is taken by its word.

    A student trained here brings ``distill_train.json``: its method becomes the label. The folder of
    a training run stands for the student in it.

    Raises:
        DistillError: ``distill_train.json`` is not what the trainer writes.
    """
    folder = Path(resolve_model(model)).expanduser()
    if not folder.is_dir():
        return Subject(model, model, Path(model).name, digest="")
    path = model
    if not _is_model(folder) and _is_model(folder / STUDENT_FOLDER):
        folder = folder / STUDENT_FOLDER
        path = str(folder)
    training = _training_facts(folder / STUDENT_REPORT_FILE)
    label = training.get("method") or Path(model).name
    return Subject(model, path, label, model_fingerprint(str(folder)), training.get("cpu_seconds"))


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / ADAPTER_FILE).is_file()


def _training_facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        # A method of the user's own is 'pkg.module:attribute'.
        method = str(facts["method"]).rpartition(":")[2] + ("-lora" if facts.get("is_adapter") else "")
        return {"method": method, "cpu_seconds": float(facts["cpu_seconds"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DistillError(
            f"'{path}' is not what 'distill train' writes: {error}", hint="remove it to evaluate the model without it"
        ) from None
