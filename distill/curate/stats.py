"""What a dataset looks like: counts, distributions, its best and worst groups. Reads Arrow columns, keeps no rows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.curate.dataset import dataset_batches
from distill.errors import DistillError
from distill.records import Group, GroupScores, Outcome
from distill.registry import did_you_mean
from distill.schema import reward_column, reward_parts, row_to_group, row_to_scores

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
BINS = 20
MAX_DISTINCT = 1 << 16
MAX_WAITING = 1 << 14
"""Numbers that are counted together; of every column as many are held."""
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
)
LISTS = ("outcomes", "verdict_reasons", "finish_reasons", "models", "num_tokens", "rewards", "advantages")


@dataclass(frozen=True, slots=True)
class Distribution:
    """How a number is spread; ``histogram[i]`` counts values from ``edges[i]`` up to ``edges[i + 1]``."""

    count: int
    mean: float
    std: float
    """Of the values themselves (divided by their number)."""
    quantiles: Mapping[int, float]
    """Percent -> value, by linear interpolation: 0 is the smallest value, 100 the largest."""
    edges: tuple[float, ...]
    histogram: tuple[int, ...]


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
    teachers: Mapping[str, int]
    """Teacher -> groups."""
    models: Mapping[str, int]
    """Model -> completions; a recorded group may have several."""
    groups: int
    completions: int
    kept: int
    dropped: Mapping[str, int]
    """Reason -> groups."""
    flat_groups: int
    """Kept groups whose rewards are all equal: every advantage is 0, so comparing teaches nothing."""
    outcomes: Mapping[str, int]
    verdict_reasons: Mapping[str, int]
    """'outcome: reason' -> completions."""
    finish_reasons: Mapping[str, int]
    group_size: int
    """Completions of the largest group."""
    pass_rates: tuple[int, ...]
    """``pass_rates[k]`` groups solved k of ``group_size``; smaller groups count at the nearest rate."""
    rewards: Distribution | None
    reward_parts: Mapping[str, Distribution | None]
    advantages: Distribution | None
    tokens: Mapping[str, Distribution | None]
    """Completion lengths: 'all', 'correct' and 'incorrect' (which has those without an answer too)."""
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
class _Values:
    """Numbers as distinct values and how often each stands: exact up to ``MAX_DISTINCT``, to 3 digits beyond."""

    values: list[np.ndarray] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    waiting: int = 0

    def add(self, values: np.ndarray) -> None:
        """Take more numbers in."""
        import numpy as np

        self.values.append(values.astype(np.float64))
        self.counts.append(np.ones(len(values), np.int64))
        self.waiting += len(values)
        if self.waiting > MAX_WAITING:
            self._merge()

    def distribution(self) -> Distribution | None:
        """How the numbers are spread; None when there are none."""
        self._merge()
        return _weighted_distribution(self.values[0], self.counts[0]) if len(self.values[0]) else None

    def _merge(self) -> None:
        import numpy as np

        values, counts = np.concatenate([np.empty(0), *self.values]), np.concatenate([np.empty(0, int), *self.counts])
        merged, totals = _summed(values, counts)
        if len(merged) > MAX_DISTINCT:
            fractions, exponents = np.frexp(merged)
            merged, totals = _summed(np.ldexp(np.round(fractions * 2**11) / 2**11, exponents), totals)
        self.values, self.counts, self.waiting = [merged], [totals], 0


def _summed(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct values, ascending, and the sum of the counts of each."""
    import numpy as np

    distinct, places = np.unique(values, return_inverse=True)
    return distinct, np.bincount(places, weights=counts, minlength=len(distinct)).astype(np.int64)


@dataclass
class _Tally:
    """What is gathered while the batches pass; its size does not grow with their number."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: defaultdict[str, _Values] = field(default_factory=lambda: defaultdict(_Values))
    entropy_codes: dict[str, np.ndarray] = field(default_factory=dict)
    """Column -> how often each of the 65,536 patterns of a float16 stands in it."""
    groups: int = 0
    completions: int = 0
    flat_groups: int = 0
    group_size: int = 0
    solved: Counter[float] = field(default_factory=Counter)
    """Share of correct completions -> judged groups."""
    best: list[GroupSummary] = field(default_factory=list)
    worst: list[GroupSummary] = field(default_factory=list)
    run_id: str = ""

    def count(self, name: str, values: pa.Array) -> None:
        """Add the values of a column of words to a counter."""
        counter = self.counts.setdefault(name, Counter())
        for entry in values.value_counts():
            counter[entry["values"].as_py()] += entry["counts"].as_py()

    def summarise(self, group: GroupSummary) -> None:
        """Add a group to the sums."""
        self.groups += 1
        self.completions += group.num_completions
        self.flat_groups += not group.drop_reason and group.reward_std == 0
        self.group_size = max(self.group_size, group.num_completions)

    def rank(self, groups: Sequence[GroupSummary]) -> None:
        """Keep the best and the worst of the groups seen so far."""
        rewarded = [group for group in groups if group.reward_mean is not None]
        self.best = nlargest(LISTED_GROUPS, [*self.best, *rewarded], key=lambda group: group.reward_mean or 0.0)
        self.worst = nsmallest(LISTED_GROUPS, [*self.worst, *rewarded], key=lambda group: group.reward_mean or 0.0)

    def spread(self, name: str) -> Distribution | None:
        """The distribution of the numbers gathered under a name."""
        return self.numbers[name].distribution()

    def add(self, name: str, values: pa.Array) -> None:
        """Take in the values of a column of numbers, without nulls."""
        self.numbers[name].add(values.drop_null().to_numpy(zero_copy_only=False))


def dataset_stats(path: Path | str) -> Stats:
    """A curated dataset in numbers.

    Raises:
        DistillError: the path holds no curated dataset.
    """
    tally = _Tally()
    parts: tuple[str, ...] = ()
    for batch in dataset_batches(Path(path)):
        parts = reward_parts(batch.schema.names)
        _tally_batch(tally, batch, parts)
    counts = {name: dict(counter.most_common()) for name, counter in tally.counts.items()}
    reasons = counts.get("drop_reason", {})
    return Stats(
        path=str(path),
        run_id=tally.run_id,
        teachers=counts.get("teacher", {}),
        models=counts.get("models", {}),
        groups=tally.groups,
        completions=tally.completions,
        kept=reasons.pop("", 0),
        dropped=reasons,
        flat_groups=tally.flat_groups,
        outcomes={outcome.value: counts.get("outcomes", {}).get(outcome.value, 0) for outcome in Outcome},
        verdict_reasons=counts.get("verdict_reasons", {}),
        finish_reasons=counts.get("finish_reasons", {}),
        group_size=tally.group_size,
        pass_rates=_pass_rates(tally.solved, tally.group_size),
        rewards=tally.spread("rewards"),
        reward_parts={part: tally.spread(reward_column(part)) for part in parts},
        advantages=tally.spread("advantages"),
        tokens={kind: tally.spread(f"tokens {kind}") for kind in ("all", "correct", "incorrect")},
        entropies=_entropy_distribution(tally.entropy_codes.get("token_entropies")),
        entropy_bounds={
            side: _entropy_distribution(tally.entropy_codes.get(f"entropy_{side}")) for side in ("lower", "upper")
        },
        entropy_kinds=counts.get("entropy_kind", {}),
        best=tuple(tally.best),
        worst=tuple(tally.worst),
    )


def group_detail(path: Path | str, problem_id: str) -> tuple[Group, GroupScores]:
    """One group of a curated dataset with its scores.

    Raises:
        DistillError: the path holds no curated dataset, or no group has this id.
    """
    known: list[str] = []
    for batch in dataset_batches(Path(path)):
        ids = batch["id"].to_pylist()
        if problem_id in ids:
            row = batch.slice(ids.index(problem_id), 1).to_pylist()[0]
            return row_to_group(row), row_to_scores(row)
        known += ids
    hint = did_you_mean(problem_id, known) if len(known) <= 10_000 else f"for example '{known[0]}'"
    raise DistillError(
        f"'{path}' has no group '{problem_id}'", hint=hint if len(hint) < 200 else f"for example '{known[0]}'"
    )


def _tally_batch(tally: _Tally, batch: pa.RecordBatch, parts: Sequence[str]) -> None:
    import pyarrow.compute as pc

    for name in ("teacher", "entropy_kind", "drop_reason"):
        tally.count(name, batch[name])
    flat = {name: batch[name].flatten() for name in LISTS}
    for name in ("outcomes", "models", "finish_reasons"):
        tally.count(name, flat[name])
    tally.count("verdict_reasons", pc.binary_join_element_wise(flat["outcomes"], flat["verdict_reasons"], ": "))
    for name in ("rewards", "advantages"):
        tally.add(name, flat[name])
    for part in parts:
        tally.add(reward_column(part), batch[reward_column(part)].flatten())
    _tally_lengths(tally, flat["num_tokens"], flat["outcomes"])
    for name in ("token_entropies", "entropy_lower", "entropy_upper"):
        _tally_entropies(tally, name, batch[name])
    summaries = list(_summaries(batch))
    for summary in summaries:
        tally.summarise(summary)
    tally.rank(summaries)
    tally.solved.update(batch["pass_rate"].drop_null().to_pylist())
    tally.run_id = batch["run_id"][0].as_py() if batch.num_rows else tally.run_id


def _tally_lengths(tally: _Tally, num_tokens: pa.Array, outcomes: pa.Array) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.greater_equal(num_tokens, 0)
    is_correct = pc.equal(outcomes, Outcome.CORRECT.value)
    is_wrong = pc.is_in(outcomes, value_set=pa.array([Outcome.INCORRECT.value, Outcome.NO_ANSWER.value]))
    for kind, mask in (
        ("all", known),
        ("correct", pc.and_(known, is_correct)),
        ("incorrect", pc.and_(known, is_wrong)),
    ):
        tally.add(f"tokens {kind}", num_tokens.filter(mask))


def _tally_entropies(tally: _Tally, name: str, values_of_tokens: pa.ListArray) -> None:
    """Count the float16 values of a column by their bit patterns: exact, and as fast as the disk."""
    import numpy as np

    values = values_of_tokens.flatten().flatten().to_numpy(zero_copy_only=False)
    counts = np.bincount(values.view(np.uint16), minlength=2**16)
    tally.entropy_codes[name] = tally.entropy_codes.get(name, 0) + counts


def _summaries(batch: pa.RecordBatch) -> Iterator[GroupSummary]:
    columns = ("id", "num_correct", "reward_mean", "reward_std", "drop_reason")
    sizes = batch["outcomes"].value_lengths().to_pylist()
    for size, *values in zip(sizes, *(batch[name].to_pylist() for name in columns), strict=True):
        problem_id, num_correct, mean, std, drop_reason = values
        yield GroupSummary(problem_id, num_correct, size, mean, std, drop_reason)


def _pass_rates(solved: Mapping[float, int], group_size: int) -> tuple[int, ...]:
    counts = Counter[int]()
    for rate, groups in solved.items():
        counts[round(rate * group_size)] += groups
    return tuple(counts[number] for number in range(group_size + 1))


def distribution(values: Sequence[float] | np.ndarray) -> Distribution | None:
    """How values are spread; None when there are none."""
    import numpy as np

    gathered = _Values()
    gathered.add(np.asarray(values, dtype=np.float64))
    return gathered.distribution()


def _entropy_distribution(codes: np.ndarray | None) -> Distribution | None:
    import numpy as np

    if codes is None:
        return None
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    present = (codes > 0) & np.isfinite(values)
    if not present.any():
        return None
    order = np.argsort(values[present])
    return _weighted_distribution(values[present][order], codes[present][order])


def _weighted_distribution(values: np.ndarray, counts: np.ndarray) -> Distribution:
    """The distribution of ``values[i]`` standing ``counts[i]`` times; values (K,) ascending and distinct."""
    import numpy as np

    total = int(counts.sum())
    mean = float((values * counts).sum() / total)
    std = float(np.sqrt((counts * (values - mean) ** 2).sum() / total))
    ends = np.cumsum(counts)

    def at(rank: float) -> float:
        low, high = values[np.searchsorted(ends, [int(rank), int(np.ceil(rank))], side="right")]
        return float(low + (high - low) * (rank - int(rank)))

    histogram, edges = np.histogram(values, bins=BINS, weights=counts)
    return Distribution(
        count=total,
        mean=mean,
        std=std,
        quantiles={percent: at(percent / 100 * (total - 1)) for percent in QUANTILES},
        edges=tuple(edges.tolist()),
        histogram=tuple(histogram.astype(np.int64).tolist()),
    )


def stats_json(stats: Stats) -> dict[str, Any]:
    """The numbers as JSON has them: keys are texts."""
    import json
    from dataclasses import asdict

    plain: dict[str, Any] = json.loads(json.dumps(asdict(stats)))
    return plain
