"""The commands: read options, call one function, show the result.

Data goes to stdout, everything else to stderr. Heavy imports wait inside the command that needs them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import distill
from distill.errors import DistillError
from distill.registry import REGISTRY, did_you_mean

app = typer.Typer(
    name="distill",
    help="Distil reasoning from a large language model into a small one: curate groups of teacher completions, "
    "look at them, train a student on them, measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Resume = Literal["never", "always", "if-possible"]
RecipeOption = Annotated[
    Path | None, typer.Option("--recipe", help="YAML file or shipped recipe; a command reads its section.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set any field of the recipe; may be repeated.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run; a name under runs/ by default.")]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first N problems.")]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
ResumeOption = Annotated[Resume, typer.Option("--resume", help="Go on with a run that was interrupted.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for machines.")]
PrintConfigOption = Annotated[bool, typer.Option("--print-config", help="Print the resolved recipe and stop.")]
TokenizerOption = Annotated[
    str | None, typer.Option("--tokenizer", help="Counts tokens of recorded completions that bring no count.")
]


def _version(value: bool) -> None:
    if value:
        typer.echo(distill.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Read the options that stand before the command."""


@app.command()
def curate(
    source: Annotated[str, typer.Argument(help="A data card's name, a path to a card, or a JSONL or Parquet file.")],
    teacher: Annotated[str | None, typer.Option(help="Hub id or folder of the teacher, or 'tiny-teacher'.")] = None,
    backend: Annotated[str | None, typer.Option(help="What writes the completions: hf or recorded.")] = None,
    completions: Annotated[Path | None, typer.Option(help="File of recorded completions.")] = None,
    tokenizer: TokenizerOption = None,
    recipe: RecipeOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sampled, and stop.")] = False,
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Sample groups of completions from a teacher, judge and reward them, and write a dataset.

    [dim]distill curate arithmetic --limit 100[/dim]
    [dim]distill curate gsm8k --teacher Qwen/Qwen2.5-7B-Instruct[/dim]
    [dim]distill curate problems.jsonl --backend recorded --completions completions.jsonl --tokenizer MODEL[/dim]
    """
    from distill import terminal
    from distill.config import CurateConfig

    flags = {
        "source": {"name": source, "limit": limit},
        "teacher": {"model": teacher, "backend": backend or ("recorded" if completions else None)},
        "recorded": {"path": completions and str(completions), "tokenizer": tokenizer},
        "seed": seed,
    }
    config = _config(CurateConfig, "curate", recipe, sets, flags, print_config)
    from distill.curate import pipeline

    if dry_run:
        return terminal.show_plan(pipeline.plan_run(config), as_json=as_json)
    folder = out or Path("runs") / Path(source).name.split(".")[0]
    with _interruptible("finished groups are safe"), terminal.show_progress() as progress:
        result = pipeline.curate_dataset(config, folder, resume=resume, progress=progress)
    return terminal.show_curated(result, as_json=as_json)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="Folder of a curation run.")],
    recipe: RecipeOption = None,
    sets: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Judge and reward a run's completions again with other settings; samples nothing.

    [dim]distill score runs/arithmetic --set rewards.parts.cosine.options.preset=open-rs[/dim]
    """
    from distill import terminal
    from distill.config import CurateConfig
    from distill.curate import pipeline

    stored = pipeline.stored_recipe(run)
    config = _config(CurateConfig, "curate", recipe or stored, sets, {}, False)
    with _interruptible("the completions are untouched"), terminal.show_progress() as progress:
        result = pipeline.score_run(run, config, progress=progress)
    terminal.show_curated(result, as_json=as_json)


@app.command()
def inspect(
    dataset: Annotated[Path, typer.Argument(help="A curated dataset, or the run that holds it.")],
    group: Annotated[str | None, typer.Option("--group", help="Show one problem with all its completions.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the distributions of a dataset: outcomes, solve rates, rewards, advantages, lengths, entropies.

    [dim]distill inspect runs/arithmetic[/dim]
    [dim]distill inspect runs/arithmetic --group arithmetic/train/00007[/dim]
    """
    from distill import terminal
    from distill.curate import stats

    if group is not None:
        return terminal.show_group(stats.group_detail(dataset, group), as_json=as_json)
    return terminal.show_stats(stats.dataset_stats(dataset), as_json=as_json)


@app.command()
def train(
    dataset: Annotated[Path, typer.Argument(help="A curated dataset, or the run that holds it.")],
    model: Annotated[str | None, typer.Option(help="Hub id or folder of the base student, or 'tiny-student'.")] = None,
    method: Annotated[str | None, typer.Option(help="sft, sft-all-correct or advdistill.")] = None,
    completions_per_group: Annotated[
        int | None, typer.Option("--completions-per-group", min=1, help="Use only the first N of every group.")
    ] = None,
    recipe: RecipeOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a student on a dataset of groups.

    [dim]distill train runs/arithmetic --model tiny-student --method advdistill[/dim]
    [dim]distill train runs/gsm8k --model Qwen/Qwen2.5-1.5B --method sft --set lora.rank=64[/dim]
    """
    from distill import terminal
    from distill.config import TrainConfig

    flags = {
        "dataset": str(dataset),
        "model": model,
        "method": method,
        "completions_per_group": completions_per_group,
        "seed": seed,
    }
    config = _config(TrainConfig, "train", recipe, sets, flags, print_config)
    from distill.train.loop import train_student

    folder = out or Path("runs") / f"{_run_name(dataset)}-{config.method.split(':')[-1]}"
    with _interruptible("the last checkpoint is safe"), terminal.show_progress() as progress:
        report = train_student(config, folder, resume=resume, progress=progress)
    terminal.show_trained(report, as_json=as_json)


@app.command(name="eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="Hub id or folder of a model, or of a training run.")],
    benchmarks: Annotated[
        list[str] | None, typer.Option("--benchmark", "-b", help="Data card, 'card:split' or file; may be repeated.")
    ] = None,
    recipe: RecipeOption = None,
    limit: LimitOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    resume: ResumeOption = "if-possible",
    sets: SetOption = None,
    print_config: PrintConfigOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on benchmarks: accuracy with intervals, lengths, truncation, missing answers.

    [dim]distill eval runs/arithmetic-advdistill -b arithmetic -b arithmetic:ood[/dim]
    [dim]distill eval tiny-student -b gsm8k --set source.path=test.jsonl --limit 100[/dim]
    """
    from distill import terminal
    from distill.config import EvalConfig

    flags = {"model": model, "benchmarks": benchmarks or None, "limit": limit, "seed": seed}
    config = _config(EvalConfig, "eval", recipe, sets, flags, print_config)
    from distill.evals.run import evaluate as run_evaluation

    folder = out or Path("runs") / f"eval-{_run_name(Path(model))}"
    with _interruptible("finished problems are safe"), terminal.show_progress() as progress:
        result = run_evaluation(config, folder, resume=resume, progress=progress)
    terminal.show_evaluated(result, folder, as_json=as_json)


@app.command()
def compare(
    reports: Annotated[list[Path], typer.Argument(help="Reports of 'distill eval', or the folders that hold them.")],
    baseline: Annotated[
        str | None, typer.Option(help="Report the others are compared with; the first if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put reports side by side, paired by problem: what differs beyond chance.

    [dim]distill compare runs/eval-tiny-student runs/eval-arithmetic-sft[/dim]
    """
    from distill import terminal
    from distill.evals.compare import compare_reports

    terminal.show_comparison(compare_reports(reports, baseline=baseline), as_json=as_json)


@app.command(name="list")
def list_parts(
    kind: Annotated[str, typer.Argument(help="sources, benchmarks, verifiers, rewards, filters, backends or methods.")],
    as_json: JsonOption = False,
) -> None:
    """List what can be named: data cards, verifiers, rewards, filters, backends, methods."""
    from distill import terminal

    kinds = ["sources", "benchmarks", *REGISTRY]
    if kind not in kinds:
        raise DistillError(f"nothing to list is called '{kind}'", hint=did_you_mean(kind, kinds))
    if kind in REGISTRY:
        return terminal.show_registry(kind, as_json=as_json)
    from distill.cards import card_names, load_card

    cards = [load_card(name) for name in card_names()]
    return terminal.show_cards([card for card in cards if kind[:-1] in card.roles], as_json=as_json)


@app.command()
def doctor(
    cards: Annotated[bool, typer.Option("--cards", help="Load one row of every data card from the Hub.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine: Python, packages, devices, the verifier's worker, disk; with --cards the data cards too."""
    from distill import terminal
    from distill.doctor import check_cards, check_machine

    checks = check_cards() if cards else check_machine()
    terminal.show_checks(checks, as_json=as_json)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)


def _config(
    config_class: type[Any],
    section: str,
    recipe: Path | None,
    sets: list[str] | None,
    flags: dict[str, Any],
    print_config: bool,
) -> Any:
    """The validated config; with --print-config it is printed and the command ends."""
    from distill.recipe import load_config, to_yaml

    config = load_config(config_class, section, recipe=recipe, sets=sets or (), flags=flags)
    if print_config:
        typer.echo(to_yaml(config, section), nl=False)
        raise typer.Exit
    return config


def _run_name(path: Path) -> str:
    """A short name for a run made from a dataset or a model: the folder's, without its inner 'dataset' or 'student'."""
    return path.parent.name if path.name in {"dataset", "student"} else path.name


def _interrupt(*_: object) -> None:
    """What Ctrl-C does, also where it is ignored, as in everything that a script starts in the background."""
    raise KeyboardInterrupt


@contextmanager
def _interruptible(what_is_safe: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM end a long command with one line that says what is kept and how to go on."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        message = str(interrupt) or f"interrupted; {what_is_safe}"
        raise DistillError(message, hint="run the same command again to go on") from None
    finally:
        signal.signal(signal.SIGTERM, previous)
