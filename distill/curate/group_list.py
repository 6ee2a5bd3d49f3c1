"""The first groups of a dataset by a column, in memory that does not grow with the dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.curate.chosen import chosen_batches
from distill.curate.group_columns import Column, find_column
from distill.errors import DistillError

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = (
    "id",
    "num_correct",
    "num_completions",
    "reward_mean",
    "reward_std",
    "tokens_mean",
    "entropy_mean",
    "drop_reason",
)
QUESTION_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class GroupList:
    """Groups in an order."""

    path: str
    where: str
    sort: str
    """A column, with '-' before it the largest first; empty for the order of the source."""
    total: int
    """Groups that fulfil the condition, of which these are the first."""
    groups: tuple[dict[str, Any], ...]
    """Column -> value: those that a list shows, the beginning of the question, and the column it is sorted by."""


def list_groups(path: Path | str, *, where: str = "", sort: str = "", limit: int = 20) -> GroupList:
    """The first groups that fulfil a condition, by a column; those that lack its value come last.

    Raises:
        DistillError: the path holds no curated dataset, the condition is none, or the column does not exist.
    """
    import pyarrow as pa

    shown: list[Column] = []
    best: pa.Table | None = None
    total = 0
    by, descending = sort.removeprefix("-"), sort.startswith("-")

    def columns(names: Sequence[str]) -> list[str]:
        nonlocal shown
        shown = [find_column(name, names) for name in dict.fromkeys([*SHOWN, *([by] if by else [])])]
        if any(column.name == by and column.kind in ("numbers", "texts", "passages") for column in shown):
            hint = "sort by a value of the group, such as tokens_mean, reward_mean or pass_rate"
            raise DistillError(f"'{by}' has a value for every completion, so no order of groups", hint=hint)
        return list(dict.fromkeys([*(source for column in shown for source in column.sources), "question"]))

    for _, _, batch in chosen_batches(Path(path), columns, where):
        total += batch.num_rows
        if not batch.num_rows or (not by and best is not None and best.num_rows >= limit):
            continue
        rows = _rows(batch, shown)
        best = rows if best is None else pa.concat_tables([best, rows])
        best = _first(best, by, limit, descending=descending)
    found = best.to_pylist() if best is not None else []
    return GroupList(str(path), where, sort, total, tuple(found))


def _rows(batch: pa.RecordBatch, shown: list[Column]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {column.name: column.values(batch) for column in shown}
    columns["question"] = pc.utf8_slice_codeunits(batch["question"], 0, QUESTION_CHARACTERS)
    return pa.table(columns)


def _first(rows: pa.Table, by: str, limit: int, *, descending: bool) -> pa.Table:
    """The first rows, equal ones in the order in which they came."""
    import pyarrow.compute as pc

    if not by or rows.num_rows <= 1:
        return rows.slice(0, limit)
    place = pc.sort_indices(
        rows.select([by]).append_column("place", [list(range(rows.num_rows))]),
        sort_keys=[(by, "descending" if descending else "ascending"), ("place", "ascending")],
    )
    return rows.take(place.slice(0, limit))
