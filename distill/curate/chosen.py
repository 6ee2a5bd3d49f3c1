"""The groups of a dataset that a person asks for: those that fulfil a condition, or one by its id."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from distill.curate.dataset import dataset_batches
from distill.curate.where import read_where
from distill.errors import DistillError
from distill.records import Group, GroupScores
from distill.registry import did_you_mean
from distill.schema import row_to_group, row_to_scores

if TYPE_CHECKING:
    import pyarrow as pa

MANY = 10_000
"""Ids among which a near one is looked for, when none is the one that was asked for."""


def chosen_batches(
    path: Path, columns: Callable[[Sequence[str]], Sequence[str]], where: str = ""
) -> Iterator[tuple[Sequence[str], int, pa.RecordBatch]]:
    """The rows that fulfil a condition, batch by batch: the dataset's columns, the rows looked at, those chosen.

    Args:
        columns: the ones to read, by all that the dataset has.
        where: empty for all rows.

    Raises:
        DistillError: the path holds no curated dataset, or the condition is none.
    """
    condition = None
    for batch in dataset_batches(path):
        names = batch.schema.names
        read = batch.select([name for name in columns(names) if name in names])
        if where:
            condition = condition or read_where(where, names)
            read = read.filter(condition.chosen(batch.select([*condition.sources])))
        yield names, batch.num_rows, read


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
        known += ids[: max(0, MANY - len(known))]
    example = f"for example '{known[0]}'" if known else "it has no groups"
    hint = did_you_mean(problem_id, known) if known and len(known) < MANY else example
    raise DistillError(f"'{path}' has no group '{problem_id}'", hint=hint if len(hint) < 200 else example)
