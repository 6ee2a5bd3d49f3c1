"""The commands that train a student, and make of it what others load and look at."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.commands.completing import complete_benchmark, complete_method
from distill.commands.options import (
    GRACE_SECONDS,
    JsonOption,
    OutOption,
    PrintConfigOption,
    RecipeOption,
    ResumeOption,
    SeedOption,
    SetOption,
    interruptible,
    load,
    run_name,
)

if TYPE_CHECKING:
    from distill.config import EvalConfig, ResumePolicy, TrainConfig
    from distill.train.report import TrainReport

ModelOption = Annotated[str | None, typer.Option(help="Hub id or folder of the base student, or 'tiny-student'.")]
MethodOption = Annotated[
    str | None,
    typer.Option(
        help="sft, advdistill, slowed ...; 'distill list methods' has all of them.", autocompletion=complete_method
    ),
]
CompletionsOption = Annotated[
    int | None, typer.Option("--completions-per-group", min=1, help="Use only the first N of every group.")
]
MaskOption = Annotated[
    float | None,
    typer.Option("--low-entropy-mask", metavar="K", help="Do not train on the K % surest tokens (SLowED)."),
]
TuningOption = Annotated[
    float | None,
    typer.Option("--slow-tuning", metavar="TAU", help="Let no weight matrix change by more than TAU (SLowED)."),
]
EvaluateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--evaluate",
        metavar="BENCHMARK",
        help="Measure every epoch's student; may be repeated.",
        autocompletion=complete_benchmark,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be trained, in what memory and time, and stop.")
]


def train(
    dataset: Annotated[Path, typer.Argument(help="A curated dataset, or the run that holds it.")],
    model: ModelOption = None,
    method: MethodOption = None,
    completions_per_group: CompletionsOption = None,
    low_entropy_mask: MaskOption = None,
    slow_tuning: TuningOption = None,
    evaluate: EvaluateOption = None,
    recipe: RecipeOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    dry_run: DryRunOption = False,
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a student on a dataset of groups.

    [dim]distill train runs/arithmetic --model tiny-student --method advdistill[/dim]
    [dim]distill train runs/gsm8k --model Qwen/Qwen2.5-1.5B --method sft --set lora.rank=64[/dim]
    [dim]distill train runs/arithmetic --method advdistill --low-entropy-mask 20 --slow-tuning 1[/dim]
    [dim]distill train runs/gsm8k --recipe advdistill --evaluate gsm8k:test --set keep=best[/dim]
    [dim]torchrun --nproc-per-node 4 -m distill train runs/gsm8k --recipe advdistill[/dim]
    """
    from distill import terminal
    from distill.config import TrainConfig

    flags = {
        "dataset": str(dataset),
        "model": model,
        "method": method,
        "completions_per_group": completions_per_group,
        "low_entropy_mask": {"percent": low_entropy_mask},
        "slow_tuning": {"tau": slow_tuning},
        "seed": seed,
    }
    config = load(TrainConfig, "train", recipe, sets, flags, print_config)
    _warn_of_a_toy(config)
    if dry_run:
        return _show_plan(config, as_json)
    folder = out or Path("runs") / f"{run_name(dataset)}-{config.method.split(':')[-1]}"
    report = _train(config, folder, resume, _measured(config, folder, recipe, evaluate))
    return terminal.show_trained(report, as_json=as_json) if report is not None else None


def _warn_of_a_toy(config: TrainConfig) -> None:
    """Whoever forgot to name a student should not find that out from what it learnt."""
    from distill.curate.dataset import MANIFEST, read_manifest
    from distill.models import TINY_MODELS

    run = Path(config.dataset)
    folder = next((folder for folder in (run / "dataset", run) if (folder / MANIFEST).is_file()), None)
    if config.model in TINY_MODELS and folder and read_manifest(folder).get("teacher", "") not in ("", *TINY_MODELS):
        typer.echo(f"note: '{config.model}' can learn nothing but 'arithmetic'; --model names another", err=True)


def _measured(
    config: TrainConfig, folder: Path, recipe: Path | None, benchmarks: list[str] | None
) -> EvalConfig | None:
    """How the student of every epoch is measured; None where it is not."""
    from distill.config import EvalConfig

    if not benchmarks:
        return None
    judged = {"benchmarks": benchmarks, "model": str(folder), "device": config.device, "dtype": config.dtype}
    found: EvalConfig = load(EvalConfig, "eval", recipe, None, judged, False)
    return found


def _train(config: TrainConfig, folder: Path, resume: ResumePolicy, measured: EvalConfig | None) -> TrainReport | None:
    """The report of a run; None in every process but the first."""
    from distill import terminal
    from distill.commands.epoch_evaluation import evaluating
    from distill.train import silent
    from distill.train.loop import train_student
    from distill.train.ranks import join_ranks, leave_ranks

    is_first = join_ranks(config.device).is_first
    with (
        interruptible("the last checkpoint is safe", GRACE_SECONDS) as stopped,
        terminal.show_progress() if is_first else nullcontext(silent) as progress,
    ):
        on_epoch_end = evaluating(measured, folder, progress) if measured is not None else None
        report = train_student(
            config, folder, resume=resume, progress=progress, on_epoch_end=on_epoch_end, stopped=stopped
        )
    leave_ranks()
    return report if is_first else None


def _show_plan(config: TrainConfig, as_json: bool) -> None:
    """What --dry-run prints."""
    from distill import terminal
    from distill.train.dry_run import plan_training

    with terminal.show_progress() as progress:
        plan = plan_training(config, progress)
    terminal.show_training_plan(plan, as_json=as_json)


def merge(
    adapter: Annotated[Path, typer.Argument(help="An adapter's folder, or the training run that holds it.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for the whole model.")],
    base: Annotated[str | None, typer.Option(help="The base model, where the adapter names it wrongly by now.")] = None,
    dtype: Annotated[
        str, typer.Option(help="Type of the new checkpoint: auto (the base checkpoint's own), bfloat16, float32.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="Where it is computed: cpu, cuda, auto.")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Merge a LoRA adapter into its base: a plain model, whose logits are compared before it gets its name.

    [dim]distill merge runs/bbh-slowed --out models/bbh-slowed[/dim]
    """
    from distill import terminal
    from distill.train.merging import merge_adapter

    report = merge_adapter(adapter, out, base=base, dtype=dtype, device=device)
    terminal.show_merged(report, as_json=as_json)


def plot(
    run: Annotated[Path, typer.Argument(help="A training run, finished or under way.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the pictures; 'plots' in the run.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a training run: loss terms, gradient, learning rate, entropy, masking, Slow Tuning, accuracy.

    [dim]distill plot runs/bbh-slowed[/dim]
    """
    from distill import terminal
    from distill.train.plotting import plot_run

    terminal.show_plotted(plot_run(run, out), as_json=as_json)
