"""Rows of a file as they come: out of JSON Lines, a JSON array, a table or Parquet, one at a time.

What is wrong with a whole file is an error that names it and the line; whether a single row is a problem
is for ``mapping`` to say.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from distill.cards import DATA_SUFFIXES
from distill.errors import DistillError
from distill.problems.tables import TABLE_SUFFIXES, table_rows
from distill.registry import did_you_mean

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

Row = tuple[int, Any]
"""The row's number, counted from 1 (in JSON Lines and tables the line that it begins on), and what stands there."""

PARQUET_BATCH_ROWS = 256
MAX_NEIGHBOURS = 20
"""A folder with more files is not listed in an error."""


def no_file(path: Path) -> DistillError:
    """That there is no such file, and which one beside it may be meant."""
    neighbours = [file.name for file in path.parent.glob("*") if file.name.endswith(DATA_SUFFIXES)]
    few = 0 < len(neighbours) <= MAX_NEIGHBOURS
    hint = did_you_mean(path.name, sorted(neighbours)) if few else f"looked for in '{path.parent.resolve()}'"
    return DistillError(f"no file '{path}'", hint=hint)


def check_file(path: Path) -> None:
    """Raise a DistillError unless ``path`` is a file of a kind that can be read."""
    if path.is_dir():
        raise DistillError(f"'{path}' is a folder", hint=f"expected a file: {', '.join(DATA_SUFFIXES)}")
    if not path.exists():
        raise no_file(path)
    if not path.name.endswith(DATA_SUFFIXES):
        raise DistillError(f"'{path}' is of no kind that can be read", hint=f"expected {', '.join(DATA_SUFFIXES)}")


def part_rows(folder: Path, parts: Sequence[str], column: str) -> Iterator[Row]:
    """The rows of a folder with a file for each part of a data set, each row with its part's name in a column.

    Raises:
        DistillError: no file is called like a part, or one cannot be read.
    """
    found = [(part, folder / f"{part}{suffix}") for part in parts for suffix in DATA_SUFFIXES]
    files = [(part, path) for part, path in found if path.is_file()]
    if not files:
        raise DistillError(
            f"'{folder}' holds none of the parts of this data set", hint=f"expected files such as '{parts[0]}.jsonl'"
        )
    for part, path in files:
        for number, row in file_rows(path):
            yield number, {column: part, **row} if isinstance(row, dict) else row


def file_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, streamed; only a JSON array is read whole.

    Raises:
        DistillError: the file is missing, damaged, empty, wrongly encoded or has a line that is no JSON.
    """
    check_file(path)
    empty = True
    try:
        for row in _rows_by_suffix(path):
            empty = False
            yield row
    except (OSError, EOFError, zlib.error) as error:  # gzip raises all three on a damaged file
        reason = getattr(error, "strerror", None) or str(error)
        raise DistillError(f"'{path}' cannot be read: {reason}", hint="is the file complete?") from None
    if empty:
        raise DistillError(f"'{path}' has no rows", hint="is it the right file, and was it written to its end?")


def _rows_by_suffix(path: Path) -> Iterator[Row]:
    if path.name.endswith(".parquet"):
        yield from _parquet_rows(path)
        return
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        if path.name.endswith(TABLE_SUFFIXES):
            yield from table_rows(file, path)
        elif path.name.endswith((".json", ".json.gz")) and _starts_with_bracket(file):
            yield from _array_rows(file.read(), path)
        else:
            yield from _line_rows(file, path)


def _starts_with_bracket(file: IO[bytes]) -> bool:
    start = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    file.seek(0)
    return start == b"["


def _line_rows(file: IO[bytes], path: Path) -> Iterator[Row]:
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise DistillError(f"{path}:{number}: not UTF-8 text", hint="convert the file, or read Parquet") from None
        if not text.isspace():
            yield number, _parse(text, path, number)


def _array_rows(content: bytes, path: Path) -> Iterator[Row]:
    try:
        rows = _parse(content.decode("utf-8-sig"), path)
    except UnicodeDecodeError:
        raise DistillError(f"{path}: not UTF-8 text", hint="convert the file, or read Parquet") from None
    yield from enumerate(rows, start=1)


def _parse(text: str, path: Path, number: int | None = None) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        place = path if number is None else f"{path}:{number}"
        raise DistillError(
            f"{place}: not valid JSON: {json_fault(error)}",
            hint='expected one JSON object per line, such as {"question": ...}',
        ) from None


def json_fault(error: ValueError | RecursionError) -> str:
    """What is wrong with a JSON text, in a few words; ``error`` is what ``json.loads`` raised."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos + 1}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


def parquet_batches(file: ParquetFile, rows: int, columns: Sequence[str] | None = None) -> Iterator[RecordBatch]:
    """A Parquet file in batches of at most so many rows, with one row group in memory.

    Read in one go, a file keeps the bytes of all the row groups that it has passed.
    """
    for number in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=rows, row_groups=[number], columns=columns)


def _parquet_rows(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in parquet_batches(file, PARQUET_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise DistillError(
            f"'{path}' is no readable Parquet file: {reason}", hint="was it written to its end?"
        ) from None
