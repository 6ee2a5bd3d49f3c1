"""Checkpoints: everything a resumed run needs, whole or not there.

    checkpoints/latest              name of the newest complete checkpoint
    checkpoints/step-000123/        weights.safetensors (trained ones, float32), optimizer.pt, state.json

A checkpoint is written under another name, forced to disk and renamed; then ``latest`` is replaced;
only then the one before it is removed. A crash at any moment leaves a complete checkpoint behind.
Random numbers need no place here: every step seeds its own from (seed, step).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from distill.train.student import Student

LATEST, WEIGHTS, OPTIMIZER, STATE = "latest", "weights.safetensors", "optimizer.pt", "state.json"
UNFINISHED = ".unfinished-"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    """Optimizer steps done."""
    skipped_steps: int = 0
    """Steps whose loss or gradient was not finite."""
    tokens: int = 0
    """Supervised tokens trained on."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0


def save_checkpoint(folder: Path, student: Student, optimizer: torch.optim.Optimizer, progress: Progress) -> Path:
    """Add a checkpoint to ``folder`` and remove the older ones.

    The path does not say what was saved before ``latest`` names it: that is the moment it counts.
    """
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{progress.step:06d}"
    unfinished, finished = folder / f"{UNFINISHED}{name}", folder / name
    for leftover in (unfinished, finished):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir()
    weights = {name: weight.detach().contiguous() for name, weight in student.trained_parameters().items()}
    save_file(weights, unfinished / WEIGHTS)
    torch.save(optimizer.state_dict(), unfinished / OPTIMIZER)
    (unfinished / STATE).write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")
    sync_folder(unfinished)
    unfinished.rename(finished)
    replace_text(folder / LATEST, name)
    for entry in folder.iterdir():
        if entry.is_dir() and entry != finished:
            shutil.rmtree(entry)
    return finished


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    pointer = folder / LATEST
    return folder / pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None


def load_checkpoint(checkpoint: Path, student: Student, optimizer: torch.optim.Optimizer) -> Progress:
    """Put weights and optimizer back to where the checkpoint was taken."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(checkpoint / WEIGHTS)
    with torch.no_grad():
        for name, weight in student.trained_parameters().items():
            weight.copy_(weights[name])
    optimizer.load_state_dict(torch.load(checkpoint / OPTIMIZER, map_location="cpu", weights_only=True))
    return Progress(**json.loads((checkpoint / STATE).read_text(encoding="utf-8")))


def replace_text(path: Path, text: str) -> None:
    """Write a text file so that readers see the old content or the new one, never a part."""
    unfinished = path.with_name(f"{UNFINISHED}{path.name}")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    _sync(path.parent)


def sync_folder(folder: Path) -> None:
    """Force the files of a folder, and their names, to disk."""
    for entry in folder.iterdir():
        _sync(entry)
    _sync(folder)


def _sync(path: Path) -> None:
    if os.name == "nt":  # Windows syncs neither folders nor files that are open for reading
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
