"""The commands by which a dataset or a student leaves this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from distill.commands.options import JsonOption
from distill.errors import DistillError


def export(
    dataset: Annotated[Path, typer.Argument(help="A curated dataset, or the run that holds it.")],
    to: Annotated[
        str,
        typer.Option("--to", help="groups, samples, sft, preference, kto, grpo, sharegpt or verl.", metavar="SHAPE"),
    ],
    out: Annotated[Path, typer.Option("--out", help="A new folder, or one that an export wrote.")],
    file_format: Annotated[Literal["parquet", "jsonl"], typer.Option("--format", help="Of the files.")] = "parquet",
    select: Annotated[
        Literal["best", "all-correct"] | None,
        typer.Option("--select", help="sft, sharegpt: the best completion of a group, or every correct one."),
    ] = None,
    pairs: Annotated[
        Literal["verdict", "reward"] | None,
        typer.Option("--pairs", help="preference: correct against wrong, or the highest reward against the lowest."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset in the shape that another trainer reads: TRL, axolotl, LLaMA-Factory, verl.

    [dim]distill export runs/gsm8k --to sft --out data/gsm8k-sft[/dim]
    [dim]distill export runs/gsm8k --to preference --pairs reward --out data/gsm8k-dpo[/dim]
    """
    from distill import terminal
    from distill.publish.export import export_dataset

    with terminal.show_progress() as progress:
        result = export_dataset(
            dataset, to, out, file_format=file_format, select=select, pairs=pairs, progress=progress
        )
    terminal.show_exported(result, as_json=as_json)


def publish(
    source: Annotated[Path, typer.Argument(help="A curated dataset or the run that holds it; or a trained student.")],
    repo_id: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub.", metavar="REPO_ID")],
    public: Annotated[
        bool, typer.Option("--public", help="For everybody to see; a new repository is private.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option("--licence", help="The Hub's identifier: apache-2.0, cc-by-4.0 …", metavar="ID")
    ] = None,
    languages: Annotated[
        list[str] | None, typer.Option("--language", help="Such as en; may be repeated.", metavar="CODE")
    ] = None,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option("--eval", help="A student's: what 'distill eval' wrote; may be repeated.", metavar="FOLDER"),
    ] = None,
    base_model: Annotated[
        str | None, typer.Option("--base-model", help="A student's: the base's name on the Hub.", metavar="OWNER/NAME")
    ] = None,
    datasets: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A student's: its data's name on the Hub.", metavar="OWNER/NAME"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the card and the list of files; ask the Hub nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a dataset or a student on the Hub, with a card that says how it was made and what came of it.

    [dim]distill publish runs/gsm8k me/gsm8k-groups --dry-run[/dim]
    [dim]distill publish runs/gsm8k me/gsm8k-groups --public --licence mit --language en[/dim]
    [dim]distill publish runs/gsm8k-advdistill me/small-student --licence apache-2.0 --eval runs/eval[/dim]
    """
    from distill import terminal
    from distill.publish.dataset import publish_dataset
    from distill.publish.model import ModelOptions, is_student, publish_model

    students = {"--eval": evaluations, "--base-model": base_model, "--dataset": datasets}
    with terminal.show_progress() as progress:
        if is_student(source):
            options = ModelOptions(
                licence, languages or (), base_model, datasets or (), tuple(evaluations or ()), public=public
            )
            result = publish_model(source, repo_id, options, dry_run=dry_run, progress=progress)
        else:
            useless = [name for name, given in students.items() if given]
            if useless and source.exists():
                raise DistillError(f"'{useless[0]}' is for students, and '{source}' is none", hint="leave it out")
            result = publish_dataset(
                source,
                repo_id,
                public=public,
                licence=licence,
                languages=languages or (),
                dry_run=dry_run,
                progress=progress,
            )
    terminal.show_published(result, as_json=as_json)
