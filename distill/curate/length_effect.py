"""Whether length buys reward: how the two go together inside groups, and where completions stand in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from distill.curate.distributions import Distribution

LENGTH_BINS, REWARD_BINS = 48, 12
TAIL = 2.0
"""Lengths beyond so many times the 95 % quantile share the last bin: one completion in a loop hides no other."""
KINDS = ("all", "correct", "incorrect")


@dataclass(frozen=True, slots=True)
class LengthEffect:
    """Length against reward."""

    within: Mapping[str, float | None]
    """Correlation of length and reward inside groups, over 'all', 'correct' and 'incorrect' completions; None where
    nothing varies. Harder problems are answered at greater length and solved less often; inside a group the problem
    is the same."""
    token_edges: tuple[float, ...]
    """Of ``LENGTH_BINS`` bins; longer completions count in the last one."""
    reward_edges: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]
    """``counts[r][t]`` completions have a reward in bin r and a length in bin t."""
    correct: tuple[tuple[int, ...], ...]
    """Of these, the correct ones."""


@dataclass
class WithinGroups:
    """Sums of squares and products of what is left of lengths and rewards without their groups' means."""

    sums: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, rows: np.ndarray, lengths: np.ndarray, rewards: np.ndarray, kinds: Mapping[str, np.ndarray]) -> None:
        """Take in completions; ``rows[i]`` is the group of completion i, ``kinds[k]`` is True on those of kind k."""
        import numpy as np

        known = (lengths >= 0) & np.isfinite(rewards)
        for kind in KINDS:
            chosen = known & kinds[kind]
            x, y = (_centred(rows[chosen], values[chosen].astype(np.float64)) for values in (lengths, rewards))
            self.sums[kind] = self.sums.get(kind, np.zeros(3)) + np.array([x @ x, y @ y, x @ y])

    def correlations(self) -> dict[str, float | None]:
        """Pearson's r of what was taken in."""
        return {kind: _correlation(*self.sums.get(kind, (0.0, 0.0, 0.0))) for kind in KINDS}


def _centred(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values without the mean of their row's."""
    import numpy as np

    if not len(rows):
        return values
    means = np.bincount(rows, weights=values) / np.maximum(np.bincount(rows), 1)
    centred: np.ndarray = values - means[rows]
    return centred


def _correlation(xx: float, yy: float, xy: float) -> float | None:
    # rewards are float32: of equal ones the sums of squares may leave a rest of this size
    return float(xy / (xx * yy) ** 0.5) if xx > 1e-9 and yy > 1e-9 else None


def shown_lengths(tokens: Distribution) -> tuple[float, float]:
    """The lengths that a grid has bins of their own for."""
    return tokens.quantiles[0], min(tokens.quantiles[100], TAIL * tokens.quantiles[95])


@dataclass
class Grid:
    """Counts completions by length and reward."""

    token_edges: np.ndarray
    reward_edges: np.ndarray
    counts: np.ndarray
    correct: np.ndarray

    @classmethod
    def between(cls, lengths: tuple[float, float], rewards: tuple[float, float]) -> Grid:
        """An empty grid for lengths and rewards from the smallest to the largest."""
        import numpy as np

        low, high = rewards
        margin = 0.5 if low == high else 0.0
        shortest, longest = lengths
        step = max(1, ceil((longest - shortest) / LENGTH_BINS))  # whole tokens: no bin is empty for being narrow
        empty = np.zeros((REWARD_BINS, LENGTH_BINS), np.int64)
        return cls(
            shortest + step * np.arange(LENGTH_BINS + 1.0),
            np.linspace(low - margin, high + margin, REWARD_BINS + 1),
            empty,
            empty.copy(),
        )

    def add(self, lengths: np.ndarray, rewards: np.ndarray, right: np.ndarray) -> None:
        """Take in completions."""
        import numpy as np

        known = (lengths >= 0) & np.isfinite(rewards)
        places = _bin(rewards[known], self.reward_edges) * LENGTH_BINS + _bin(lengths[known], self.token_edges)
        shape, size = self.counts.shape, self.counts.size
        self.counts += np.bincount(places, minlength=size).reshape(shape)
        self.correct += np.bincount(places[right[known]], minlength=size).reshape(shape)

    def effect(self, within: Mapping[str, float | None]) -> LengthEffect:
        """What was taken in, and how it goes together inside groups."""
        counts, correct = (tuple(map(tuple, values.tolist())) for values in (self.counts, self.correct))
        return LengthEffect(
            within, tuple(self.token_edges.tolist()), tuple(self.reward_edges.tolist()), counts, correct
        )


def _bin(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    import numpy as np

    scaled = (values - edges[0]) / (edges[-1] - edges[0]) * (len(edges) - 1)
    places: np.ndarray = np.clip(scaled, 0, len(edges) - 2).astype(np.int64)
    return places


def coarser(counts: Sequence[Sequence[int]], rows: int, columns: int) -> list[list[int]]:
    """A grid with neighbouring bins put together; its sizes are to be divisible.

    >>> coarser([[1, 2, 3, 4], [5, 6, 7, 8]], 1, 2)
    [[14, 22]]
    """
    high, wide = len(counts) // rows, len(counts[0]) // columns
    return [
        [
            sum(sum(line[column * wide : (column + 1) * wide]) for line in counts[row * high : (row + 1) * high])
            for column in range(columns)
        ]
        for row in range(rows)
    ]
