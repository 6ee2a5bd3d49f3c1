"""Checkpoints: everything a resumed run needs, whole or not there.

    checkpoints/latest              name of the newest complete checkpoint
    checkpoints/step-000123/        weights.safetensors (trained ones, float32), optimizer.pt, state.json

A checkpoint is written under another name, forced to disk and renamed; then ``latest`` is replaced;
only then the one before it is removed. A crash at any moment leaves a complete checkpoint behind.
Random numbers need no place here: every step seeds its own from (seed, step).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.errors import DistillError
from distill.files import replace_folder, unfinished, write_atomically
from distill.train.sharding import spread_like, whole

if TYPE_CHECKING:
    import torch

    from distill.train.student import Student

LATEST, WEIGHTS, OPTIMIZER, STATE = "latest", "weights.safetensors", "optimizer.pt", "state.json"


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


def save_checkpoint(
    folder: Path,
    student: Student,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    *,
    writes: bool = True,
) -> None:
    """Add a checkpoint to ``folder`` and remove the older ones.

    It counts from the moment that ``latest`` names it. It does not say how many processes trained.

    Args:
        writes: False on all processes but the first, which only help to gather what is spread over them.
    """
    import torch
    from safetensors.torch import save_file

    weights = {name: whole(weight.detach()).contiguous() for name, weight in student.trained_parameters().items()}
    moments = _whole_state(optimizer)
    if not writes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    name = f"step-{progress.step:06d}"
    finished = folder / name
    building = unfinished(finished)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir()
    with writing_weights(building):
        save_file(weights, building / WEIGHTS)
        torch.save(moments, building / OPTIMIZER)
    (building / STATE).write_text(json.dumps(asdict(progress), indent=2), encoding="utf-8")
    replace_folder(building, finished)
    write_atomically(folder / LATEST, name)
    for entry in folder.iterdir():
        if entry.is_dir() and entry != finished:
            shutil.rmtree(entry)


def _whole_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's state with nothing spread over processes."""
    import torch

    state = optimizer.state_dict()
    whole_of = {
        number: {name: whole(value) if isinstance(value, torch.Tensor) else value for name, value in own.items()}
        for number, own in state["state"].items()
    }
    return {**state, "state": whole_of}


def _spread_state(state: dict[str, Any], weights: Sequence[torch.Tensor]) -> dict[str, Any]:
    """A saved state, its moments spread as the weights are that they belong to."""
    spread = {
        number: {
            name: spread_like(value, weights[number]) if value.shape == weights[number].shape else value
            for name, value in own.items()
        }
        for number, own in state["state"].items()
    }
    return {**state, "state": spread}


@contextmanager
def writing_weights(folder: Path) -> Iterator[None]:
    """Say in one line that weights could not be written; for a full disk their libraries have errors of their own."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DistillError(
            f"'{folder}' cannot be written: {reason}",
            hint="make room on the disk, then run the same command again: it goes on from the last checkpoint",
        ) from error


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
            weight.copy_(spread_like(weights[name], weight))
    state = torch.load(checkpoint / OPTIMIZER, map_location="cpu", weights_only=True)
    moved = [weight for group in optimizer.param_groups for weight in group["params"]]
    optimizer.load_state_dict(_spread_state(state, moved))
    return Progress(**json.loads((checkpoint / STATE).read_text(encoding="utf-8")))
