"""What a dataset looks like: counts, distributions, its best and worst groups. Reads Arrow columns, keeps no rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.curate.chosen import chosen_batches
from distill.curate.distributions import Distribution, Values, edges_between, float16_distribution
from distill.curate.group_columns import WRONG, is_inverted, parent_groups
from distill.curate.length_effect import Grid, LengthEffect, WithinGroups, shown_lengths
from distill.records import Outcome
from distill.schema import reward_column, reward_parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

LISTED_GROUPS = 5
"""How many of the best and of the worst groups are named."""
SCALARS = (
    "id",
    "kept",
    "drop_reason",
    "num_correct",
    "pass_rate",
    "reward_mean",
    "reward_std",
    "teacher",
    "entropy_kind",
    "run_id",
)
LISTS = ("outcomes", "verdict_reasons", "finish_reasons", "models", "num_tokens", "rewards", "advantages")
ENTROPIES = ("token_entropies", "entropy_lower", "entropy_upper")
KINDS = ("correct", "incorrect", "other")


Limits = Mapping[str, tuple[float, float]]
"""Column -> the ends of its histogram; 'lengths' for those of length against reward."""


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """One line about a group."""

    id: str
    num_correct: int
    num_completions: int
    reward_mean: float | None
    reward_std: float | None
    drop_reason: str


@dataclass(frozen=True, slots=True)
class Stats:
    """A dataset in numbers; ``dataclasses.asdict`` gives plain JSON values."""

    path: str
    run_id: str
    where: str
    """The condition on groups that all else is about; empty for all groups."""
    groups_stored: int
    """Groups of the dataset, whether they fulfil the condition or not."""
    teachers: Mapping[str, int]
    """Teacher -> groups."""
    models: Mapping[str, int]
    """Model -> completions; a recorded group may have several."""
    groups: int
    completions: int
    kept: int
    dropped: Mapping[str, int]
    """Reason -> groups."""
    teaching: int
    """Kept groups whose rewards differ, so that comparing them teaches."""
    flat_groups: int
    """Kept groups whose rewards are all equal: every advantage is 0, so comparing teaches nothing."""
    mixed_groups: int
    """Groups with a correct and a wrong completion that both have a reward."""
    inverted_groups: int
    """Of these, those in which a wrong one earns as much as a right one."""
    outcomes: Mapping[str, int]
    verdict_reasons: Mapping[str, int]
    """'outcome: reason' -> completions."""
    finish_reasons: Mapping[str, int]
    group_size: int
    """Completions of the largest group."""
    pass_rates: tuple[int, ...]
    """``pass_rates[k]`` groups solved k of ``group_size``; smaller groups count at the nearest rate."""
    pass_rates_kept: tuple[int, ...]
    """Of these, the kept ones."""
    rewards: Distribution | None
    reward_parts: Mapping[str, Distribution | None]
    rewards_by_outcome: Mapping[str, Mapping[str, Distribution | None]]
    """'reward' or a part -> 'correct' and 'incorrect' -> its distribution, between the edges of the whole one's."""
    advantages: Distribution | None
    tokens: Mapping[str, Distribution | None]
    """Completion lengths: 'all', 'correct' and 'incorrect' (which has those without an answer too)."""
    length_effect: LengthEffect | None
    entropies: Distribution | None
    """Per token, in nats, where they are exact."""
    entropy_bounds: Mapping[str, Distribution | None]
    """'lower' and 'upper', where only bounds are known."""
    entropy_kinds: Mapping[str, int]
    """Kind -> groups."""
    best: tuple[GroupSummary, ...]
    worst: tuple[GroupSummary, ...]
    """By mean reward."""


@dataclass
class _Tally:
    """What is gathered while the batches pass; its size does not grow with their number."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: defaultdict[tuple[str, str], Values] = field(default_factory=lambda: defaultdict(Values))
    """Column, kind of outcome -> numbers."""
    entropy_codes: dict[str, np.ndarray] = field(default_factory=dict)
    """Column -> how often each of the 65,536 patterns of a float16 stands in it."""
    within: WithinGroups = field(default_factory=WithinGroups)
    groups: int = 0
    completions: int = 0
    teaching: int = 0
    flat_groups: int = 0
    mixed_groups: int = 0
    inverted_groups: int = 0
    group_size: int = 0
    solved: Counter[tuple[float, bool]] = field(default_factory=Counter)
    """Share of correct completions, is it kept -> judged groups."""
    best: list[GroupSummary] = field(default_factory=list)
    worst: list[GroupSummary] = field(default_factory=list)
    run_id: str = ""
    limits: Limits = field(default_factory=dict)

    def count(self, name: str, values: pa.Array) -> None:
        """Add the values of a column of words to a counter."""
        counter = self.counts.setdefault(name, Counter())
        found, numbers = values.value_counts().flatten()
        counter.update(dict(zip(found.to_pylist(), numbers.to_pylist(), strict=True)))

    def summarise(self, group: GroupSummary) -> None:
        """Add a group to the sums."""
        self.groups += 1
        self.completions += group.num_completions
        self.teaching += not group.drop_reason and bool(group.reward_std)
        self.flat_groups += not group.drop_reason and group.reward_std == 0
        self.group_size = max(self.group_size, group.num_completions)

    def rank(self, groups: Sequence[GroupSummary]) -> None:
        """Keep the best and the worst of the groups seen so far."""
        rewarded = [group for group in groups if group.reward_mean is not None]
        self.best = nlargest(LISTED_GROUPS, [*self.best, *rewarded], key=lambda group: group.reward_mean or 0.0)
        self.worst = nsmallest(LISTED_GROUPS, [*self.worst, *rewarded], key=lambda group: group.reward_mean or 0.0)

    def spread(self, name: str, kind: str = "", like: Distribution | None = None) -> Distribution | None:
        """The distribution of the numbers gathered under a name; of one kind of outcome or of all."""
        kinds = (kind,) if kind else KINDS
        edges = self.edges(name) if like is None else like.edges
        return Values.joined(self.numbers[name, each] for each in kinds).distribution(edges)

    def edges(self, name: str) -> tuple[float, ...] | None:
        """What to count between, where that is given."""
        return edges_between(self.limits[name]) if name in self.limits else None

    def by_outcome(self, name: str, like: Distribution | None) -> dict[str, Distribution | None]:
        """The distributions of correct and of wrong completions, between the edges of that of all."""
        return {kind: self.spread(name, kind, like) for kind in ("correct", "incorrect")}


def dataset_stats(path: Path | str, where: str = "", limits: Limits | None = None) -> Stats:
    """A curated dataset in numbers.

    Args:
        where: a condition on groups, as ``distill.curate.where`` describes it; empty for all.
        limits: where histograms begin and end, such as ``joint_limits`` of two datasets; else each at its own numbers.

    Raises:
        DistillError: the path holds no curated dataset, or the condition is none.
    """
    tally = _Tally(limits=limits or {})
    parts: tuple[str, ...] = ()
    stored = 0
    for names, size, batch in chosen_batches(Path(path), _columns, where):
        parts = reward_parts(names)
        stored += size
        if batch.num_rows:
            _tally_batch(tally, batch, parts)
    counts = {name: dict(counter.most_common()) for name, counter in tally.counts.items()}
    reasons = counts.get("drop_reason", {})
    rewards, tokens = tally.spread("rewards"), tally.spread("num_tokens")
    spread_of_parts = {part: tally.spread(reward_column(part)) for part in parts}
    return Stats(
        path=str(path),
        run_id=tally.run_id,
        where=where,
        groups_stored=stored,
        teachers=counts.get("teacher", {}),
        models=counts.get("models", {}),
        groups=tally.groups,
        completions=tally.completions,
        kept=reasons.pop("", 0),
        dropped=reasons,
        teaching=tally.teaching,
        flat_groups=tally.flat_groups,
        mixed_groups=tally.mixed_groups,
        inverted_groups=tally.inverted_groups,
        outcomes={outcome.value: counts.get("outcomes", {}).get(outcome.value, 0) for outcome in Outcome},
        verdict_reasons=counts.get("verdict_reasons", {}),
        finish_reasons=counts.get("finish_reasons", {}),
        group_size=tally.group_size,
        pass_rates=_pass_rates(tally.solved, tally.group_size),
        pass_rates_kept=_pass_rates({key: n for key, n in tally.solved.items() if key[1]}, tally.group_size),
        rewards=rewards,
        reward_parts=spread_of_parts,
        rewards_by_outcome={
            "reward": tally.by_outcome("rewards", rewards),
            **{part: tally.by_outcome(reward_column(part), spread_of_parts[part]) for part in parts},
        },
        advantages=tally.spread("advantages"),
        tokens={"all": tokens, **tally.by_outcome("num_tokens", tokens)},
        length_effect=_length_effect(Path(path), where, tally, tokens, rewards),
        entropies=float16_distribution(tally.entropy_codes.get("token_entropies"), tally.edges("token_entropies")),
        entropy_bounds={
            side: float16_distribution(tally.entropy_codes.get(f"entropy_{side}")) for side in ("lower", "upper")
        },
        entropy_kinds=counts.get("entropy_kind", {}),
        best=tuple(tally.best),
        worst=tuple(tally.worst),
    )


def _columns(names: Sequence[str]) -> list[str]:
    """What is read of a dataset with these columns."""
    return [*SCALARS, *LISTS, *ENTROPIES, *map(reward_column, reward_parts(names))]


def _tally_batch(tally: _Tally, batch: pa.RecordBatch, parts: Sequence[str]) -> None:
    import pyarrow.compute as pc

    for name in ("teacher", "entropy_kind", "drop_reason"):
        tally.count(name, batch[name])
    flat = {name: batch[name].flatten() for name in LISTS}
    for name in ("outcomes", "models", "finish_reasons"):
        tally.count(name, flat[name])
    tally.count("verdict_reasons", pc.binary_join_element_wise(flat["outcomes"], flat["verdict_reasons"], ": "))
    _tally_numbers(tally, batch, parts)
    for name in ENTROPIES:
        _tally_entropies(tally, name, batch[name])
    summaries = list(_summaries(batch))
    for summary in summaries:
        tally.summarise(summary)
    tally.rank(summaries)
    for rate, kept in zip(batch["pass_rate"].to_pylist(), batch["kept"].to_pylist(), strict=True):
        if rate is not None:
            tally.solved[rate, kept] += 1
    inverted = is_inverted(batch)
    tally.mixed_groups += len(inverted) - inverted.null_count
    tally.inverted_groups += inverted.true_count
    tally.run_id = batch["run_id"][0].as_py()


def _tally_numbers(tally: _Tally, batch: pa.RecordBatch, parts: Sequence[str]) -> None:
    """Rewards, their parts, advantages and lengths, each by kind of outcome."""
    import numpy as np

    right, wrong = outcome_masks(batch["outcomes"].flatten())
    masks = {"correct": right, "incorrect": wrong, "other": ~(right | wrong)}
    numbers = {
        name: batch[name].flatten().to_numpy(zero_copy_only=False)
        for name in ("rewards", "advantages", "num_tokens", *map(reward_column, parts))
    }
    for name, values in numbers.items():
        known = values >= 0 if name == "num_tokens" else np.isfinite(values)
        for kind, mask in masks.items():
            tally.numbers[name, kind].add(values[known & mask])
    kinds = {"all": np.ones(len(right), np.bool_), "correct": right, "incorrect": wrong}
    tally.within.add(parent_groups(batch["num_tokens"]), numbers["num_tokens"], numbers["rewards"], kinds)


def outcome_masks(outcomes: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """True on the correct completions, and on those that are wrong or without an answer."""
    import pyarrow as pa
    import pyarrow.compute as pc

    right = pc.equal(outcomes, Outcome.CORRECT.value)
    wrong = pc.is_in(outcomes, value_set=pa.array(WRONG))
    return right.to_numpy(zero_copy_only=False), wrong.to_numpy(zero_copy_only=False)


def _tally_entropies(tally: _Tally, name: str, values_of_tokens: pa.ListArray) -> None:
    """Count the float16 values of a column by their bit patterns: exact, and as fast as the disk."""
    import numpy as np

    values = values_of_tokens.flatten().flatten().to_numpy(zero_copy_only=False)
    if len(values):
        counts = np.bincount(values.view(np.uint16), minlength=2**16)
        tally.entropy_codes[name] = tally.entropy_codes.get(name, 0) + counts


def _summaries(batch: pa.RecordBatch) -> Iterator[GroupSummary]:
    columns = ("id", "num_correct", "reward_mean", "reward_std", "drop_reason")
    sizes = batch["outcomes"].value_lengths().to_pylist()
    for size, *values in zip(sizes, *(batch[name].to_pylist() for name in columns), strict=True):
        problem_id, num_correct, mean, std, drop_reason = values
        yield GroupSummary(problem_id, num_correct, size, mean, std, drop_reason)


def _pass_rates(solved: Mapping[tuple[float, bool], int], group_size: int) -> tuple[int, ...]:
    counts = Counter[int]()
    for (rate, _), groups in solved.items():
        counts[round(rate * group_size)] += groups
    return tuple(counts[number] for number in range(group_size + 1))


def _length_effect(
    path: Path, where: str, tally: _Tally, tokens: Distribution | None, rewards: Distribution | None
) -> LengthEffect | None:
    """Read again for it: where the bins of lengths and rewards end is known only now."""
    if tokens is None or rewards is None:
        return None
    lengths = tally.limits.get("lengths", shown_lengths(tokens))
    grid = Grid.between(lengths, tally.limits.get("rewards", (rewards.quantiles[0], rewards.quantiles[100])))
    for _, _, batch in chosen_batches(path, lambda _: ["num_tokens", "rewards", "outcomes"], where):
        tokens_of, earned = (batch[name].flatten().to_numpy(zero_copy_only=False) for name in ("num_tokens", "rewards"))
        grid.add(tokens_of, earned, outcome_masks(batch["outcomes"].flatten())[0])
    return grid.effect(tally.within.correlations())


def joint_limits(several: Sequence[Stats]) -> Limits:
    """Ends of histograms between which the numbers of all these datasets lie."""
    found: dict[str, list[float]] = {}
    for stats in several:
        named = {"rewards": stats.rewards, "advantages": stats.advantages, "num_tokens": stats.tokens["all"]}
        named |= {reward_column(part): spread for part, spread in stats.reward_parts.items()}
        named["token_entropies"] = stats.entropies
        for name, spread in named.items():
            if spread is not None:
                found.setdefault(name, []).extend((spread.quantiles[0], spread.quantiles[100]))
        if stats.tokens["all"] is not None:
            found.setdefault("lengths", []).extend(shown_lengths(stats.tokens["all"]))
    return {name: (min(ends), max(ends)) for name, ends in found.items()}


def stats_json(stats: Stats) -> dict[str, Any]:
    """The numbers as JSON has them: keys are texts."""
    import json
    from dataclasses import asdict

    plain: dict[str, Any] = json.loads(json.dumps(asdict(stats)))
    return plain
