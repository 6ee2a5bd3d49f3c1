"""One of several processes that train: ``torchrun tests/rank_process.py JOBS``, a JSON list of config, out and resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from distill.config import TrainConfig
from distill.train.loop import train_student
from distill.train.ranks import leave_ranks


def main() -> None:
    torch.set_num_threads(1)
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        stop_after = job.get("stop_after")

        def ends(epoch: int, _: object, last: int | None = stop_after) -> None:
            if epoch == last:
                raise InterruptedError

        try:
            train_student(TrainConfig.model_validate(job["config"]), Path(job["out"]), on_epoch_end=ends)
        except InterruptedError:
            if stop_after is None:
                raise
    leave_ranks()


if __name__ == "__main__":
    main()
