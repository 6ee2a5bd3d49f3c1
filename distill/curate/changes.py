"""What changed from one dataset to another: their numbers side by side, and the groups that both have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from distill.curate.chosen import chosen_batches
from distill.curate.distributions import Distribution
from distill.curate.findings import reward_gap, share, solved_rows
from distill.curate.stats import Stats, dataset_stats, joint_limits

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LISTED_GROUPS = 3
JOINED = ("id", "pass_rate", "kept")


@dataclass(frozen=True, slots=True)
class Moved:
    """A group whose solve rate is another one now."""

    id: str
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Line:
    """One number of both datasets."""

    name: str
    before: str
    after: str
    change: str
    direction: Literal["up", "down", "same", ""]
    """Empty where one of the two is not known."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Two datasets and what is different."""

    before: Stats
    after: Stats
    common: int
    """Groups of both, by their ids; datasets of other problems have none."""
    solved_more: int
    """Of these, the groups with a higher solve rate in the second."""
    solved_less: int
    newly_kept: int
    newly_dropped: int
    risen: tuple[Moved, ...]
    fallen: tuple[Moved, ...]


def compare_datasets(before: Path | str, after: Path | str, where: str = "") -> Changes:
    """Two datasets in numbers, and how the groups that both have were solved.

    Their histograms have the same axes. For the groups some 50 bytes of each are held, for all else nothing that grows.

    Raises:
        DistillError: a path holds no curated dataset, or the condition is none.
    """
    import numpy as np
    import pyarrow.compute as pc

    first, second = (_outcomes(Path(path), where) for path in (before, after))
    places = pc.index_in(second["id"], value_set=first["id"])
    shared = second.filter(pc.is_valid(places))
    old = first.take(places.drop_null())
    rates = [table["pass_rate"].to_numpy() for table in (old, shared)]
    kept = [table["kept"].to_numpy() for table in (old, shared)]
    moved = np.nan_to_num(rates[1] - rates[0])
    limits = joint_limits([dataset_stats(path, where) for path in (before, after)])
    return Changes(
        dataset_stats(before, where, limits),
        dataset_stats(after, where, limits),
        common=shared.num_rows,
        solved_more=int((moved > 0).sum()),
        solved_less=int((moved < 0).sum()),
        newly_kept=int((kept[1] & ~kept[0]).sum()),
        newly_dropped=int((kept[0] & ~kept[1]).sum()),
        risen=tuple(_moved(shared["id"], rates, np.argsort(-moved, kind="stable"), moved > 0)),
        fallen=tuple(_moved(shared["id"], rates, np.argsort(moved, kind="stable"), moved < 0)),
    )


def _outcomes(path: Path, where: str) -> pa.Table:
    import pyarrow as pa

    batches = [batch for _, _, batch in chosen_batches(path, lambda _: JOINED, where)]
    copied = [pa.RecordBatch.from_pydict(batch.to_pydict(), batch.schema) for batch in batches]
    return pa.Table.from_batches(copied).combine_chunks()


def _moved(ids: pa.ChunkedArray, rates: list[np.ndarray], order: np.ndarray, wanted: np.ndarray) -> Iterator[Moved]:
    for place in order[:LISTED_GROUPS]:
        if wanted[place]:
            yield Moved(ids[int(place)].as_py(), float(rates[0][place]), float(rates[1][place]))


def changes_headline(changes: Changes) -> str:
    """What the second dataset has more or less of, in a sentence."""
    one, two = changes.before, changes.after
    if not (one.completions and two.completions):
        return "One of the two has no completions."
    said = [
        f"teaching groups {one.teaching:,} → {two.teaching:,}",
        "correct " + " → ".join(share(stats.outcomes["correct"], stats.completions) for stats in (one, two)),
    ]
    lengths = [stats.tokens["all"] for stats in (one, two)]
    if lengths[0] is not None and lengths[1] is not None and lengths[0].mean:
        ratio = lengths[1].mean / lengths[0].mean - 1
        said.append(f"completions {100 * abs(ratio):.0f} % {'longer' if ratio > 0 else 'shorter'}")
    if changes.common:
        said.append(
            f"of {changes.common:,} groups in both {changes.solved_more:,} are solved more often and "
            f"{changes.solved_less:,} less"
        )
    else:
        said.append("no group is in both")
    return f"{said[0][:1].upper()}{said[0][1:]}, {', '.join(said[1:])}."


def change_lines(changes: Changes) -> Iterator[Line]:
    """The numbers that describe a dataset, of both."""
    one, two = changes.before, changes.after
    yield _counted("groups", one.groups, two.groups)
    yield _shared("that teach", (one.teaching, one.groups), (two.teaching, two.groups))
    yield _shared("dropped", (one.groups - one.kept, one.groups), (two.groups - two.kept, two.groups))
    yield _counted("completions", one.completions, two.completions)
    for name in one.outcomes:
        if one.outcomes[name] or two.outcomes[name]:
            yield _shared(name, (one.outcomes[name], one.completions), (two.outcomes[name], two.completions))
    cut = [stats.finish_reasons.get("length", 0) for stats in (one, two)]
    if any(cut):
        yield _shared("cut off", (cut[0], one.completions), (cut[1], two.completions))
    yield _measured("reward", _mean(one.rewards), _mean(two.rewards))
    yield _measured("correct over wrong", reward_gap(one), reward_gap(two))
    for part in dict.fromkeys([*one.reward_parts, *two.reward_parts]):
        yield _measured(part, _mean(one.reward_parts.get(part)), _mean(two.reward_parts.get(part)))
    for kind in ("all", "correct", "incorrect"):
        name = "tokens" if kind == "all" else f"tokens, {kind}"
        yield _measured(name, _mean(one.tokens[kind]), _mean(two.tokens[kind]), digits=0)
    first, second = (stats.length_effect.within["all"] if stats.length_effect else None for stats in (one, two))
    yield _measured("length and reward, r", first, second)
    if one.entropies or two.entropies:
        yield _measured("entropy, nats", _mean(one.entropies), _mean(two.entropies))


def _mean(spread: Distribution | None) -> float | None:
    return None if spread is None else spread.mean


def largest_share(stats: Stats) -> float:
    """The longest bar of the solve-rate chart, as a share of the groups."""
    return max(count for _, count, _ in solved_rows(stats)) / max(sum(stats.pass_rates), 1)


def _counted(name: str, before: int, after: int) -> Line:
    change = f"{after - before:+,}" if after != before else "="
    return Line(name, f"{before:,}", f"{after:,}", change, _direction(before, after))


def _shared(name: str, before: tuple[int, int], after: tuple[int, int]) -> Line:
    """Shares in percent; their difference is in points."""
    shares = [100 * part / whole if whole else 0.0 for part, whole in (before, after)]
    points = round(shares[1] - shares[0], 1)
    first, second = (f"{part:,} ({percent:.1f} %)" for (part, _), percent in zip((before, after), shares, strict=True))
    return Line(name, first, second, f"{points:+.1f} points" if points else "=", _direction(0.0, points))


def _measured(name: str, before: float | None, after: float | None, digits: int = 2) -> Line:
    first, second = ("–" if value is None else f"{value:,.{digits}f}" for value in (before, after))
    if before is None or after is None:
        return Line(name, first, second, "", "")
    change = round(after - before, digits)
    return Line(name, first, second, f"{change:+,.{digits}f}" if change else "=", _direction(0.0, change))


def _direction(before: float, after: float) -> Literal["up", "down", "same"]:
    return "same" if before == after else "up" if after > before else "down"
