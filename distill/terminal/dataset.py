"""A curated dataset on one page: what it is worth, what is dropped, where rewards come from, what to look at."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from math import log1p
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from distill.printable import one_line
from distill.records import Outcome
from distill.terminal.charts import bar, pieces, shade, skyline, sparkline
from distill.terminal.colours import BLUE, GREY, ORANGE, OUTCOME_SIGN, OUTCOME_STYLE
from distill.terminal.consoles import print_json, stdout
from distill.terminal.drawing import PICTURE_WIDTH, write_svg

if TYPE_CHECKING:
    from pathlib import Path

    from distill.curate.distributions import Distribution
    from distill.curate.length_effect import LengthEffect
    from distill.curate.stats import GroupSummary, Stats

Lines = list[Text]
TWO_COLUMNS = 116
"""Columns of a terminal from which two charts stand side by side."""
MAX_WIDTH = 132
GAP = 4
LABEL = 19
"""Columns for the name of a reason or a model."""
SHOWN_REASONS, SHOWN_MODELS, SHOWN_FINDINGS, SHOWN_GROUPS = 3, 4, 5, 3
GRID_ROWS, GRID_COLUMNS = 6, 48
RIGHT, WRONG = OUTCOME_SIGN[Outcome.CORRECT], OUTCOME_SIGN[Outcome.INCORRECT]


def show_stats(stats: Stats, *, as_json: bool = False) -> None:
    """The distributions of a dataset."""
    if as_json:
        from distill.curate.findings import findings, headline
        from distill.curate.stats import stats_json

        return print_json({"headline": headline(stats), "findings": findings(stats), **stats_json(stats)})
    console = stdout()
    for renderable in overview(stats, console.width):
        console.print(renderable)
    return None


def draw_stats(path: Path, stats: Stats) -> None:
    """The page as a picture."""
    write_svg(path, overview(stats, PICTURE_WIDTH), f"distill inspect {one_line(stats.path)}")


def overview(stats: Stats, width: int) -> Iterator[RenderableType]:
    """A dataset's page for a terminal of so many columns: the headline, what to look at, the charts, the groups."""
    width = min(width, MAX_WIDTH)
    yield from _head(stats, width)
    if not stats.completions:
        return
    two = width >= TWO_COLUMNS
    column = (width - GAP) // 2 if two else width
    shown = [section for section in [*sections(stats, column), _ranked(stats, column)] if section]
    if two:
        for left, right in zip(shown[::2], [*shown[1::2], []], strict=False):
            yield Text()
            yield from beside(left, right, column)
    else:
        for section in shown:
            yield Text()
            yield from section
    yield Text()
    yield from _next(stats)


def sections(stats: Stats, width: int, scale: float | None = None) -> list[Lines]:
    """The charts of a dataset, each in a width; a chart of what the dataset lacks is empty.

    Args:
        scale: the share of groups that fills a bar of the solve-rate chart; the largest one's where it is None.
    """
    if not stats.completions:
        return [[], [], [], [], []]
    return [
        _solved(stats, width, scale),
        _outcomes(stats, width),
        _rewards(stats, width),
        _length(stats, width),
        _entropies(stats, width),
    ]


def _head(stats: Stats, width: int) -> Iterator[Text]:
    from distill.curate.findings import findings, headline

    teachers = ", ".join(one_line(name) for name in list(stats.teachers)[:SHOWN_MODELS]) or "no teacher"
    size = f"{stats.groups:,} groups × {stats.group_size} = {stats.completions:,} completions"
    if stats.completions != stats.groups * stats.group_size:
        size = f"{stats.groups:,} groups of up to {stats.group_size}, {stats.completions:,} completions"
    yield Text.assemble((one_line(stats.path), "bold"), ("  " + " · ".join((teachers, size)), GREY))
    if stats.where:
        chosen = f"where {one_line(stats.where)}: {stats.groups:,} of {stats.groups_stored:,} groups"
        yield Text(chosen, style=PURPLE_BOLD)
    yield Text()
    yield Text(headline(stats), style="bold")
    for finding in findings(stats)[:SHOWN_FINDINGS]:
        look = f'  --where "{finding.where}"' if finding.where else ""  # ours: no quotes and no dollars in it
        yield Text.assemble(("▲ ", f"bold {ORANGE}"), finding.text, (look, GREY))
    yield Text()
    yield from _fate(stats, width)


PURPLE_BOLD = f"bold {OUTCOME_STYLE[Outcome.UNVERIFIED]}"


def _fate(stats: Stats, width: int) -> Iterator[Text]:
    """One bar: the groups that teach, those with equal rewards, those dropped and why."""
    rest = stats.kept - stats.teaching
    parts = [(stats.teaching, "█", BLUE, "teach"), (rest, "▒", BLUE, "kept, but nothing to compare")]
    signs = "░╳╱╲·"
    for place, (reason, count) in enumerate(stats.dropped.items()):
        parts.append((count, signs[min(place, len(signs) - 1)], GREY, f"dropped: {one_line(reason)}"))
    sizes = pieces([count for count, *_ in parts], stats.groups, width)
    yield Text.assemble(*((sign * size, style) for (_, sign, style, _), size in zip(parts, sizes, strict=True)))
    keys = [Text.assemble((sign, style), f" {count:,} {words}") for count, sign, style, words in parts if count]
    yield Text("   ").join(keys)


def heading(words: str, width: int, note: str = "") -> Text:
    """A question, a note on how it is answered, and a line to the end of the width."""
    line = Text.assemble((words, "bold"), (f"  {note}" if note else "", GREY), " ")
    line.append("─" * max(0, width - line.cell_len), style=GREY)
    line.truncate(width, overflow="ellipsis")
    return line


def _counted(label: Text, drawn: Text, count: int, total: int, widths: tuple[int, int, int]) -> Text:
    """A row: label, bar, count, share."""
    label_width, bar_width, count_width = widths
    label.truncate(label_width, overflow="ellipsis", pad=True)
    drawn.truncate(bar_width, pad=True)
    return Text.assemble(label, " ", drawn, f" {count:>{count_width},}", (f" {_percent(count, total):>7}", GREY))


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""


def _solved(stats: Stats, width: int, scale: float | None = None) -> Lines:
    """The solve-rate chart; of each bar what is kept is solid."""
    from distill.curate.findings import solved_rows

    rows = solved_rows(stats)
    note = "solid: kept" if any(stats.dropped.values()) else ""
    lines = [heading("How often are problems solved?", width, note)]
    largest = max(count for _, count, _ in rows)
    label, number = max(len(name) for name, _, _ in rows), len(f"{largest:,}")
    widths = (label, width - label - number - 10, number)
    total = sum(stats.pass_rates)
    full_bar = largest if scale is None else scale * total
    for name, count, solid in rows:
        drawn = Text(bar(count, full_bar, widths[1]), style=BLUE)
        if solid < count:
            full = len(drawn)
            part = min(full, round(full * solid / count))
            drawn = Text.assemble(("█" * part, BLUE), ("░" * (full - part), GREY))
        lines.append(_counted(Text(name), drawn, count, total, widths))
    return lines


def _outcomes(stats: Stats, width: int) -> Lines:
    """The verdicts, and under each its most frequent reasons."""
    lines = [heading("What do the verdicts say?", width)]
    number = len(f"{stats.completions:,}")
    widths = (LABEL, width - LABEL - number - 10, number)
    for outcome in Outcome:
        count = stats.outcomes[outcome.value]
        if not count and outcome is not Outcome.CORRECT:
            continue
        label = Text(f"{OUTCOME_SIGN[outcome]} {outcome.value}", style=f"bold {OUTCOME_STYLE[outcome]}")
        drawn = Text(bar(count, stats.completions, widths[1]), style=OUTCOME_STYLE[outcome])
        lines.append(_counted(label, drawn, count, stats.completions, widths))
        prefix = f"{outcome.value}: "
        reasons = [(name, n) for name, n in stats.verdict_reasons.items() if name.startswith(prefix)]
        for name, n in reasons[:SHOWN_REASONS]:
            label = Text("  " + one_line(name.removeprefix(prefix)), style=GREY)
            lines.append(
                _counted(label, Text(bar(n, stats.completions, widths[1]), GREY), n, stats.completions, widths)
            )
    for name, count in list(stats.finish_reasons.items())[:SHOWN_REASONS]:
        if name != "stop" and count < stats.completions:
            words = {"length": "cut off", "unknown": "end not known"}.get(name, name)
            drawn = Text(bar(count, stats.completions, widths[1]), style=GREY)
            lines.append(_counted(Text(one_line(words)), drawn, count, stats.completions, widths))
    if len(stats.models) > 1:
        lines.append(Text("written by", style=GREY))
        for model, count in list(stats.models.items())[:SHOWN_MODELS]:
            drawn = Text(bar(count, stats.completions, widths[1]), style=GREY)
            lines.append(_counted(Text("  " + one_line(model)), drawn, count, stats.completions, widths))
    return lines


def _rewards(stats: Stats, width: int) -> Lines:
    """Reward and parts, of correct completions above those of wrong ones; the advantages."""
    if stats.rewards is None:
        return []
    lines = [heading("Where do rewards come from?", width, f"mean and spread of {RIGHT}, {WRONG}")]
    named: list[tuple[str, Distribution | None]] = [("reward", stats.rewards), *stats.reward_parts.items()]
    for name, whole in named:
        if whole is None:
            continue
        of_kinds = stats.rewards_by_outcome[name]
        rows = [(RIGHT, BLUE, of_kinds["correct"]), (WRONG, ORANGE, of_kinds["incorrect"])]
        present = [(sign, style, spread) for sign, style, spread in rows if spread is not None]
        for place, (sign, style, spread) in enumerate(present):
            lines.append(_spread_line(one_line(name) if not place else "", sign, style, spread))
    if stats.advantages is not None:
        lines.append(_spread_line("advantage", "", BLUE, stats.advantages))
    return lines


def _spread_line(name: str, sign: str, style: str, spread: Distribution) -> Text:
    label = Text(name, style="bold")
    label.truncate(12, overflow="ellipsis", pad=True)
    low, high = signed(spread.edges[0]), signed(spread.edges[-1])
    ends = f"{low:>7} ", f" {high}"
    return Text.assemble(
        label,
        (f"{sign:<2}", style),
        f"{signed(spread.mean):>7}",
        (ends[0], GREY),
        (sparkline(spread.histogram), style),
        (ends[1], GREY),
    )


def _length(stats: Stats, width: int) -> Lines:
    """Reward against length, darker where there are more; below it the lengths of right and wrong ones."""
    effect = stats.length_effect
    if effect is None:
        return []
    r = effect.within["all"]
    of_kinds = ((RIGHT, effect.within["correct"]), (WRONG, effect.within["incorrect"]))
    each = "".join(f", {sign} {value:+.2f}" for sign, value in of_kinds if value is not None)
    note = f"r {r:+.2f}{each}" if r is not None else ""
    lines = [heading("Does length buy reward?", width, note), *_grid(effect)]
    longest, tail = effect.token_edges[-1], stats.tokens["all"]
    beyond = "+" if tail is not None and tail.quantiles[100] > longest else ""
    end = f"{longest:,.0f}{beyond} tokens"
    begin = f"{effect.token_edges[0]:,.0f}"
    lines.append(Text(" " * 8 + begin + end.rjust(GRID_COLUMNS - len(begin)), style=GREY))
    correct = [sum(column) for column in zip(*effect.correct, strict=True)]
    wrong = [sum(column) - right for column, right in zip(zip(*effect.counts, strict=True), correct, strict=True)]
    for sign, style, counts, kind in ((RIGHT, BLUE, correct, "correct"), (WRONG, ORANGE, wrong, "incorrect")):
        spread = stats.tokens[kind]
        if spread is not None:
            lines.append(Text.assemble((f"{sign}{spread.mean:>6,.0f} ", style), (sparkline(counts), style)))
    return lines


def _grid(effect: LengthEffect) -> Lines:
    from distill.curate.length_effect import coarser

    counts, correct = (coarser(values, GRID_ROWS, GRID_COLUMNS) for values in (effect.counts, effect.correct))
    largest = max(max(row) for row in counts)
    step = (effect.reward_edges[-1] - effect.reward_edges[0]) / GRID_ROWS
    lines = []
    for row in reversed(range(GRID_ROWS)):
        middle = effect.reward_edges[0] + (row + 0.5) * step
        cells = [
            (shade(n, largest), BLUE if 2 * right >= n else ORANGE)
            for n, right in zip(counts[row], correct[row], strict=True)
        ]
        lines.append(Text.assemble((f"{signed(middle):>6} ", GREY), ("│", GREY), *cells))
    return lines


def _entropies(stats: Stats, width: int) -> Lines:
    """How sure the teacher was, token by token."""
    bounds = [stats.entropy_bounds["lower"], stats.entropy_bounds["upper"]]
    if stats.entropies is None and not any(bounds):
        return []
    lines = [heading("How sure was the teacher?", width, "nats a token, log scale")]
    if stats.entropies is not None:
        spread = stats.entropies
        logs = [round(1000 * log1p(count)) for count in spread.histogram]
        drawn = skyline(logs, 4, min(width, 60))
        lines += [Text(line, style=BLUE) for line in drawn]
        across = len(drawn[0])
        ends = f"{spread.edges[0]:.2f}", f"{spread.edges[-1]:.2f}"
        lines.append(Text(ends[0] + ends[1].rjust(across - len(ends[0])), style=GREY))
        q = spread.quantiles
        lines.append(
            Text.assemble(
                f"mean {spread.mean:.2f}",
                (f"   half below {q[50]:.2f}, 5 % above {q[95]:.2f}", GREY),
            )
        )
    for words, bound in zip(("at least", "at most"), bounds, strict=True):
        if bound is not None:
            lines.append(_spread_line(words, "", BLUE, bound))
    return lines


def _ranked(stats: Stats, width: int) -> Lines:
    """The groups with the highest and the lowest mean reward."""
    if not stats.best:
        return []
    lines = [heading("Best and worst groups", width, "by mean reward")]
    shown = {group.id for group in stats.best[:SHOWN_GROUPS]}
    worst = [group for group in stats.worst if group.id not in shown]
    for sign, style, groups in (("▲", BLUE, stats.best), ("▼", ORANGE, worst)):
        lines += [_group_line(group, sign, style, width) for group in groups[:SHOWN_GROUPS]]
    return lines


def _group_line(group: GroupSummary, sign: str, style: str, width: int) -> Text:
    name = Text(one_line(group.id))
    reason = Text(one_line(group.drop_reason), style=GREY)
    reason.truncate(16, overflow="ellipsis", pad=True)
    solved = f"{group.num_correct}/{group.num_completions}"
    name.truncate(width - 2 - 16 - 8 - 8, overflow="ellipsis", pad=True)
    return Text.assemble((f"{sign} ", style), name, f"{solved:>7} {signed(group.reward_mean):>7} ", reason)


def _next(stats: Stats) -> Iterator[Text]:
    groups = (*stats.worst, *stats.best)
    mixed = [group.id for group in groups if 0 < group.num_correct < group.num_completions]  # there is most to read
    example = next(iter([*mixed, *(group.id for group in groups), "ID"]))
    command = shlex.join(["distill", "inspect", stats.path, "--group", example])
    yield Text(f"one group in full: {one_line(command)}", style=GREY)


def beside(left: Sequence[Text], right: Sequence[Text], width: int) -> Iterator[Text]:
    """Two sections side by side."""
    for place in range(max(len(left), len(right))):
        first = left[place].copy() if place < len(left) else Text()
        first.truncate(width, overflow="ellipsis", pad=True)
        second = right[place] if place < len(right) else Text()
        yield Text.assemble(first, " " * GAP, second)


def signed(value: float | None) -> str:
    """A number with its sign and two digits; a dash for none.

    >>> signed(1.234), signed(-0.001), signed(None)
    ('+1.23', '0.00', '–')
    """
    if value is None:
        return "–"
    rounded = round(value, 2)
    return f"{rounded:+,.2f}" if rounded else "0.00"
