"""The commands that make a dataset of groups, and tell how a run stands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.commands.options import (
    GRACE_SECONDS,
    AllowCodeOption,
    AllowNetworkOption,
    AuditOption,
    JsonOption,
    LimitOption,
    OutOption,
    PrintConfigOption,
    RecipeOption,
    ResumeOption,
    SeedOption,
    SetOption,
    SourceArgument,
    TokenizerOption,
    interruptible,
    judging_flags,
    load,
    source_name,
)
from distill.commands.scaling import (
    ExecutorOption,
    GpusOption,
    SlurmOption,
    TasksOption,
    WorkersOption,
    curate_at_scale,
    read_scale,
    show_scripts,
)
from distill.errors import DistillError

if TYPE_CHECKING:
    from distill.config import CurateConfig
    from distill.curate.executors import Scale
    from distill.curate.watch import Snapshot
    from distill.terminal.progress import ReportProgress


def curate(
    source: SourceArgument,
    teacher: Annotated[str | None, typer.Option(help="Hub id or folder of the teacher, or 'tiny-teacher'.")] = None,
    backend: Annotated[str | None, typer.Option(help="What writes completions: hf, vllm, server, recorded.")] = None,
    completions: Annotated[Path | None, typer.Option(help="File of recorded completions.")] = None,
    tokenizer: TokenizerOption = None,
    recipe: RecipeOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sampled, and stop.")] = False,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="RANK/N", help="Only this share of the problems; then 'join'.")
    ] = None,
    executor: ExecutorOption = None,
    tasks: TasksOption = None,
    workers: WorkersOption = None,
    gpus_per_task: GpusOption = 0,
    slurm: SlurmOption = None,
    audit_fast_path: AuditOption = None,
    allow_code: AllowCodeOption = False,
    allow_network: AllowNetworkOption = False,
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample groups of completions from a teacher, judge and reward them, and write a dataset.

    [dim]distill curate gsm8k --teacher Qwen/Qwen2.5-7B-Instruct --executor local --tasks 16[/dim]
    [dim]distill curate problems.jsonl --completions completions.jsonl --tokenizer MODEL[/dim]
    """
    from distill import terminal
    from distill.config import CurateConfig

    flags = {
        "source": {"name": source, "limit": limit},
        "teacher": {"model": teacher, "backend": backend or ("recorded" if completions else None)},
        "recorded": {"path": completions and str(completions), "tokenizer": tokenizer},
        "verifier": judging_flags(audit_fast_path, allow_code, allow_network),
    }
    config = _warned_of_a_toy(load(CurateConfig, "curate", recipe, sets, {**flags, "seed": seed}, print_config))
    scale = read_scale(executor, tasks, workers, gpus_per_task, slurm)
    folder = out or Path("runs", source_name(source))
    if dry_run:
        return _show_plan(config, folder, scale, as_json)
    if scale and shard is not None:
        raise DistillError("'--shard' and '--executor' do not go together", hint="an executor runs all shards")
    if scale:
        return curate_at_scale(config, folder, scale, resume=resume, as_json=as_json)
    from distill.curate import cut, pipeline

    with interruptible("finished groups are safe", GRACE_SECONDS) as stopped, terminal.show_progress() as progress:
        told: dict[str, Any] = {"progress": progress, "stopped": stopped, "show": partial(_note, progress)}
        if shard is not None:
            return terminal.show_shard(
                pipeline.run_shard(config, folder, cut.parse_shard(shard), **told), as_json=as_json
            )
        result = pipeline.curate_dataset(config, folder, resume=resume, **told)
    return terminal.show_curated(result, as_json=as_json)


def _warned_of_a_toy(config: CurateConfig) -> CurateConfig:
    """The same; whoever forgot to name a teacher should not find that out from what it wrote."""
    from distill.cards import card_names
    from distill.models import TINY_MODELS

    teacher, others = config.teacher, set(card_names()) - {"arithmetic"}
    if teacher.backend == "hf" and teacher.model in TINY_MODELS and config.source.name in others:
        typer.echo(f"note: '{teacher.model}' knows nothing but 'arithmetic'; --teacher names another", err=True)
    return config


def _show_plan(config: CurateConfig, folder: Path, scale: Scale | None, as_json: bool) -> None:
    """What --dry-run prints: the scripts that a cluster would get, or the plan."""
    from distill import terminal
    from distill.curate.plan import plan_run

    if scale and scale.executor == "slurm":
        return show_scripts(config, folder, scale)
    return terminal.show_plan(plan_run(config, folder), as_json=as_json)


def _note(progress: ReportProgress, snapshot: Snapshot) -> None:
    from distill.terminal import snapshot_line

    progress.note(snapshot_line(snapshot))


def preview(
    source: SourceArgument,
    groups: Annotated[int, typer.Option("--groups", "-n", min=1, max=4, help="How many problems are sampled.")] = 2,
    teacher: Annotated[str | None, typer.Option(help="Hub id or folder of the teacher, or 'tiny-teacher'.")] = None,
    backend: Annotated[str | None, typer.Option(help="What writes the completions; 'distill list backends'.")] = None,
    recipe: RecipeOption = None,
    seed: SeedOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sample one to four groups as 'curate' would, show them with verdicts and rewards, and keep nothing.

    [dim]distill preview gsm8k --teacher Qwen/Qwen2.5-7B-Instruct -n 1[/dim]
    """
    import tempfile

    from distill import terminal
    from distill.config import CurateConfig

    flags = {
        "source": {"name": source, "limit": groups},
        "teacher": {"model": teacher, "backend": backend},
        "seed": seed,
    }
    config = load(CurateConfig, "curate", recipe, sets, flags, False)
    from distill.curate import pipeline
    from distill.curate.dataset import load_groups

    with tempfile.TemporaryDirectory() as folder, interruptible("nothing was kept"):
        with terminal.show_progress() as progress:
            result = pipeline.curate_dataset(config, folder, progress=progress)
        terminal.show_groups(list(load_groups(result.dataset)), as_json=as_json)


def join(
    run: Annotated[Path, typer.Argument(help="Folder of a curation run that was cut in shards.")],
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Take what is there when shards are missing or unfinished.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the dataset of a run whose shards are finished; doing it again changes nothing.

    [dim]distill curate gsm8k --shard 0/16 --out runs/gsm8k   # and 1/16 ... 15/16, anywhere[/dim]
    [dim]distill join runs/gsm8k[/dim]
    """
    from distill import terminal
    from distill.curate.pipeline import join_run

    with interruptible("the shards are untouched"), terminal.show_progress() as progress:
        result = join_run(run, allow_missing=allow_missing, progress=progress)
    terminal.show_curated(result, as_json=as_json)


def score(
    run: Annotated[Path, typer.Argument(help="Folder of a curation run.")],
    recipe: RecipeOption = None,
    sets: SetOption = None,
    audit_fast_path: AuditOption = None,
    allow_code: AllowCodeOption = False,
    allow_network: AllowNetworkOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge and reward a run's completions again with other settings; samples nothing.

    [dim]distill score runs/arithmetic --set rewards.parts.cosine.options.preset=open-rs[/dim]
    """
    from distill import terminal
    from distill.config import CurateConfig
    from distill.curate import pipeline

    flags = {"verifier": judging_flags(audit_fast_path, allow_code, allow_network)}
    stored = pipeline.stored_recipe(run)
    config = load(CurateConfig, "curate", recipe or stored, sets, flags, False)
    with interruptible("the completions are untouched"), terminal.show_progress() as progress:
        result = pipeline.score_run(run, config, progress=progress)
    terminal.show_curated(result, as_json=as_json)


def status(
    run: Annotated[Path, typer.Argument(help="Folder of a curation run.")],
    as_json: JsonOption = False,
) -> None:
    """Say how a curation run stands, from another terminal or afterwards.

    [dim]distill status runs/gsm8k[/dim]
    """
    from distill import terminal
    from distill.curate.watch import read_status

    terminal.show_status(read_status(run), as_json=as_json)
