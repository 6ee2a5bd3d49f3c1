"""How numbers are spread: distributions gathered while they pass, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
BINS = 20
MAX_DISTINCT = 1 << 16
MAX_WAITING = 1 << 14
"""Numbers that are counted together; of every column as many are held."""


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


@dataclass
class Values:
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

    def distribution(self, edges: Sequence[float] | None = None) -> Distribution | None:
        """How the numbers are spread; None when there are none.

        Args:
            edges: to count between, where several histograms are to be drawn upon each other.
        """
        self._merge()
        return _weighted_distribution(self.values[0], self.counts[0], edges) if len(self.values[0]) else None

    @staticmethod
    def joined(several: Iterable[Values]) -> Values:
        """The numbers of several as those of one."""
        joined = Values()
        for each in several:
            joined.values += each.values
            joined.counts += each.counts
        return joined

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


def distribution(values: Sequence[float] | np.ndarray) -> Distribution | None:
    """How values are spread; None when there are none."""
    import numpy as np

    gathered = Values()
    gathered.add(np.asarray(values, dtype=np.float64))
    return gathered.distribution()


def float16_distribution(codes: np.ndarray | None, edges: Sequence[float] | None = None) -> Distribution | None:
    """The distribution of float16 values, of which ``codes[b]`` have the bits ``b``; None when there are none."""
    import numpy as np

    if codes is None:
        return None
    values = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
    present = (codes > 0) & np.isfinite(values)
    if not present.any():
        return None
    order = np.argsort(values[present])
    return _weighted_distribution(values[present][order], codes[present][order], edges)


def edges_between(limits: tuple[float, float]) -> tuple[float, ...]:
    """The edges of equally wide bins."""
    import numpy as np

    low, high = limits
    margin = 0.5 if low == high else 0.0
    return tuple(np.linspace(low - margin, high + margin, BINS + 1).tolist())


def _weighted_distribution(
    values: np.ndarray, counts: np.ndarray, edges: Sequence[float] | None = None
) -> Distribution:
    """The distribution of ``values[i]`` standing ``counts[i]`` times; values (K,) ascending and distinct."""
    import numpy as np

    total = int(counts.sum())
    mean = float((values * counts).sum() / total)
    std = float(np.sqrt((counts * (values - mean) ** 2).sum() / total))
    ends = np.cumsum(counts)

    def at(rank: float) -> float:
        low, high = values[np.searchsorted(ends, [int(rank), int(np.ceil(rank))], side="right")]
        return float(low + (high - low) * (rank - int(rank)))

    histogram, ends_of_bins = np.histogram(values, bins=BINS if edges is None else edges, weights=counts)
    return Distribution(
        count=total,
        mean=mean,
        std=std,
        quantiles={percent: at(percent / 100 * (total - 1)) for percent in QUANTILES},
        edges=tuple(ends_of_bins.tolist()),
        histogram=tuple(histogram.astype(np.int64).tolist()),
    )
