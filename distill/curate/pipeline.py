"""Curation from end to end: problems, completions, scores, entropies, dataset; every stage can be resumed by itself."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.config import CurateConfig, PromptConfig, ResumePolicy
from distill.curate import Progress
from distill.curate.cut import Shard
from distill.curate.finish import CurateResult, finish, need_groups
from distill.curate.job import Job, open_job, read_source
from distill.curate.plan import RunPlan, plan_run
from distill.curate.preparation import ProblemList, prepare_problems, stored_problems
from distill.curate.run_dir import RunDir, read_config, recorded_commit
from distill.curate.sampling import sample_groups
from distill.curate.scoring import Scoring, measure_entropies, score_groups
from distill.curate.settings import about, rescoring_settings, stage_settings
from distill.curate.shards import Stages, check_cut, of_shard, open_stages, stored_shards
from distill.curate.stage import stage_fingerprint
from distill.curate.watch import Session, Snapshot, Watch
from distill.errors import DistillError
from distill.files import hold_folder, replace_folder
from distill.fingerprints import differences

__all__ = [
    "CurateResult",
    "RunPlan",
    "ShardResult",
    "curate_dataset",
    "join_run",
    "plan_run",
    "prepare_run",
    "run_shard",
    "score_run",
    "stored_recipe",
]

RESCORED_SECTIONS = ("advantages", "entropies", "filters", "rewards", "verifier")


@dataclass(frozen=True, slots=True)
class ShardResult:
    """What one shard has produced."""

    run: Path
    shard: Shard
    problems: int
    """Problems of the shard."""
    groups: int
    """Those that have a group now."""


def curate_dataset(
    config: CurateConfig,
    out: Path | str,
    *,
    resume: ResumePolicy = "if-possible",
    progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
    show: Callable[[Snapshot], None] = lambda _: None,
) -> CurateResult:
    """Sample groups of completions, judge and reward them, and write a dataset.

    Interrupted or killed at any point, the same call goes on where it stopped: no finished group is lost or
    sampled again. ``source.limit`` is no part of what must match, so a larger one extends a run.

    Args:
        out: the run's folder.
        resume: 'never' wants a new folder, 'always' one that holds a run; 'if-possible' takes either.
        progress: called with (stage, advance, total), often.
        stopped: asked before every problem; once true no other is begun, those in flight are finished, and the
            session ends as by Ctrl-C.
        show: called with a snapshot of the session about once a second.

    Raises:
        DistillError: anything a user can put right; before the first token wherever that is possible.
        KeyboardInterrupt: its text says how many groups are safe.
    """
    report, shard = progress or _no_progress, Shard()
    with _opened(config, Path(out), resume, report, shard) as (run, job, prompt, problems):
        with open_stages(run.path, job, shard) as stages, _watched(run.path, shard, show) as watch:
            _run_stages(job, prompt, problems, stages, Session(report, watch, stopped))
        return finish(run, job, problems, [shard], report)


def run_shard(
    config: CurateConfig,
    out: Path | str,
    shard: Shard,
    *,
    progress: Progress | None = None,
    stopped: Callable[[], bool] = lambda: False,
    show: Callable[[Snapshot], None] = lambda _: None,
) -> ShardResult:
    """Sample and score one shard of a run; any number of processes may work on the shards of one folder.

    Shards are resumed as whole runs are. When all are finished, ``join_run`` writes the dataset.

    Args:
        out: the run's folder, the same for all shards; so is the config.
        shard: which one; see ``curate_dataset`` for the others.

    Raises:
        DistillError: another process works on this shard, the run is cut otherwise, or as for ``curate_dataset``.
        KeyboardInterrupt: its text says how many groups are safe.
    """
    report = progress or _no_progress
    with _opened(config, Path(out), "if-possible", report, shard) as (run, job, prompt, problems):
        run.release()  # to the other shards
        with (
            hold_folder(run.path / "completions" / shard.name),
            open_stages(run.path, job, shard) as stages,
            _watched(run.path, shard, show) as watch,
        ):
            own = of_shard(problems, shard)
            _run_stages(job, prompt, own, stages, Session(report, watch, stopped))
            return ShardResult(run.path, shard, len(own.indices), len(own.indices & stages.completions.done))


def prepare_run(
    config: CurateConfig,
    out: Path | str,
    world_size: int,
    *,
    resume: ResumePolicy = "if-possible",
    progress: Progress | None = None,
) -> ProblemList:
    """Begin a session on a run for other processes to work on its shards: the recipe is written, problems are listed.

    Args:
        out: the run's folder.
        world_size: in how many shards it is cut; see ``curate_dataset`` for the others.

    Raises:
        DistillError: whatever can be known before the first token, here once instead of in every shard.
    """
    with _opened(config, Path(out), resume, progress or _no_progress, Shard(0, world_size)) as (_, _, _, problems):
        return problems


def join_run(run: Path | str, *, allow_missing: bool = False, progress: Progress | None = None) -> CurateResult:
    """Write the dataset of a run whose shards are finished; again, it writes the same.

    Args:
        run: the run's folder.
        allow_missing: take what is there when shards are missing or unfinished.

    Raises:
        DistillError: the folder holds no run, or a shard is missing, unfinished or at work.
    """
    report, path = progress or _no_progress, Path(run)
    config = read_config(path)
    with RunDir(path) as opened, open_job(config, opened.state["settings"]) as job:
        problems = stored_problems(path / "problems.parquet")
        shards = stored_shards(path)
        _check_complete(path, job, problems, shards, allow_missing)
        return finish(opened, job, problems, shards, report)


def score_run(run: Path | str, config: CurateConfig | None = None, *, progress: Progress | None = None) -> CurateResult:
    """Judge and reward the completions of a run again, without sampling, and write its dataset anew.

    The source is not needed, and the old scores stay until the new ones are complete. A run that has not
    sampled all its groups gives a dataset of those it has.

    Args:
        run: the run's folder.
        config: the run's recipe with another verifier, rewards, advantages, filters or entropies; None
            takes the run's own.
        progress: called with (stage, advance, total), often.

    Raises:
        DistillError: the folder holds no run, or the recipe differs from the run's elsewhere.
    """
    report, path = progress or _no_progress, Path(run)
    stored = read_config(path)
    config = config or stored
    _check_rescoring(stored, config)
    with RunDir(path) as opened:
        settings = rescoring_settings(config, opened.state["settings"])
        problems, shards = stored_problems(path / "problems.parquet"), stored_shards(path) or [Shard()]
        with open_job(config, settings) as job:
            _forget_entropies(path, job, shards)
            _rescore(path, job, shards, report)
            opened.record(config, settings, opened.state["about"])
            for shard in shards:
                with open_stages(path, job, shard) as stages:
                    _measure(job, stages, report)
            return finish(opened, job, problems, shards, report)


def stored_recipe(run: Path | str) -> Path:
    """The file with the recipe that a run was made with.

    Raises:
        DistillError: the folder holds no run.
    """
    read_config(Path(run))
    return Path(run) / "config.yaml"


@contextmanager
def _opened(
    config: CurateConfig, out: Path, resume: ResumePolicy, progress: Progress, shard: Shard
) -> Iterator[tuple[RunDir, Job, PromptConfig, ProblemList]]:
    """A run with its problems listed."""
    source, prompt = read_source(config, recorded_commit(out, config.source))
    settings = stage_settings(config, source, prompt)
    with open_job(config, settings) as job, RunDir(out, wait=shard.world_size > 1) as run:
        check_cut(run.path, shard)
        with _naming(run.path):
            run.start(config, settings, about(source), resume)
            path = run.path / "problems.parquet"
            covers = job.fingerprints["problems"]
            problems = prepare_problems(source, job.scorer.judge, path, covers, progress, config.decontaminate)
            need_groups(len(problems.indices), run.path, problems)
            yield run, job, prompt, problems


@contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """The system's errors name the run's folder where they name no file: a full disk never does."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(folder)
        raise


def _run_stages(job: Job, prompt: PromptConfig, problems: ProblemList, stages: Stages, session: Session) -> None:
    """Sample what is missing and score it meanwhile, score what an earlier session left, then measure entropies.

    Raises:
        KeyboardInterrupt: it was stopped, by a signal or on request, before all problems were begun; its text says
            how many groups are safe.
    """
    completions, total = stages.completions, len(problems.indices)
    try:
        groups = sample_groups(job.config, prompt, problems, completions, session)
        scoring = Scoring(job.scorer, stages.scores, session.progress, total, session.watch)
        with scoring, closing(groups):
            for group in groups:
                scoring.add(group)
            if session.stopped() and len(problems.indices - completions.done - completions.failed):
                scoring.wait()
                raise KeyboardInterrupt
            scoring.catch_up(completions)
            scoring.finish(job.fingerprints["problems"])
        _measure(job, stages, session.progress)
    except KeyboardInterrupt:
        safe = len(completions.done & problems.indices)
        groups_safe = f"{safe:,} of {total:,} groups are safe in '{completions.folder.parents[1]}'"
        raise KeyboardInterrupt(f"interrupted; {groups_safe}") from None


def _measure(job: Job, stages: Stages, progress: Progress) -> None:
    """Measure entropies where they are wanted."""
    if stages.entropies is not None:
        covers = _entropies_cover(job)
        measure_entropies(job.config, stages.completions, stages.scores, stages.entropies, covers, progress)


def _entropies_cover(job: Job) -> str:
    """Which groups the entropies are complete for: those of these problems that these scores keep."""
    return f"{job.fingerprints['problems']}/{job.fingerprints['scores']}"


def _rescore(run: Path, job: Job, shards: list[Shard], progress: Progress) -> None:
    """Put new scores in the place of the old, which stay whole until all of them are made."""
    names = [run / "scores" / shard.name for shard in shards]
    is_current = all(stage_fingerprint(name) == job.fingerprints["scores"] for name in names)
    new = None if is_current and not job.config.verifier.audit_fast_path else run / "scores.new"
    for shard in shards:
        with open_stages(run, job, shard, new) as stages:
            covers = job.fingerprints["problems"]
            score_groups(stages.completions, stages.scores, job.scorer, covers, progress)
    if new is not None:
        replace_folder(new, run / "scores")


def _forget_entropies(run: Path, job: Job, shards: list[Shard]) -> None:
    """Make room for entropies by other weights: whoever asks for them has found the first to be wrong."""
    for folder in (run / "entropies" / shard.name for shard in shards):
        wanted = job.settings["entropies"] is not None
        if wanted and stage_fingerprint(folder) not in ("", job.fingerprints["entropies"]):
            shutil.rmtree(folder)


def _check_complete(run: Path, job: Job, problems: ProblemList, shards: list[Shard], allow_missing: bool) -> None:
    """Refuse to join a run that is not whole, unless told otherwise."""
    world_size = shards[0].world_size if shards else 1
    missing = sorted({Shard(rank, world_size) for rank in range(world_size)} - set(shards))
    unfinished = []
    for shard in shards:
        with hold_folder(run / "completions" / shard.name), open_stages(run, job, shard) as stages:
            sampled = stages.completions.is_done(problems.covers) and stages.scores.is_done(problems.covers)
            if not (sampled and (stages.entropies is None or stages.entropies.is_done(_entropies_cover(job)))):
                unfinished.append(shard)
    if (missing or unfinished) and not allow_missing:
        absent = ", ".join(str(shard.rank) for shard in [*missing, *unfinished][:20])
        raise DistillError(
            f"'{run}' is not whole: of its {world_size} shards {len(missing)} are missing and {len(unfinished)} "
            f"unfinished: {absent}",
            hint=f"run them with '--shard RANK/{world_size}', or take what is there with --allow-missing",
        )


def _check_rescoring(stored: CurateConfig, config: CurateConfig) -> None:
    """Scoring anew may change who judges and rewards, not what was sampled."""
    left_out: Any = {**dict.fromkeys(RESCORED_SECTIONS, True), "teacher": {"device": True, "groups_in_flight": True}}
    old, new = (values.model_dump(mode="json", exclude=left_out) for values in (stored, config))
    differing = differences(old, new)
    if differing:
        key, before, after = differing[0]
        raise DistillError(
            f"'{key}' was {before!r} when the completions were sampled and cannot become {after!r} by scoring",
            hint=f"what can change: {', '.join(RESCORED_SECTIONS)}; for the rest start a new run",
        )


@contextmanager
def _watched(run: Path, shard: Shard, show: Callable[[Snapshot], None]) -> Iterator[Watch]:
    """A watch on this session; how the session ends stands in its last event."""
    watch = Watch(run / (f"events-{shard.name}.jsonl" if shard.world_size > 1 else "events.jsonl"), show)
    try:
        yield watch
    except KeyboardInterrupt:
        watch.end("stopped")
        raise
    except DistillError as error:
        watch.end(str(error))
        raise
    except OSError as error:
        with suppress(OSError):  # the events may lie on the same full disk
            watch.end(str(error))
        raise
    watch.end("done")


def _no_progress(stage: str, advance: int, total: int | None) -> None:
    """Report to nobody."""
