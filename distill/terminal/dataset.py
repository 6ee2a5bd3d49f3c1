"""A curated dataset on one screen, and one of its groups."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from distill.records import Completion, Group, GroupScores, Outcome
from distill.terminal.charts import bar, sparkline
from distill.terminal.consoles import print_json, printable, stdout

if TYPE_CHECKING:
    from distill.curate.stats import Distribution, GroupSummary, Stats

# Blue and orange are told apart by every kind of colour vision, on dark and on light ground.
OUTCOME_STYLE = {
    Outcome.CORRECT: "dodger_blue1",
    Outcome.INCORRECT: "dark_orange",
    Outcome.NO_ANSWER: "gold3",
    Outcome.UNVERIFIED: "medium_purple1",
}
OUTCOME_SIGN = {Outcome.CORRECT: "✓", Outcome.INCORRECT: "✗", Outcome.NO_ANSWER: "∅", Outcome.UNVERIFIED: "?"}
BAR_WIDTH = 28
SHOWN_REASONS = 8
SHOWN_ANSWER = 120
"""Characters of an extracted answer; the whole of it stands in the completion below."""


def show_stats(stats: Stats, *, as_json: bool = False) -> None:
    """The distributions of a dataset."""
    if as_json:
        return print_json(stats)
    console = stdout()
    for renderable in overview(stats):
        console.print(renderable)
        console.print()
    command = shlex.join(["distill", "inspect", stats.path, "--group", _example(stats)])
    return console.print(Text(f"one group in full: {command}", style="dim"))


def overview(stats: Stats) -> Iterator[RenderableType]:
    """A dataset's distributions, one block after the other."""
    teachers = ", ".join(stats.teachers) or "no teacher"
    yield Text.assemble(
        (stats.path, "bold"),
        f"  {teachers}\n",
        f"{stats.groups:,} groups of up to {stats.group_size}, {stats.completions:,} completions; ",
        (f"{stats.kept:,} groups kept", "bold"),
        *(f", {count:,} dropped ({reason})" for reason, count in stats.dropped.items()),
        f"\n{stats.flat_groups:,} kept groups with all rewards equal: they have no advantages"
        if stats.flat_groups
        else "",
    )
    outcomes = {Outcome(name): count for name, count in stats.outcomes.items()}
    yield _bars(
        "outcome", {f"{OUTCOME_SIGN[o]} {o.value}": n for o, n in outcomes.items()}, list(OUTCOME_STYLE.values())
    )
    yield _bars(
        "solved", {f"{k}/{stats.group_size}": count for k, count in enumerate(stats.pass_rates)}, ["dodger_blue1"]
    )
    if len(stats.models) > 1:
        yield _bars("model", dict(stats.models), ["grey62"])
    yield _bars("verdict", dict(list(stats.verdict_reasons.items())[:SHOWN_REASONS]), ["grey62"])
    yield _distributions(stats)
    if stats.best:
        yield _ranked(stats.best, stats.worst)


def _bars(title: str, counts: Mapping[str, int], styles: Sequence[str]) -> Table:
    """One bar per name, with the count and its share."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(title, style="bold", min_width=14)
    table.add_column("", min_width=BAR_WIDTH)
    table.add_column("", justify="right")
    table.add_column("", justify="right", style="dim")
    total, largest = sum(counts.values()), max(counts.values(), default=0)
    for place, (name, count) in enumerate(counts.items()):
        drawn = Text(bar(count, largest, BAR_WIDTH), style=styles[min(place, len(styles) - 1)])
        table.add_row(Text(name), drawn, f"{count:,}", f"{100 * count / total:.1f} %" if total else "")
    return table


def _distributions(stats: Stats) -> Table:
    """Rewards, parts, advantages, lengths and entropies: a line each."""
    named: dict[str, Distribution | None] = {
        "reward": stats.rewards,
        **{f"  {part}": distribution for part, distribution in stats.reward_parts.items()},
        "advantage": stats.advantages,
        "tokens": stats.tokens["all"],
        "  correct": stats.tokens["correct"],
        "  incorrect": stats.tokens["incorrect"],
        "entropy (nats)": stats.entropies,
        "  at least": stats.entropy_bounds["lower"],
        "  at most": stats.entropy_bounds["upper"],
    }
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("distribution", style="bold", min_width=14)
    for name in ("mean", "std", "min", "median", "max"):
        table.add_column(name, justify="right")
    table.add_column("min → max", style="dodger_blue1", no_wrap=True)
    for name, spread in named.items():
        if spread is None:
            continue
        low, median, high = (spread.quantiles[percent] for percent in (0, 50, 100))
        numbers = (spread.mean, spread.std, low, median, high)
        table.add_row(name, *map(_two_digits, numbers), sparkline(spread.histogram))
    return table


def _ranked(best: Sequence[GroupSummary], worst: Sequence[GroupSummary]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column("by mean reward", style="bold", min_width=14)
    table.add_column("group")
    table.add_column("solved", justify="right")
    table.add_column("reward", justify="right")
    table.add_column("")
    shown = {group.id for group in best[:3]}
    for place, groups in (("highest", best), ("lowest", [group for group in worst if group.id not in shown])):
        for rank, group in enumerate(groups[:3]):
            mean = _two_digits(group.reward_mean) if group.reward_mean is not None else "–"
            solved = f"{group.num_correct}/{group.num_completions}"
            table.add_row("" if rank else place, Text(group.id), solved, mean, Text(group.drop_reason))
    return table


def _two_digits(value: float) -> str:
    return f"{round(value, 2) + 0.0:,.2f}"  # adding 0.0 takes the sign off a zero


def _example(stats: Stats) -> str:
    return stats.best[0].id if stats.best else "ID"


def show_group(detail: tuple[Group, GroupScores], *, as_json: bool = False) -> None:
    """One problem with all its completions, the best first."""
    if as_json:
        group, scores = detail
        return print_json({"group": group, "scores": scores})
    return _print_group(*detail)


def show_groups(details: Sequence[tuple[Group, GroupScores]], *, as_json: bool = False) -> None:
    """Several problems, one below the other."""
    if as_json:
        return print_json([{"group": group, "scores": scores} for group, scores in details])
    for number, detail in enumerate(details):
        if number:
            stdout().rule(style="dim")
        _print_group(*detail)
    return None


def _print_group(group: Group, scores: GroupScores) -> None:
    console = stdout()
    for renderable in _group(group, scores):
        console.print(renderable)


def _group(group: Group, scores: GroupScores) -> Iterator[RenderableType]:
    problem = group.problem
    yield Text.assemble(
        (problem.id, "bold"),
        f"  {group.teacher}  ",
        ("dropped: " + scores.drop_reason if scores.drop_reason else "kept", "dim"),
    )
    yield Padding(Text(printable(problem.question)), (1, 2), expand=False)
    yield Text.assemble("  gold ", (printable(problem.answer), "bold"))
    order = sorted(range(len(group.completions)), key=lambda i: -(scores.advantages[i] or 0.0))
    for i in order:
        yield Text()
        yield _completion_head(i, group.completions[i], scores)
        yield Padding(Text(printable(group.completions[i].text)), (0, 2), expand=False)


def _completion_head(i: int, completion: Completion, scores: GroupScores) -> RenderableType:
    verdict = scores.verdicts[i]
    style = OUTCOME_STYLE[verdict.outcome]
    parts = ", ".join(f"{name} {_signed(values[i])}" for name, values in scores.reward_parts.items())
    entropy = f"  entropy {sum(completion.entropies) / len(completion.entropies):.2f}" if completion.entropies else ""
    answer = f" {_short(repr(verdict.answer))}" if verdict.answer is not None else ""
    return Stack(
        Text.assemble(
            (f"#{i} {OUTCOME_SIGN[verdict.outcome]} {verdict.outcome.value}{answer}", f"bold {style}"),
            f"  advantage {_signed(scores.advantages[i])}  reward {_signed(scores.rewards[i])}",
            (f" ({parts})", "dim"),
        ),
        Text(f"   {completion.num_tokens} tokens, {completion.finish_reason}; {verdict.reason}{entropy}", style="dim"),
    )


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_ANSWER else text[:SHOWN_ANSWER] + "…"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
