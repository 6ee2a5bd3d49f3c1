"""The command line: ``distill`` and its commands.

Data goes to stdout, everything else to stderr. Heavy imports wait inside the command that needs them.
"""

from __future__ import annotations

from typing import Annotated

import typer

import distill
from distill.commands import curation, evaluation, looking, publishing, safety, starting, training

app = typer.Typer(
    name="distill",
    help="Distil reasoning from a large language model into a small one: curate groups of teacher completions, "
    "look at them, train a student on them, measure it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


for command in (
    starting.doctor,
    starting.init,
    curation.curate,
    curation.preview,
    curation.status,
    curation.join,
    curation.score,
    looking.inspect,
    training.train,
    training.merge,
    training.plot,
    evaluation.evaluate,
    evaluation.compare,
    safety.safety,
    publishing.export,
    publishing.publish,
    evaluation.verify,
    looking.list_parts,
):
    name = {"evaluate": "eval", "list_parts": "list"}.get(command.__name__)
    app.command(name=name)(command)
