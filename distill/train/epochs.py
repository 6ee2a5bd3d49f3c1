"""What happens at the end of an epoch: the student is measured, and kept if it is the best so far.

``evaluations.jsonl`` has one line an epoch: ``{"step": 12, "epoch": 1, "validation_loss": 0.8, "accuracy": 0.41}``,
the loss where groups were held out, the rest from whoever was asked. An epoch whose checkpoint is there and whose
line is not is measured before a resumed run goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from distill.config import TrainConfig
from distill.errors import DistillError
from distill.files import replace_folder, unfinished
from distill.train.report import read_metrics
from distill.train.student import Student, save_student
from distill.train.trackers import Trackers
from distill.train.trainer import Trainer

EVALUATIONS_FILE, BEST = "evaluations.jsonl", "best"
LOSS, ACCURACY = "validation_loss", "accuracy"

OnEpochEnd = Callable[[int, Student], Mapping[str, float] | None]
"""``on_epoch_end(epoch, student)``, epochs counted from 1, the model in eval mode; numbers to write down."""


class EpochEnds:
    """Measures and keeps students, by every process together.

    Raises:
        DistillError: the best student is to be kept, and nothing says which is better.
    """

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        trainer: Trainer,
        on_epoch_end: OnEpochEnd | None,
        trackers: Trackers,
    ) -> None:
        if config.keep == "best" and not trainer.validation and on_epoch_end is None:
            raise DistillError(
                "keep: best needs something to compare students by",
                hint="hold groups out with validation_share, or measure every epoch with --evaluate",
            )
        self._keeps_best, self._out, self._trackers = config.keep == "best", out, trackers
        self._trainer, self._on_epoch_end = trainer, on_epoch_end

    @property
    def best(self) -> Path | None:
        """The folder of the best student so far."""
        folder = self._out / BEST
        return folder if self._keeps_best and folder.is_dir() else None

    def catch_up(self) -> None:
        """Measure the epoch that a resumed run has just finished, if nobody has."""
        plan, done = self._trainer.plan, self._trainer.progress.step
        if done and plan.ends_epoch(done - 1):
            epoch = plan.epoch_of(done - 1) + 1
            if all(line["epoch"] != epoch for line in self._lines()):
                self.after(epoch)

    def held_out_loss(self) -> dict[str, float]:
        """The loss on the groups that are held out, by its name; nothing where there are none."""
        trainer = self._trainer
        if not trainer.validation:
            return {}
        trainer.student.model.eval()
        loss = trainer.validation_loss()
        trainer.student.model.train()
        return {LOSS: loss}

    def after(self, epoch: int) -> None:
        """Measure the student of this epoch, counted from 1, write that down, and keep it if it is the best."""
        trainer = self._trainer
        student, ranks = trainer.student, trainer.ranks
        numbers = self.held_out_loss()
        student.model.eval()
        if self._on_epoch_end is not None:
            numbers |= self._on_epoch_end(epoch, student) or {}
        student.model.train()
        numbers = ranks.gather(numbers)[0]
        if self._keeps_best and self._is_best(numbers):
            building = unfinished(self._out / BEST)
            if ranks.is_first:
                shutil.rmtree(building, ignore_errors=True)
            save_student(student, building, writes=ranks.is_first)
            if ranks.is_first:
                replace_folder(building, self._out / BEST)
        if ranks.is_first and (self._trainer.validation or self._on_epoch_end is not None):
            line = {"step": trainer.progress.step, "epoch": epoch, **numbers}
            with (self._out / EVALUATIONS_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._trackers.log(line)
        ranks.wait()

    def _is_best(self, numbers: Mapping[str, float]) -> bool:
        return all(_score(numbers) > _score(line) for line in self._lines())

    def _lines(self) -> list[dict[str, float]]:
        return read_metrics(self._out / EVALUATIONS_FILE)


def _score(numbers: Mapping[str, float]) -> float:
    """Higher is better: accuracy where it was measured, else the loss.

    >>> _score({"validation_loss": 0.8, "accuracy": 0.41}), _score({"validation_loss": 0.8})
    (0.41, -0.8)
    """
    if ACCURACY not in numbers and LOSS not in numbers:
        raise DistillError(
            f"keep: best compares '{ACCURACY}' or '{LOSS}', and an epoch has neither",
            hint="hold groups out with validation_share, or evaluate on a benchmark that asks for answers",
        )
    return numbers[ACCURACY] if ACCURACY in numbers else -numbers[LOSS]
