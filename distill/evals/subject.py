"""The model that is evaluated: what it is called, which files it consists of, what its training cost."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.models import resolve_model

TRAINING_FILE = "distill_train.json"
STUDENT_FOLDER = "student"
ADAPTER_FILE = "adapter_config.json"
# What from_pretrained reads; a README or a log beside the weights changes no completion.
MODEL_SUFFIXES = {".bin", ".jinja", ".json", ".model", ".safetensors", ".txt"}


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
    training = _training_facts(folder / TRAINING_FILE)
    label = training.get("method") or Path(model).name
    return Subject(model, path, label, folder_digest(folder), training.get("cpu_seconds"))


def folder_digest(folder: Path) -> str:
    """The start of a SHA-256 over name and content of the files that make a model, and an adapter's base model.

    The content and not its time stamp: a student trained again in the same folder is another model,
    one copied to another machine is not.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in MODEL_SUFFIXES and path.name != TRAINING_FILE:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    if (folder / ADAPTER_FILE).is_file():
        base = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
        digest.update(base.encode())
        if base and Path(resolve_model(base)).is_dir():
            digest.update(folder_digest(Path(resolve_model(base))).encode())
    return digest.hexdigest()[:16]


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() or (folder / ADAPTER_FILE).is_file()


def _training_facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        # A method of the user's own is 'pkg.module:attribute'.
        return {"method": str(facts["method"]).rpartition(":")[2], "cpu_seconds": float(facts["cpu_seconds"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DistillError(
            f"'{path}' is not what 'distill train' writes: {error}", hint="remove it to evaluate the model without it"
        ) from None
