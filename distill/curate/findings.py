"""What a person should know of a dataset first: one line that says what it is worth, and what to look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from distill.curate.stats import Stats

FEW_TEACH, MANY_EASY = 0.5, 0.4
MANY_COMPLETIONS = 0.05
"""Share of completions from which a defect is worth a look."""
MANY_INVERTED = 0.02
MOST_ROWS = 16
SLIGHT, CLEAR = 0.1, 0.3
"""Correlations below the first are called none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is unusual about a dataset."""

    text: str
    where: str = ""
    """The condition that chooses the groups to look at."""


def headline(stats: Stats) -> str:
    """What the dataset is worth, in one sentence or two.

    Groups teach when they are kept and their rewards differ: only these have advantages.
    """
    if not stats.completions:
        return "There is no completion to learn from."
    said = [
        f"{stats.teaching:,} of {stats.groups:,} groups teach ({share(stats.teaching, stats.groups)})",
        f"{share(stats.outcomes['correct'], stats.completions)} of completions are correct",
    ]
    gap = reward_gap(stats)
    if gap is not None:
        said.append(f"a correct one earns {abs(gap):.2f} {'more' if gap >= 0 else 'less'} than a wrong one")
    return ", ".join(said) + f"; {length_words(stats)}."


def reward_gap(stats: Stats) -> float | None:
    """Mean reward of the correct completions less that of the wrong ones; None where one of them has none."""
    right, wrong = (stats.rewards_by_outcome["reward"][kind] for kind in ("correct", "incorrect"))
    return None if right is None or wrong is None else right.mean - wrong.mean


def length_words(stats: Stats) -> str:
    """Whether length buys reward, in words."""
    effect = stats.length_effect
    if effect is None or effect.within["all"] is None:
        return "whether length buys reward is not known"
    r, among_right = effect.within["all"], effect.within["correct"]
    if abs(r) >= SLIGHT:
        much = "" if abs(r) < CLEAR else " clearly"
        return f"{_which(r)} ones earn{much} more (r = {r:+.2f} inside groups)"
    said = f"length alone does not buy reward (r = {r:+.2f} inside groups)"
    if among_right is None or abs(among_right) < CLEAR:
        return said
    return f"{said}, among correct ones {_which(among_right)} earn more ({among_right:+.2f})"


def _which(r: float) -> str:
    return "longer" if r > 0 else "shorter"


def findings(stats: Stats) -> tuple[Finding, ...]:
    """What is unusual, the weightiest first."""
    if not stats.completions:
        return ()
    return (*_about_groups(stats), *_about_rewards(stats), *_about_completions(stats))


def _about_groups(stats: Stats) -> Iterator[Finding]:
    if stats.teaching < FEW_TEACH * stats.groups:
        yield Finding(
            f"Only {share(stats.teaching, stats.groups)} of groups teach: {stats.groups - stats.kept:,} are dropped, "
            f"{stats.flat_groups:,} have equal rewards.",
            "not teaches",
        )
    elif stats.flat_groups > MANY_COMPLETIONS * stats.groups:
        yield Finding(
            f"{stats.flat_groups:,} kept groups ({share(stats.flat_groups, stats.groups)}) teach nothing by "
            "comparison: their rewards are all equal.",
            "kept and reward_std == 0",
        )
    easy = stats.pass_rates[-1]
    if stats.group_size > 1 and easy > MANY_EASY * stats.groups:
        yield Finding(
            f"{share(easy, stats.groups)} of groups are solved by every completion: too easy to tell right from wrong.",
            "pass_rate == 1",
        )


def _about_rewards(stats: Stats) -> Iterator[Finding]:
    if stats.inverted_groups > MANY_INVERTED * max(stats.mixed_groups, 1):
        yield Finding(
            f"In {stats.inverted_groups:,} of {stats.mixed_groups:,} groups with both, a wrong completion earns as "
            "much as a right one.",
            "inverted",
        )
    for name, spread in stats.reward_parts.items():
        if spread is not None and spread.std == 0 and spread.count > 1:
            yield Finding(f"The reward part '{name}' is {spread.mean:g} everywhere: it tells nothing apart.")
    effect = stats.length_effect
    wrong = effect.within["incorrect"] if effect is not None else None
    right = effect.within["correct"] if effect is not None else None
    if right is not None and right > CLEAR:
        yield Finding(f"Among correct completions longer ones earn more (r = {right:+.2f}): padding is paid for.")
    if wrong is not None and wrong > CLEAR and (right is None or right > -CLEAR):
        yield Finding(f"Among wrong completions longer ones earn more (r = {wrong:+.2f}).")


def _about_completions(stats: Stats) -> Iterator[Finding]:
    counts = (
        ("cut off at the length limit", stats.finish_reasons.get("length", 0), "'length' in finish_reasons"),
        ("without an answer", stats.outcomes["no_answer"], "'no_answer' in outcomes"),
        ("unverified, and have no reward", stats.outcomes["unverified"], "'unverified' in outcomes"),
    )
    for words, number, where in counts:
        if number > MANY_COMPLETIONS * stats.completions:
            yield Finding(f"{share(number, stats.completions)} of completions are {words}.", where)
    if len(stats.entropy_kinds) > 1:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in stats.entropy_kinds.items())
        yield Finding(f"Entropies are not all of one kind: {kinds} groups.", "entropy_kind != 'exact'")


def solved_rows(stats: Stats) -> list[tuple[str, int, int]]:
    """The solve-rate chart: label, groups, kept ones; a row for each rate, of large groups for each eighth."""
    size = stats.group_size
    counts = list(zip(stats.pass_rates, stats.pass_rates_kept, strict=True))
    if size <= MOST_ROWS:
        return [(f"{k}/{size}", *count) for k, count in enumerate(counts)]
    ends = [0, *(round(size * eighth / 8) for eighth in range(1, 8)), size - 1, size]
    rows = []
    for low, high in zip([0, *(end + 1 for end in ends)], ends, strict=False):
        label = f"{low}/{size}" if low == high else f"{low}–{high}/{size}"
        rows.append((label, sum(n for n, _ in counts[low : high + 1]), sum(k for _, k in counts[low : high + 1])))
    return rows


def share(part: float, whole: float) -> str:
    """A share in percent; never 0 of something, nor all of less than all.

    >>> share(1, 3), share(1, 60_000), share(59_999, 60_000), share(0, 5), share(5, 5)
    ('33 %', '< 0.1 %', '> 99.9 %', '0 %', '100 %')
    """
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in (0, 100) or 1 <= percent <= 99 else f"{percent:.1f} %"
