"""Numbers of a run, shown elsewhere while it runs: TensorBoard, Weights & Biases, Trackio, or a class of one's own.

``track: [tensorboard]`` names them; metrics.jsonl is written in any case. A tracker is made from the run's folder and
config, gets every step's and every epoch's numbers, and is closed at the end, also of a run that fails.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, Protocol

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.fingerprints import fingerprint
from distill.registry import load


class Tracker(Protocol):
    """Made as ``Tracker(out, config)``."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a step, counted from 1; numbers of one step may come in two calls."""

    def close(self) -> None:
        """Write what is left."""


class Trackers:
    """All of a run's trackers."""

    def __init__(self, trackers: list[Tracker]) -> None:
        self._trackers = trackers

    def log(self, line: Mapping[str, Any]) -> None:
        """Tell a line of metrics.jsonl or evaluations.jsonl to all of them; what is no number is left out."""
        numbers = {name: value for name, value in line.items() if name != "step" and isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.log(line["step"], numbers)


@contextmanager
def open_trackers(config: TrainConfig, out: Path) -> Iterator[Trackers]:
    """The trackers that ``config.track`` names.

    Raises:
        DistillError: one of them is not known or not installed.
    """
    with ExitStack() as stack:
        trackers = []
        for name in config.track:
            try:
                with redirect_stdout(sys.stderr):  # which belongs to data; some of them print
                    tracker: Tracker = load("trackers", name)(out, config)
            except ImportError as error:
                raise DistillError(
                    f"the tracker '{name}' cannot be used: {error}", hint="pip install 'distill-reasoning[track]'"
                ) from None
            stack.callback(_close, tracker)
            trackers.append(tracker)
        yield Trackers(trackers)


def _close(tracker: Tracker) -> None:
    with redirect_stdout(sys.stderr):
        tracker.close()


class TensorBoard:
    """Event files in ``out / "tensorboard"``: ``tensorboard --logdir runs``."""

    def __init__(self, out: Path, config: TrainConfig) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(out / "tensorboard"))
        self._writer.add_text("config", config.model_dump_json(indent=2))

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WandB:
    """A run of Weights & Biases, named as the folder; WANDB_PROJECT, WANDB_MODE and the login are its own."""

    def __init__(self, out: Path, config: TrainConfig) -> None:
        import wandb

        self._run: Any = wandb.init(
            id=_run_id(out), name=out.name, dir=str(out), config=config.model_dump(mode="json"), resume="allow"
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


class Trackio:
    """A run of Trackio, which keeps it on this machine: ``trackio show``. The project is 'distill'."""

    def __init__(self, out: Path, config: TrainConfig) -> None:
        import trackio

        self._run: Any = trackio.init(
            project="distill", name=_run_id(out), config=config.model_dump(mode="json"), resume="allow"
        )

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Show the numbers of a step."""
        self._run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


def _run_id(out: Path) -> str:
    """A name for a folder that stays the same when its run is resumed, and differs from another's of the same name."""
    return f"{out.name}-{fingerprint(str(out.resolve()))[:8]}"
