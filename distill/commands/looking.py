"""The commands that show: datasets, what can be named, this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.commands.options import (
    JsonOption,
)
from distill.errors import DistillError
from distill.registry import REGISTRY, did_you_mean


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


def list_parts(
    kind: Annotated[
        str, typer.Argument(help="sources, benchmarks, verifiers, rewards, filters, backends, judges or methods.")
    ],
    as_json: JsonOption = False,
) -> None:
    """List what can be named: data cards, verifiers, rewards, filters, backends, judges, methods."""
    from distill import terminal

    kinds = ["sources", "benchmarks", *REGISTRY]
    if kind not in kinds:
        raise DistillError(f"nothing to list is called '{kind}'", hint=did_you_mean(kind, kinds))
    if kind in REGISTRY:
        return terminal.show_registry(kind, as_json=as_json)
    from distill.cards import card_names, load_card

    cards = [load_card(name) for name in card_names()]
    return terminal.show_cards([card for card in cards if kind[:-1] in card.roles], as_json=as_json)


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
