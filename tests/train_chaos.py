"""kill -9 of real training processes, resumed each time, and what must hold after every kill."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from distill.config import TrainConfig
from distill.recipe import to_yaml
from distill.train.checkpoint import latest_checkpoint
from tests.chaos import run_with_kills, started

REPOSITORY = Path(__file__).parents[1]


def training(config: TrainConfig, out: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """``distill train`` in a process of its own; its recipe is written beside the run."""
    out.parent.mkdir(parents=True, exist_ok=True)
    recipe = out.with_name(f"{out.name}.yaml")
    recipe.write_text(to_yaml(config, "train"), encoding="utf-8")
    command = [sys.executable, "-m", "distill", "train", config.dataset, "--recipe", str(recipe), "--out", str(out)]
    return started([*command, "--json"], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def steps_done(out: Path) -> int:
    """Lines of metrics that are whole."""
    path = out / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def while_saving(out: Path) -> bool:
    """True while a checkpoint is being written."""
    return any((out / "checkpoints").glob("*.tmp"))


def while_finishing(out: Path) -> bool:
    """True while the student is being written."""
    return (out / "student.tmp").exists()


def after_steps(number: int) -> Callable[[Path], bool]:
    """True once that many steps are written down."""
    return lambda out: steps_done(out) >= number


def train_with_kills(config: TrainConfig, out: Path, moments: Iterator[Callable[[Path], bool]]) -> list[int]:
    """Train to the end, killed at each moment that comes, one a process; steps written down at each kill."""
    happened = (partial(moment, out) for moment in moments)
    return run_with_kills(partial(training, config, out), happened, partial(checkpoint_step, out), partial(check, out))


def checkpoint_step(out: Path) -> int:
    """The step of the checkpoint that a resumed run would take; 0 without one."""
    found = latest_checkpoint(out / "checkpoints")
    return 0 if found is None else int(json.loads((found / "state.json").read_text("utf-8"))["step"])


def check(out: Path, had: int) -> int:
    """What is there after a kill can be gone on from, and is not older than what was there before.

    Returns how many steps are written down.
    """
    import torch

    if not (out / "train.json").is_file():
        found = latest_checkpoint(out / "checkpoints")
        assert checkpoint_step(out) >= had
        if found is not None:
            assert load_file(found / "weights.safetensors")
            assert torch.load(found / "optimizer.pt", weights_only=True)["state"]
    return steps_done(out)


def same_run(one: Path, other: Path) -> None:
    """Both ended with the same weights and the same losses, bit for bit."""

    def numbers(out: Path) -> list[Any]:
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
        return [(line["step"], line["loss"], line["grad_norm"]) for line in lines]

    assert numbers(one) == numbers(other)
    files = sorted(path.name for path in (one / "student").glob("*.safetensors"))
    assert files
    for name in files:
        assert (one / "student" / name).read_bytes() == (other / "student" / name).read_bytes()
