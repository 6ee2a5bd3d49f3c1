"""The training loop: plan, forward, loss, step; every step one line of metrics, every epoch a checkpoint.

A step is a fixed list of groups whose loss is normalised by the step's own numbers, so micro-batches,
which only follow the token budget, change nothing but memory. Nothing random survives a step: dropout
is seeded by (seed, step). Together with the optimizer's state that makes a resumed run equal to one
that was never interrupted, on the CPU bit for bit.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from distill.config import ResumePolicy, TrainConfig
from distill.errors import DistillError
from distill.files import hold_folder, replace_folder, unfinished
from distill.models import STUDENT_REPORT_FILE, load_tokenizer
from distill.train import ReportProgress, silent
from distill.train.checkpoint import load_checkpoint, save_checkpoint
from distill.train.data import TrainData
from distill.train.encode import StudentEncoder
from distill.train.epochs import BEST, EVALUATIONS_FILE, EpochEnds, OnEpochEnd
from distill.train.losses.base import Method
from distill.train.losses.own import load_method
from distill.train.patterns import failure_patterns
from distill.train.projections import PROJECTIONS_FILE, Projector
from distill.train.ranks import Ranks, join_ranks
from distill.train.reading import open_dataset, read_training_data
from distill.train.report import (
    METRICS_FILE,
    REPORT_FILE,
    TrainReport,
    epoch_means,
    keep_metrics_until,
    library_versions,
    read_metrics,
    read_report,
)
from distill.train.run_folder import (
    CHECKPOINTS,
    STUDENT,
    decisive_settings,
    is_finished,
    open_run,
    resume_point,
)
from distill.train.slow_tuning import BASE_FILE, keep_base
from distill.train.student import check_vocabulary, load_student, save_student
from distill.train.trackers import Trackers, open_trackers
from distill.train.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Hooks:
    """Who is told of a run, and asked about it."""

    progress: ReportProgress
    on_epoch_end: OnEpochEnd | None
    stopped: Callable[[], bool]


def never() -> bool:
    """Nobody stops the run."""
    return False


def train_student(
    config: TrainConfig,
    out: Path,
    *,
    resume: ResumePolicy = "if-possible",
    progress: ReportProgress = silent,
    on_epoch_end: OnEpochEnd | None = None,
    stopped: Callable[[], bool] = never,
) -> TrainReport:
    """Train a student on a curated dataset and leave it in ``out / "student"``.

    Args:
        out: the run's folder. One that holds the same run is continued, or its report returned when it
            is finished, as ``resume`` allows.
        resume: 'never' wants an empty folder, 'always' one that holds a run, 'if-possible' takes either.
        progress: called as ``progress(stage, advance, total)``; the stages are 'read', counted in groups of the
            dataset, and 'train', counted in optimizer steps.
        on_epoch_end: called as ``on_epoch_end(epoch, student)`` after the checkpoint of an epoch, counted
            from 1, by every process; the model is in eval mode meanwhile. Numbers that it returns are written to
            ``evaluations.jsonl`` and into the report. Not repeated for epochs before a resumed one.
        stopped: asked after every step; once it is true the step is saved and the run ends.

    Raises:
        DistillError: the dataset, model, method or folder does not fit, or too many steps were not finite.
        KeyboardInterrupt: ``stopped`` said so; the message says what is saved.
    """
    method: Method = load_method(config.method, config.loss)
    ranks = join_ranks(config.device)
    if not ranks.is_first:
        progress = silent
    progress("read", 0, None)  # torch and the tokenizer take seconds to load
    encoder = StudentEncoder(load_tokenizer(config.model), config.prompt)

    def reading(stage: str, advance: int, total: int | None) -> None:
        progress(stage, advance, total)
        if stopped():
            raise KeyboardInterrupt("interrupted before the first step")

    data = read_training_data(open_dataset(Path(config.dataset)), config, encoder, method, reading)
    with hold_folder(out) if ranks.is_first else nullcontext():
        if ranks.is_first:
            open_run(out, config, decisive_settings(config, data), resume)
        ranks.wait()
        if is_finished(out):
            return read_report(out / REPORT_FILE)
        hooks = Hooks(progress, on_epoch_end, stopped)
        report = _run(config, out, data, method, ranks, hooks)
        ranks.wait()
    return report


def _run(
    config: TrainConfig,
    out: Path,
    data: TrainData,
    method: Method,
    ranks: Ranks,
    hooks: Hooks,
) -> TrainReport:
    """Train from the base student or the latest checkpoint to the report."""
    import torch

    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices):
        torch.manual_seed(config.seed)  # draws the adapters
        student = load_student(config, processes=ranks.size if config.shards else 1)
        check_vocabulary(student, data.largest_id())
        checkpoint = resume_point(out)
        if ranks.is_first and checkpoint is None:
            (out / BASE_FILE).unlink(missing_ok=True)  # of another base, if a run ended here before its first step
            if config.slow_tuning is not None and config.lora is None:
                keep_base(student.model, out)
        ranks.wait()
        trainer = Trainer(config, data, student, method, ranks)
        projector = None
        if config.slow_tuning is not None:
            options = config.slow_tuning
            projector = Projector(options, student.model, trainer.optimizer, out, writes=ranks.is_first)
        if checkpoint is not None:
            trainer.progress = load_checkpoint(checkpoint, student, trainer.optimizer)
        if ranks.is_first:
            for name in (METRICS_FILE, PROJECTIONS_FILE, EVALUATIONS_FILE):
                keep_metrics_until(out / name, trainer.progress.step)
        ranks.wait()
        with open_trackers(config, out) if ranks.is_first else nullcontext(Trackers([])) as trackers:
            ends = EpochEnds(config, out, trainer, hooks.on_epoch_end, trackers)
            hooks.progress("train", trainer.progress.step, trainer.plan.num_steps)
            _take_steps(trainer, projector, config, out, hooks, ends, trackers)
    return _finish(trainer, config, out, ends.best)


def _take_steps(
    trainer: Trainer,
    projector: Projector | None,
    config: TrainConfig,
    out: Path,
    hooks: Hooks,
    ends: EpochEnds,
    trackers: Trackers,
) -> None:
    """All steps that are left, with their metrics, checkpoints and measurements.

    Weights go back before anything is saved, so a run that is resumed does not project again.
    """
    ends.catch_up()
    plan, writes = trainer.plan, trainer.ranks.is_first
    path = out / METRICS_FILE if writes else Path(os.devnull)
    with path.open("a", encoding="utf-8", buffering=1) as metrics_file:
        for step in range(trainer.progress.step, plan.num_steps):
            metrics, epoch, ends_epoch = trainer.take_step(), plan.epoch_of(step) + 1, plan.ends_epoch(step)
            if projector is not None:
                metrics |= projector.after_step(step + 1, epoch, ends_epoch=ends_epoch)
            if config.validate_every and (step + 1) % config.validate_every == 0:
                metrics |= ends.held_out_loss()
            metrics_file.write(json.dumps(metrics) + "\n")
            trackers.log(metrics)
            hooks.progress("train", 1, plan.num_steps)
            stops = any(trainer.ranks.gather(hooks.stopped()))
            if ends_epoch or stops or (config.save_every and (step + 1) % config.save_every == 0):
                save_checkpoint(out / CHECKPOINTS, trainer.student, trainer.optimizer, trainer.progress, writes=writes)
            if stops:
                raise KeyboardInterrupt(f"interrupted; step {step + 1} of {plan.num_steps} is saved")
            if ends_epoch:
                ends.after(epoch)


def _finish(trainer: Trainer, config: TrainConfig, out: Path, best: Path | None) -> TrainReport:
    """Write the last student or the best, then the report, which makes the run a finished one.

    Checkpoints and base have served then.
    """
    done = trainer.progress
    if done.skipped_steps == done.step:
        raise DistillError(
            f"none of {done.step} steps had a finite loss and gradient, so nothing was learnt",
            hint="lower optimizer.learning_rate and start again in another folder",
        )
    building = unfinished(out / STUDENT)
    if trainer.ranks.is_first:
        shutil.rmtree(building, ignore_errors=True)
    if best is None:
        save_student(trainer.student, building, writes=trainer.ranks.is_first)
    elif trainer.ranks.is_first:
        shutil.copytree(best, building)
    epochs = epoch_means(read_metrics(out / METRICS_FILE), read_metrics(out / EVALUATIONS_FILE))
    report = TrainReport(
        method=config.method,
        model=config.model,
        student=str(out / STUDENT),
        is_adapter=config.lora is not None,
        dataset=config.dataset,
        run_id=trainer.data.run_id,
        steps=done.step,
        skipped_steps=done.skipped_steps,
        epochs=epochs,
        data=trainer.data.counts,
        tokens=done.tokens,
        tokens_per_second=done.tokens / done.wall_seconds,
        cpu_seconds=done.cpu_seconds,
        wall_seconds=done.wall_seconds,
        peak_memory_bytes=trainer.peak_memory(),
        versions=library_versions(),
        config=config.model_dump(mode="json"),
        patterns=tuple(asdict(pattern) for pattern in failure_patterns(epochs, config)),
    )
    if not trainer.ranks.is_first:
        return report
    report.write(building / STUDENT_REPORT_FILE)
    replace_folder(building, out / STUDENT)
    report.write(out / REPORT_FILE)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    shutil.rmtree(out / BEST, ignore_errors=True)
    (out / BASE_FILE).unlink(missing_ok=True)
    return report
