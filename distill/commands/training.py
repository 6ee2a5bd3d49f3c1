"""The commands that train a student, and make of it what others load and look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import (
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


def train(
    dataset: Annotated[Path, typer.Argument(help="A curated dataset, or the run that holds it.")],
    model: Annotated[str | None, typer.Option(help="Hub id or folder of the base student, or 'tiny-student'.")] = None,
    method: Annotated[
        str | None, typer.Option(help="sft, advdistill, slowed ...; 'distill list methods' has all of them.")
    ] = None,
    completions_per_group: Annotated[
        int | None, typer.Option("--completions-per-group", min=1, help="Use only the first N of every group.")
    ] = None,
    low_entropy_mask: Annotated[
        float | None,
        typer.Option("--low-entropy-mask", metavar="K", help="Do not train on the K % surest tokens (SLowED)."),
    ] = None,
    slow_tuning: Annotated[
        float | None,
        typer.Option("--slow-tuning", metavar="TAU", help="Let no weight matrix change by more than TAU (SLowED)."),
    ] = None,
    recipe: RecipeOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained, in what memory and time, and stop.")
    ] = False,
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a student on a dataset of groups.

    [dim]distill train runs/arithmetic --model tiny-student --method advdistill[/dim]
    [dim]distill train runs/gsm8k --model Qwen/Qwen2.5-1.5B --method sft --set lora.rank=64[/dim]
    [dim]distill train runs/arithmetic --method advdistill --low-entropy-mask 20 --slow-tuning 1[/dim]
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
    if dry_run:
        return _show_plan(config, as_json)
    from distill.train.loop import train_student

    folder = out or Path("runs") / f"{run_name(dataset)}-{config.method.split(':')[-1]}"
    with interruptible("the last checkpoint is safe"), terminal.show_progress() as progress:
        report = train_student(config, folder, resume=resume, progress=progress)
    terminal.show_trained(report, as_json=as_json)


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
