"""The page of a dataset, or of two side by side: the headline, the charts, and groups to search and read."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

import distill
from distill.curate.distributions import Distribution
from distill.curate.findings import findings, headline, solved_rows
from distill.curate.length_effect import coarser
from distill.curate.page.content import MAX_GROUPS, Content, gather_content
from distill.curate.page.script import SCRIPT
from distill.curate.page.style import STYLE
from distill.curate.stats import GroupSummary, Stats
from distill.files import write_atomically
from distill.page.document import document, embedded
from distill.page.plots import Bar, bar_chart, heat_map, mirrored, table
from distill.printable import printable
from distill.records import Outcome

KIND = {"correct": "right", "incorrect": "wrong", "no_answer": "none", "unverified": "unknown"}
SIGN = {"correct": "✓", "incorrect": "✗", "no_answer": "∅", "unverified": "?"}
SHOWN_REASONS = 3
MAP_ROWS, MAP_COLUMNS = 12, 48
PAIR_HEIGHT = 26
FILTERS = {
    "all": "all groups",
    "mixed": "right and wrong",
    "solved": "solved by all",
    "unsolved": "solved by none",
    "dropped": "dropped",
}
ORDERS = {
    "source": "in source order",
    "best": "best first",
    "worst": "worst first",
    "longest": "longest first",
    "hardest": "hardest first",
}
SCALE = (
    '<span class="e1">0.25</span><span class="e2">0.7</span><span class="e3">1.4</span><span class="e4">2.1 nats</span>'
)


def write_page(path: Path, stats: Stats, max_groups: int = MAX_GROUPS, *, show_harmful: bool = False) -> None:
    """Write the page of a dataset.

    Raises:
        DistillError: the dataset is not there any more.
    """
    write_atomically(path, render(gather_content(stats, max_groups, show_harmful=show_harmful)))


def render(content: Content) -> str:
    """The whole page as text."""
    stats = content.stats
    title = printable(stats.path)
    body = [*_head(stats), f'<div class="charts">{"".join(figures(stats).values())}</div>', *_ranked(stats)]
    body += _groups(content)
    script = SCRIPT if content.groups else ""
    return document(title, "\n".join(body), style=STYLE, script=script)


def _head(stats: Stats) -> Iterator[str]:
    teachers = ", ".join(stats.teachers) or "no teacher"
    chosen = f" Where {stats.where}: {stats.groups:,} of {stats.groups_stored:,} groups." if stats.where else ""
    size = f"{stats.groups:,} groups, {stats.completions:,} completions"
    about = f"{teachers} · {size}.{chosen} distill {distill.__version__}."
    yield f'<h1>{text(stats.path)}</h1><p class="soft">{text(about)}</p>'
    yield f'<p class="headline">{text(headline(stats))}</p>'
    found = findings(stats)
    if found:
        lines = (
            f"<li>{text(finding.text)}" + (f" <code>{text(finding.where)}</code>" if finding.where else "") + "</li>"
            for finding in found
        )
        yield f'<ul class="findings">{"".join(lines)}</ul>'
    yield _fate(stats)


def _fate(stats: Stats) -> str:
    """One bar: the groups that teach, those with equal rewards, those dropped and why."""
    parts = [(stats.teaching, "right", "teach"), (stats.kept - stats.teaching, "flat", "kept, but nothing to compare")]
    parts += [(count, "quiet", f"dropped: {reason}") for reason, count in stats.dropped.items()]
    shown = [(count, kind, words) for count, kind, words in parts if count]
    bar = "".join(f'<i class="{kind}" style="flex:{count}"></i>' for count, kind, _ in shown)
    named = (f'<span><i class="{kind}"></i>{count:,} {text(words)}</span>' for count, kind, words in shown)
    return f'<div class="fate">{bar}</div><p class="soft keys">{"".join(named)}</p>'


def figures(stats: Stats, before: str = "", scale: float | None = None) -> dict[str, str]:
    """The charts by the question that each answers.

    Args:
        before: whose they are, where there are two datasets.
        scale: the share of groups that fills a bar of the solve-rate chart; the largest one's where it is None.
    """
    named = {
        "How often are problems solved?": ("solid: kept" if stats.dropped else "", _solved(stats, scale)),
        "What do the verdicts say?": ("", _verdicts(stats)),
        "Where do rewards come from?": ("right upwards, wrong down", _rewards(stats)),
        "Does length buy reward?": (_correlation(stats), _length(stats)),
        "How long are completions?": ("right upwards, wrong down", _lengths(stats)),
        "How sure was the teacher?": ("tokens by entropy, root scale", _entropies(stats)),
    }
    heads = {
        question: f"<figcaption>{before}{escape(question)}<small>{text(note)}</small></figcaption>"
        for question, (note, _) in named.items()
    }
    return {question: f"<figure>{heads[question]}{chart}</figure>" for question, (_, chart) in named.items() if chart}


def _solved(stats: Stats, scale: float | None) -> str:
    rows, total = solved_rows(stats), sum(stats.pass_rates)
    bars = [Bar(label, [(kept, "right"), (count - kept, "quiet")], _count(count, total)) for label, count, kept in rows]
    largest = max(count for _, count, _ in rows) if scale is None else scale * total
    return f'<div class="solved">{bar_chart(bars, largest)}</div>' if total else ""


def _verdicts(stats: Stats) -> str:
    bars = []
    for outcome in Outcome:
        count, kind = stats.outcomes[outcome.value], KIND[outcome.value]
        if count:
            label = f"{SIGN[outcome.value]} {outcome.value}"
            bars.append(Bar(label, [(count, kind)], _count(count, stats.completions)))
            prefix = f"{outcome.value}: "
            reasons = [(name, n) for name, n in stats.verdict_reasons.items() if name.startswith(prefix)]
            for name, n in reasons[:SHOWN_REASONS]:
                words = "\u2003" + printable(name.removeprefix(prefix))
                bars.append(Bar(words, [(n, "quiet")], _count(n, stats.completions)))
    cut = stats.finish_reasons.get("length", 0)
    if cut:
        bars.append(Bar("cut off", [(cut, "quiet")], _count(cut, stats.completions)))
    return bar_chart(bars, stats.completions)


def _rewards(stats: Stats) -> str:
    rows = []
    wholes = {"reward": stats.rewards, **stats.reward_parts}
    for name, whole in wholes.items():
        if whole is not None:
            of_kinds = stats.rewards_by_outcome[name]
            rows.append(_pair(name, whole, of_kinds["correct"], of_kinds["incorrect"]))
    if stats.advantages is not None:
        rows.append(_pair("advantage", stats.advantages, stats.advantages, None))
    return "".join(rows)


def _pair(name: str, whole: Distribution, up: Distribution | None, down: Distribution | None) -> str:
    means = [
        f"{sign} {round(spread.mean, 2) + 0.0:.2f}" for sign, spread in (("✓", up), ("✗", down)) if spread is not None
    ]
    label = f"<b>{text(name)}</b><br><span class='soft'>{'<br>'.join(means if down is not None else [])}</span>"
    ends = f"{whole.edges[0]:.2f}", f"{whole.edges[-1]:.2f}"
    chart = mirrored(_shares(up), _shares(down), ends, ("right", "wrong"), PAIR_HEIGHT)
    return f'<div class="pair"><span>{label}</span>{chart}</div>'


def _shares(spread: Distribution | None) -> list[float]:
    """Shares of its own kind, so that few wrong completions are seen beside many right ones."""
    return [] if spread is None else [count / spread.count for count in spread.histogram]


def _correlation(stats: Stats) -> str:
    within = stats.length_effect.within if stats.length_effect is not None else {}
    named = (("r inside groups", "all"), ("correct", "correct"), ("wrong", "incorrect"))
    return ", ".join(f"{words} {r:+.2f}" for words, kind in named if (r := within.get(kind)) is not None)


def _length(stats: Stats) -> str:
    effect = stats.length_effect
    if effect is None:
        return ""
    counts, correct = (coarser(values, MAP_ROWS, MAP_COLUMNS) for values in (effect.counts, effect.correct))
    shares = [
        [right / max(count, 1) for count, right in zip(*rows, strict=True)]
        for rows in zip(counts, correct, strict=True)
    ]
    whole = stats.tokens["all"]
    beyond = "+" if whole is not None and whole.quantiles[100] > effect.token_edges[-1] else ""
    across = f"{effect.token_edges[0]:,.0f}", f"{effect.token_edges[-1]:,.0f}{beyond} tokens"
    return heat_map(counts, shares, across, (f"{effect.reward_edges[0]:.2f}", f"{effect.reward_edges[-1]:.2f}"))


def _lengths(stats: Stats) -> str:
    whole, up, down = (stats.tokens[kind] for kind in ("all", "correct", "incorrect"))
    if whole is None:
        return ""
    means = [
        f"{words} {spread.mean:,.0f}" for words, spread in (("correct", up), ("wrong", down)) if spread is not None
    ]
    ends = f"{whole.edges[0]:,.0f}", f"{whole.edges[-1]:,.0f} tokens"
    chart = mirrored(_shares(up), _shares(down), ends, ("right", "wrong"))
    return f'{chart}<div class="soft">on average {", ".join(means)}</div>'


def _entropies(stats: Stats) -> str:
    spread = stats.entropies
    if spread is None:
        return ""
    ends = f"{spread.edges[0]:.2f}", f"{spread.edges[-1]:.2f} nats"
    q = spread.quantiles
    words = f"mean {spread.mean:.2f}; half below {q[50]:.2f}, 5 % above {q[95]:.2f}"
    chart = mirrored([count**0.5 for count in spread.histogram], [], ends, ("right", "wrong"))
    return f'{chart}<div class="soft">{words}</div>'


def _ranked(stats: Stats) -> Iterator[str]:
    if stats.best:
        yield "<h2>Best and worst groups</h2>"
        shown = {group.id for group in stats.best}
        worst = [group for group in stats.worst if group.id not in shown]
        rows = [_line("highest", group) for group in stats.best] + [_line("lowest", group) for group in worst]
        yield table(["group", "by mean reward", "solved", "reward", "±", "dropped"], rows)


def _line(place: str, group: GroupSummary) -> list[str]:
    solved = f"{group.num_correct}/{group.num_completions}"
    numbers = [
        "–" if value is None else f"{round(value, 2) + 0.0:.2f}" for value in (group.reward_mean, group.reward_std)
    ]
    return [printable(group.id), place, solved, *numbers, printable(group.drop_reason)]


def _groups(content: Content) -> Iterator[str]:
    """The groups: a search over them, and the data that the page's script draws them from."""
    if not content.groups:
        return
    total, shown = content.stats.groups, len(content.groups)
    which = (
        "the best, the worst, and others evenly spaced in the order of the source"
        if content.has_extremes
        else ("evenly spaced in the order of the source")
    )
    said = (
        f"{shown:,} of {total:,} groups stand in this page, {which}; --limit N puts N there." if shown < total else ""
    )
    yield f'<h2>Groups</h2><p class="soft">{said} Open one to read it; the answer that was read is marked.</p>'
    yield (
        '<div class="tools"><input type="search" id="search" placeholder="search ids, questions, answers, completions" '
        f'aria-label="search">{_select("only", FILTERS)}{_select("order", ORDERS)}'
        f'<label class="scale"><input type="checkbox" id="colour" checked> entropy {SCALE}</label>'
        '<span class="soft" id="found"></span></div>'
        "<noscript><p>The groups are shown by a script, which this browser does not run.</p></noscript>"
        '<div id="list"></div>'
    )
    yield embedded("groups", content.groups)


def _select(name: str, options: dict[str, str]) -> str:
    inner = "".join(f'<option value="{value}">{words}</option>' for value, words in options.items())
    return f'<select id="{name}" aria-label="{name}">{inner}</select>'


def text(words: str) -> str:
    """A text as it may stand in a page."""
    return escape(printable(words))


def _count(count: int, total: int) -> str:
    return f"{count:,} · {100 * count / total:.1f} %" if total else ""
