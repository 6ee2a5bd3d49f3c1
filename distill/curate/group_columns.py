"""The columns of a group that a filter may speak of and a list may be sorted by: of the dataset, and derived ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from distill.errors import DistillError
from distill.records import Outcome
from distill.registry import did_you_mean
from distill.schema import reward_column, reward_parts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Kind = Literal["number", "text", "bool", "numbers", "texts", "passages"]
"""One value of a group, or one of each completion; 'passages' are long texts, in which one looks for a part."""
WRONG = (Outcome.INCORRECT.value, Outcome.NO_ANSWER.value)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of groups."""

    name: str
    kind: Kind
    about: str
    needs: tuple[str, ...] = ()
    """The dataset's columns it is made of; its own name where it is one of these."""
    derive: Callable[[pa.RecordBatch], pa.Array] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """The dataset's columns to read for it."""
        return self.needs or (self.name,)

    def values(self, batch: pa.RecordBatch) -> pa.Array:
        """Its values for the rows of a batch that has ``sources``."""
        return batch[self.name] if self.derive is None else self.derive(batch)


def group_columns(parts: Sequence[str] = ()) -> dict[str, Column]:
    """All columns by name, for a dataset whose reward has these parts."""
    of_parts = [Column(reward_column(part), "numbers", f"reward part '{part}'") for part in parts]
    return {column.name: column for column in (*COLUMNS, *of_parts)}


def find_column(name: str, names: Sequence[str]) -> Column:
    """The column called ``name`` in a dataset with these columns.

    Raises:
        DistillError: there is none.
    """
    columns = group_columns(reward_parts(names))
    if name not in columns:
        raise DistillError(f"no column of groups is called '{name}'", hint=did_you_mean(name, list(columns)))
    return columns[name]


def parent_groups(lists: pa.ListArray) -> np.ndarray:
    """The row of each value in a column of lists."""
    import pyarrow.compute as pc

    rows: np.ndarray = pc.list_parent_indices(lists).to_numpy()
    return rows


def _num_completions(batch: pa.RecordBatch) -> pa.Array:
    return batch["num_tokens"].value_lengths()


def _teaches(batch: pa.RecordBatch) -> pa.Array:
    import pyarrow.compute as pc

    return pc.and_(batch["kept"], pc.fill_null(pc.greater(batch["reward_std"], 0), fill_value=False))


def _tokens_mean(batch: pa.RecordBatch) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    rows, lengths = _known_lengths(batch)
    counts = np.bincount(rows, minlength=batch.num_rows)
    sums = np.bincount(rows, weights=lengths, minlength=batch.num_rows)
    return pa.array(sums / np.maximum(counts, 1), mask=counts == 0)


def _tokens_max(batch: pa.RecordBatch) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    rows, lengths = _known_lengths(batch)
    longest = np.full(batch.num_rows, -1)
    np.maximum.at(longest, rows, lengths)
    return pa.array(longest, mask=longest < 0)


def _known_lengths(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    lengths = batch["num_tokens"].flatten().to_numpy(zero_copy_only=False)
    known = lengths >= 0
    return parent_groups(batch["num_tokens"])[known], lengths[known]


def is_inverted(batch: pa.RecordBatch) -> pa.Array:
    """Whether a wrong completion of the group earns as much as a right one; null where it has not both."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = parent_groups(batch["rewards"])
    rewards = batch["rewards"].flatten().to_numpy(zero_copy_only=False)
    outcomes = batch["outcomes"].flatten()
    right = pc.equal(outcomes, Outcome.CORRECT.value).to_numpy(zero_copy_only=False)
    wrong = pc.is_in(outcomes, value_set=pa.array(WRONG)).to_numpy(zero_copy_only=False)
    rewarded = np.isfinite(rewards)
    least_right, most_wrong = np.full(batch.num_rows, np.inf), np.full(batch.num_rows, -np.inf)
    np.minimum.at(least_right, rows[right & rewarded], rewards[right & rewarded])
    np.maximum.at(most_wrong, rows[wrong & rewarded], rewards[wrong & rewarded])
    return pa.array(most_wrong >= least_right, mask=np.isinf(least_right) | np.isinf(most_wrong))


COLUMNS = (
    Column("id", "text", "the problem's id"),
    Column("index", "number", "its place in the source"),
    Column("source", "text", "where it comes from"),
    Column("verifier", "text", "who judged"),
    Column("question", "text", "what was asked"),
    Column("answer", "text", "the gold answer"),
    Column("metadata", "text", "the problem's own, as JSON text"),
    Column("teacher", "text", "who was asked"),
    Column("kept", "bool", "it is trained on"),
    Column("drop_reason", "text", "why it is not; empty where it is"),
    Column("teaches", "bool", "it is kept, and its rewards differ", ("kept", "reward_std"), _teaches),
    Column("inverted", "bool", "a wrong completion earns as much as a right one", ("outcomes", "rewards"), is_inverted),
    Column("num_completions", "number", "completions", ("num_tokens",), _num_completions),
    Column("num_correct", "number", "correct ones"),
    Column("pass_rate", "number", "share of correct ones among the judged"),
    Column("reward_mean", "number", "mean reward"),
    Column("reward_std", "number", "spread of the rewards"),
    Column("tokens_mean", "number", "mean length of a completion in tokens", ("num_tokens",), _tokens_mean),
    Column("tokens_max", "number", "length of the longest", ("num_tokens",), _tokens_max),
    Column("entropy_mean", "number", "mean entropy of its tokens in nats"),
    Column("entropy_kind", "text", "exact, topk_bounds or none"),
    Column("logprob_mismatch", "number", "how far the weights that measured entropies are from the engine's, in nats"),
    Column("completions", "passages", "the completions' texts"),
    Column("outcomes", "texts", "correct, incorrect, no_answer, unverified"),
    Column("verdict_reasons", "texts", "the verdicts' reasons"),
    Column("extracted_answers", "texts", "the answers as they were read"),
    Column("finish_reasons", "texts", "stop, length, unknown"),
    Column("models", "texts", "the model that wrote it"),
    Column("num_tokens", "numbers", "lengths in tokens"),
    Column("rewards", "numbers", "rewards"),
    Column("advantages", "numbers", "advantages"),
)
