"""What a dataset's entropies are, group by group: exact, bounds or none, and whether the weights were the teacher's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from distill.generate.mismatch import LogprobMismatch

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class EntropySummary:
    """The entropies of a dataset in a few numbers."""

    kinds: Mapping[str, int]
    """'exact', 'topk_bounds' or 'none' -> kept groups; a pass with local weights leaves dropped ones out."""
    compared: int = 0
    """Groups whose tokens have a log-probability of the engine and one of the weights that measured entropies."""
    mismatched: int = 0
    """Those in which the two are far apart: other weights, another prompt or changed log-probabilities."""
    mismatch_mean: float | None = None
    """Mean over the compared groups of the mean absolute difference over a group's tokens, in nats."""
    mismatch_max: float | None = None
    """The largest difference of a single token."""

    @property
    def is_mixed(self) -> bool:
        """True where kept groups differ in what is known of their entropies."""
        return len(self.kinds) > 1

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``summary_from_json`` takes them."""
        return asdict(self)


def summary_from_json(values: Mapping[str, Any]) -> EntropySummary:
    """The summary that ``to_json`` gave; of a dataset without one nothing is known."""
    known = {field.name: values[field.name] for field in fields(EntropySummary) if field.name in values}
    return EntropySummary(**{"kinds": {}, **known})


class EntropyTally:
    """Gathers a summary while the rows of a dataset pass."""

    def __init__(self) -> None:
        self._kinds = Counter[str]()
        self._compared = self._mismatched = 0
        self._sum, self._largest = 0.0, 0.0

    def add(self, rows: pa.RecordBatch) -> None:
        """Take in some rows of a dataset."""
        self._kinds.update(rows["entropy_kind"].filter(rows["kept"]).to_pylist())
        pairs = zip(rows["logprob_mismatch"].to_pylist(), rows["logprob_mismatch_max"].to_pylist(), strict=True)
        for mean, largest in pairs:
            if mean is not None:
                self._compared += 1
                self._mismatched += LogprobMismatch(mean, largest).is_large
                self._sum += mean
                self._largest = max(self._largest, largest)

    def summary(self) -> EntropySummary:
        """What has passed so far."""
        kinds = dict(self._kinds.most_common())
        if not self._compared:
            return EntropySummary(kinds)
        return EntropySummary(kinds, self._compared, self._mismatched, self._sum / self._compared, self._largest)
