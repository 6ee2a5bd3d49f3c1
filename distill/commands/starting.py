"""The commands of the first minutes: is this machine ready, and a recipe to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.commands.completing import complete_backend, complete_benchmark, complete_method, complete_source
from distill.commands.options import JsonOption, LimitOption, source_name
from distill.errors import DistillError
from distill.registry import did_you_mean

PURPOSES = ("curate", "train", "eval")
TINY_RECIPE = "quickstart"
"""Whose values suit the tiny models."""


def init(
    file: Annotated[Path, typer.Argument(help="Where the recipe is written.")] = Path("recipe.yaml"),
    purposes: Annotated[
        list[str] | None, typer.Option("--for", metavar="COMMAND", help="curate, train or eval; all if not given.")
    ] = None,
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Data card, file, dataset on the Hub, or reasoning-gym:TASK.", autocompletion=complete_source
        ),
    ] = "arithmetic",
    limit: LimitOption = None,
    teacher: Annotated[str, typer.Option(help="Hub id or folder of the teacher.")] = "tiny-teacher",
    backend: Annotated[
        str, typer.Option(help="What writes completions; 'distill list backends'.", autocompletion=complete_backend)
    ] = "hf",
    completions: Annotated[
        Path | None, typer.Option(help="File of completions that exist; then none are sampled.")
    ] = None,
    student: Annotated[str, typer.Option(help="Hub id or folder of the base student.")] = "tiny-student",
    method: Annotated[
        str, typer.Option(help="How it is trained; 'distill list methods'.", autocompletion=complete_method)
    ] = "advdistill",
    benchmarks: Annotated[
        list[str] | None,
        typer.Option(
            "--benchmark", "-b", help="Data card or 'card:split'; may be repeated.", autocompletion=complete_benchmark
        ),
    ] = None,
    every_field: Annotated[bool, typer.Option("--all", help="Name all other fields too, commented out.")] = False,
) -> None:
    """Write a recipe to begin with, every field below a sentence that says what it is.

    [dim]distill init[/dim]
    [dim]distill init gsm8k.yaml --data gsm8k --teacher Qwen/Qwen2.5-7B-Instruct --backend vllm -b gsm8k[/dim]
    [dim]distill init train.yaml --for train --student Qwen/Qwen2.5-1.5B --method slowed --all[/dim]
    """
    from distill.files import write_atomically
    from distill.first_recipe import recipe_text

    wanted = purposes or list(PURPOSES)
    for purpose in wanted:
        if purpose not in PURPOSES:
            raise DistillError(f"no command '{purpose}' reads a recipe", hint=did_you_mean(purpose, list(PURPOSES)))
    if file.exists():
        raise DistillError(f"'{file}' is there already", hint="nothing was changed: name another file, or remove it")
    chosen = {
        "curate": _curation(data, limit, teacher, "recorded" if completions else backend, completions),
        "train": _training(student, method),
        "eval": _evaluation(benchmarks or _default_benchmark(data), student),
    }
    sections = {purpose: chosen[purpose] for purpose in PURPOSES if purpose in wanted}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, recipe_text(sections, _header(file, data, method, list(sections)), every_field=every_field))
    typer.echo(file)


def _curation(data: str, limit: int | None, teacher: str, backend: str, completions: Path | None) -> dict[str, Any]:
    """The section 'curate', its names looked up."""
    from distill.config import SourceConfig
    from distill.problems import read_problems
    from distill.recipe import merge
    from distill.registry import load

    read_problems(SourceConfig(name=data, limit=limit), role="source")
    load("backends", backend)
    source = {"name": data} if limit is None else {"name": data, "limit": limit}
    section = merge(_values_for(teacher, "curate"), {"teacher": {"model": teacher, "backend": backend}})
    if backend == "server":
        section["teacher"] |= {"base_urls": ["http://localhost:8000/v1"], "tokenizer": teacher}
    if backend == "recorded":
        if completions is None:
            raise DistillError("backend 'recorded' reads a file of completions", hint="name it: --completions FILE")
        section["recorded"] = {"path": str(completions), "tokenizer": teacher}
    return section | {"source": source}


def _training(student: str, method: str) -> dict[str, Any]:
    """The section 'train', its names looked up."""
    from distill.registry import load

    load("methods", method)
    return _values_for(student, "train") | {"model": student, "method": method}


def _evaluation(benchmarks: list[str], student: str) -> dict[str, Any]:
    """The section 'eval', its names looked up."""
    from distill.config import SourceConfig
    from distill.evals.benchmarks import split_benchmark
    from distill.problems import read_problems

    for benchmark in benchmarks:
        name, split = split_benchmark(benchmark)
        read_problems(SourceConfig(name=name, split=split), role="benchmark")
    return _values_for(student, "eval") | {"benchmarks": benchmarks}


def _values_for(model: str, section: str) -> dict[str, Any]:
    """What differs from the defaults for a model: those are for large ones."""
    from distill.models import TINY_MODELS
    from distill.recipe import read_recipe

    layers = read_recipe(Path(TINY_RECIPE), section) if model in TINY_MODELS else []
    return dict(layers[-1][1]) if layers else {}


def _default_benchmark(data: str) -> list[str]:
    """The data's own benchmark where it has one."""
    from distill.cards import card_names, load_card

    return [data] if data in card_names() and "benchmark" in load_card(data).roles else ["gsm8k"]


def _header(file: Path, data: str, method: str, sections: list[str]) -> str:
    run = f"runs/{source_name(data)}"
    student = f"{run}-{method.partition(':')[2] or method}"
    commands = {
        "curate": ["distill", "curate", data, "--recipe", str(file), "--out", run],
        "train": ["distill", "train", run, "--recipe", str(file), "--out", student],
        "eval": ["distill", "eval", student, "--recipe", str(file)],
    }
    lines = [f"  {shlex.join(commands[section])}" for section in sections]
    about = "A recipe. Each command reads its own section; docs/config.md lists every field, --set overrules one:"
    return "\n".join([about, *lines])


def doctor(
    model: Annotated[
        str | None, typer.Argument(help="Look at this model too: a Hub id, a local folder, 'tiny-teacher'.")
    ] = None,
    cards: Annotated[bool, typer.Option("--cards", help="Load one row of every data card from the Hub.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine, and with a name a model: what is found, and what to do where it is not well.

    [dim]distill doctor[/dim]
    [dim]distill doctor Qwen/Qwen2.5-1.5B-Instruct[/dim]
    """
    from distill import terminal
    from distill.doctor import check_cards, check_machine, check_model

    checks = check_cards() if cards else [*check_machine(), *(check_model(model) if model else [])]
    terminal.show_checks(checks, as_json=as_json)
    if any(check.status == "failed" for check in checks):
        raise typer.Exit(1)
