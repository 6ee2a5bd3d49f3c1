"""``distill train --evaluate``: the student of every epoch on benchmarks, for the loop to write down."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill.config import EvalConfig
    from distill.evals.report import Report
    from distill.train import ReportProgress
    from distill.train.epochs import OnEpochEnd
    from distill.train.student import Student


def evaluating(config: EvalConfig, out: Path, progress: ReportProgress) -> OnEpochEnd:
    """What the loop calls after every epoch: its student on the config's benchmarks.

    Reports and completions stay in ``out / "epochs"``.

    Raises:
        DistillError: a benchmark that cannot be read.
    """
    from distill.evals.benchmarks import read_benchmarks
    from distill.evals.run import evaluate
    from distill.train.ranks import join_ranks
    from distill.train.student import save_student

    read_benchmarks(config)  # before hours of training, not after them

    def on_epoch_end(epoch: int, student: Student) -> Mapping[str, float]:
        ranks, folder = join_ranks(config.device), out / "epochs" / f"{epoch:03d}"
        weights = folder / "student.tmp"
        if ranks.is_first:
            shutil.rmtree(weights, ignore_errors=True)
        save_student(student, weights, writes=ranks.is_first)
        if not ranks.is_first:
            return {}
        own = config.model_copy(update={"model": str(weights)})

        def told(stage: str, advance: int, total: int | None) -> None:
            progress(f"epoch {epoch}, {stage}", advance, total)

        reports = evaluate(own, folder, progress=told)
        shutil.rmtree(weights)
        return _numbers(reports)

    return on_epoch_end


def _numbers(reports: Sequence[Report]) -> dict[str, float]:
    """The mean accuracy of benchmarks whose right answer is not a refusal; of several, each one's own beside it.

    On AdvBench accuracy is the share of harmful requests that were refused.
    """
    from distill.evals.safety_sources import asks_to_refuse

    found = {report.name: report.accuracy for report in reports}
    safety = [report.accuracy for report in reports if report.benchmark == "advbench"]
    found |= {"safety_ratio": safety[0]} if safety else {}
    asked = [report.accuracy for report in reports if not asks_to_refuse(report)]
    if not asked:
        return found
    return {"accuracy": sum(asked) / len(asked), **(found if len(found) > 1 else {})}
