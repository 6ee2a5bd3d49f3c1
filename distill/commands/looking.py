"""The commands that show: datasets, and what can be named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distill.commands.completing import complete_kind
from distill.commands.options import HtmlOption, JsonOption
from distill.errors import DistillError
from distill.registry import REGISTRY, did_you_mean

DEFAULT_LIMIT = 20

DatasetsArgument = Annotated[
    list[Path], typer.Argument(metavar="DATASET [OTHER]", help="A curated dataset, or the run that holds it; or two.")
]
WhereOption = Annotated[
    str, typer.Option("--where", metavar="CONDITION", help='Look only at these groups: "pass_rate < 0.5 and kept".')
]
SortOption = Annotated[
    str, typer.Option("--sort", metavar="COLUMN", help="List groups by a column; -COLUMN: the largest first.")
]
ManyOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="List so many groups; with --html, put so many there in full.")
]
SvgOption = Annotated[
    Path | None, typer.Option("--svg", metavar="FILE", help="Also write the view as a picture, for a README.")
]
HarmfulOption = Annotated[
    bool, typer.Option("--show-harmful", help="Show completions that do what they should refuse, too.")
]


def inspect(
    datasets: DatasetsArgument,
    group: Annotated[str | None, typer.Option("--group", help="Show one problem with all its completions.")] = None,
    where: WhereOption = "",
    sort: SortOption = "",
    limit: ManyOption = None,
    entropy: Annotated[bool, typer.Option("--entropy", help="With --group: colour tokens by their entropy.")] = False,
    full: Annotated[bool, typer.Option("--full", help="With --group: show long texts from end to end.")] = False,
    show_harmful: HarmfulOption = False,
    html: HtmlOption = None,
    svg: SvgOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a dataset: what it is worth, what is dropped and why, where rewards come from, which groups to read.

    [dim]distill inspect runs/arithmetic[/dim]
    [dim]distill inspect runs/arithmetic --group arithmetic/train/00007 --entropy[/dim]
    [dim]distill inspect runs/arithmetic --where "pass_rate < 0.5" --sort -tokens_mean[/dim]
    [dim]distill inspect runs/arithmetic --html page.html --svg picture.svg[/dim]
    [dim]distill inspect runs/before runs/after[/dim]
    """
    from distill import terminal

    of_many = {"--sort": sort, "--limit": limit, "--where": where, "--html": html, "--svg": svg}
    _check_together(datasets, {**of_many, "--group": group, "--entropy": entropy, "--full": full})
    dataset = datasets[0]
    if len(datasets) == 2:
        return _compare(dataset, datasets[1], where, html, svg, as_json=as_json)
    if group is not None:
        from distill.curate.chosen import group_detail

        view = terminal.GroupView(entropy=entropy, full=full, harmful=show_harmful)
        return terminal.show_group(group_detail(dataset, group), view, as_json=as_json)
    if sort or (limit is not None and html is None):
        from distill.curate.group_list import list_groups

        found = list_groups(dataset, where=where, sort=sort, limit=limit or DEFAULT_LIMIT)
        return terminal.show_group_list(found, as_json=as_json)
    from distill.curate.stats import dataset_stats

    stats = dataset_stats(dataset, where)
    terminal.show_stats(stats, as_json=as_json)
    if html is not None:
        from distill.curate.page.content import MAX_GROUPS
        from distill.curate.page.page import write_page

        write_page(html, stats, limit or MAX_GROUPS, show_harmful=show_harmful)
    if svg is not None:
        terminal.draw_stats(svg, stats)
    return _tell_written(html, svg)


def _compare(before: Path, after: Path, where: str, html: Path | None, svg: Path | None, *, as_json: bool) -> None:
    """Show what changed from one dataset to another."""
    from distill import terminal
    from distill.curate.changes import compare_datasets

    changes = compare_datasets(before, after, where)
    terminal.show_changes(changes, as_json=as_json)
    if html is not None:
        from distill.curate.page.changes import write_changes

        write_changes(html, changes)
    if svg is not None:
        terminal.draw_changes(svg, changes)
    _tell_written(html, svg)


def _check_together(datasets: list[Path], given: dict[str, object]) -> None:
    """Raise where options were given that do not go together."""
    if len(datasets) > 2:
        raise DistillError(f"{len(datasets)} datasets were named", hint="one is looked at, or two are compared")
    of_one = ("--group", "--sort", "--limit")
    of_many = ("--sort", "--limit", "--where", "--html", "--svg")
    if len(datasets) == 2 and (found := [name for name in of_one if given[name]]):
        raise DistillError(f"'{found[0]}' is about one dataset, and two were named", hint="name one of them")
    if given["--group"] and (found := [name for name in of_many if given[name]]):
        raise DistillError(f"'--group' shows one group, and '{found[0]}' is about many", hint="give one of the two")
    if not given["--group"] and (found := [name for name in ("--entropy", "--full") if given[name]]):
        raise DistillError(f"'{found[0]}' is about one group", hint="name it: --group ID; a page always has entropies")
    if given["--sort"] and (found := [name for name in ("--html", "--svg") if given[name]]):
        raise DistillError(f"'--sort' lists groups, and '{found[0]}' shows the whole", hint="give one of the two")


def _tell_written(html: Path | None, svg: Path | None) -> None:
    for name, path in (("page", html), ("picture", svg)):
        if path is not None:
            typer.echo(f"{name}: {path}", err=True)


def list_parts(
    kind: Annotated[
        str,
        typer.Argument(
            help="sources, benchmarks, verifiers, rewards, filters, backends, judges or methods.",
            autocompletion=complete_kind,
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List what can be named: data cards, verifiers, rewards, filters, backends, judges, methods.

    [dim]distill list benchmarks[/dim]
    """
    from distill import terminal

    kinds = ["sources", "benchmarks", *REGISTRY]
    if not kind:
        raise DistillError("what shall be listed?", hint=f"one of {', '.join(kinds)}")
    if kind not in kinds:
        raise DistillError(f"nothing to list is called '{kind}'", hint=did_you_mean(kind, kinds))
    if kind in REGISTRY:
        return terminal.show_registry(kind, as_json=as_json)
    from distill.cards import card_names, load_card

    cards = [load_card(name) for name in card_names()]
    return terminal.show_cards([card for card in cards if kind[:-1] in card.roles], as_json=as_json)
