"""Slow Tuning in the training loop: when weights go back, what AdamW keeps, and what is written about it.

``projections.jsonl`` has one line for every matrix at every projection:

    {"step": 12, "epoch": 1, "name": "model.layers.0.self_attn.q_proj", "norm": 2.5, "ratio": 0.4}

``norm`` is the size of its change since the start before it went back, ``ratio`` what the change was multiplied by.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.config import SlowTuningConfig
from distill.train.slow_tuning import Projection, SlowTuning, check_start

if TYPE_CHECKING:
    import torch

PROJECTIONS_FILE = "projections.jsonl"


class Projector:
    """Projects a student's weights when it is time to.

    Made before the first step, and before a checkpoint is loaded: what the student is then is where its changes are
    measured from.

    Args:
        out: the run's folder, which gets the projections and, for a student that is trained as a whole, a copy of it.
        writes: False where another process writes the projections.
    """

    def __init__(
        self,
        options: SlowTuningConfig,
        model: Any,
        optimizer: torch.optim.Optimizer,
        out: Path,
        *,
        writes: bool = True,
    ) -> None:
        check_start(model)
        self._options, self._optimizer, self._writes = options, optimizer, writes
        self._slow_tuning = SlowTuning(model, options.tau, options.scope, out)
        self._path = out / PROJECTIONS_FILE

    def after_step(self, step: int, epoch: int, *, ends_epoch: bool) -> dict[str, float]:
        """Project after a step of an epoch, both counted from 1, if it is time to; numbers for the log."""
        if self._options.every == "epoch" and not ends_epoch:
            return {}
        projections = self._slow_tuning.project()
        if self._options.reset_moments:
            self._forget_moments(projections)
        if self._writes:
            lines = [json.dumps({"step": step, "epoch": epoch, **asdict(each)}) + "\n" for each in projections]
            with self._path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
        return summary(projections)

    def _forget_moments(self, projections: Sequence[Projection]) -> None:
        for change, projection in zip(self._slow_tuning.changes, projections, strict=True):
            if projection.ratio < 1:
                for weight in change.weights:
                    self._optimizer.state.pop(weight, None)


def summary(projections: Sequence[Projection]) -> dict[str, float]:
    """What one projection did to all matrices.

    >>> summary([Projection("q", 0.5, 1.0), Projection("v", 4.0, 0.25)])
    {'largest_change': 4.0, 'matrices_shrunk': 1, 'smallest_ratio': 0.25}
    """
    ratios = [each.ratio for each in projections]
    return {
        "largest_change": max(each.norm for each in projections),
        "matrices_shrunk": sum(ratio < 1 for ratio in ratios),
        "smallest_ratio": min(ratios),
    }
