"""A file of recorded completions whose rows can be read one at a time: JSON Lines, plain or gzipped, or Parquet."""

from __future__ import annotations

import bisect
import gzip
import itertools
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

from distill.errors import DistillError
from distill.problems.rows import PARQUET_BATCH_ROWS, json_fault, no_file, parquet_batches

Row: TypeAlias = dict[str, Any]


class RowFile(Protocol):
    """Rows by position: an offset in bytes or a row number, whichever finds a row at once."""

    columns: tuple[str, ...]
    """Names of the columns, by the first row."""

    def rows(self) -> Iterator[tuple[int, str, Row]]:
        """Yield (position, where it stands for people, row) of every row."""
        ...

    def read(self, position: int, skipped: int = 0) -> Row:
        """The row at a position that ``rows`` gave, or so many rows after it."""
        ...

    def keep_columns(self, names: Sequence[str]) -> None:
        """Read only these columns from now on, if that saves anything."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_rows(path: Path) -> RowFile:
    """The rows of a file, its format told by its first bytes.

    Raises:
        DistillError: there is no such file, it is empty, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except FileNotFoundError:
        raise no_file(path) from None
    except IsADirectoryError:
        raise DistillError(f"'{path}' is a folder", hint="name a JSON Lines or Parquet file in it") from None
    except OSError as error:
        raise DistillError(f"'{path}' cannot be read: {error.strerror}", hint="see recorded.path") from None
    return ParquetRows(path) if start == b"PAR1" else JsonRows(path, gzipped=start[:2] == b"\x1f\x8b")


class JsonRows:
    """Objects, one per line; a position is the offset of the line's first byte.

    A gzipped file is unpacked into a temporary file, because only that can be read at any offset.
    """

    def __init__(self, path: Path, *, gzipped: bool) -> None:
        self._path = path
        self._file: BinaryIO = _unpacked(path) if gzipped else path.open("rb")
        with ExitStack() as on_error:
            on_error.callback(self.close)
            first = next(self.rows(), None)
            if first is None:
                raise DistillError(f"'{path}' has no rows", hint="JSON Lines has one object per line")
            self.columns: tuple[str, ...] = tuple(first[2])
            on_error.pop_all()

    def rows(self) -> Iterator[tuple[int, str, Row]]:
        """Yield (offset, 'file, line n', row); blank lines are passed over."""
        offset = 0
        for number in itertools.count(1):
            self._file.seek(offset)
            line = self._file.readline()
            if not line:
                return
            if line.strip():
                where = f"'{self._path}', line {number}"
                yield offset, where, _parse(line, where)
            offset += len(line)

    def read(self, position: int, skipped: int = 0) -> Row:
        """The object on the line that begins at this offset, or on a later one; blank lines are no rows."""
        self._file.seek(position)
        lines = (line for line in iter(self._file.readline, b"") if line.strip())
        line = next(itertools.islice(lines, skipped, None), b"")
        return _parse(line, f"'{self._path}', row {skipped} from byte {position}")

    def keep_columns(self, names: Sequence[str]) -> None:
        """Nothing to save: a line is parsed whole."""

    def close(self) -> None:
        """Close the file; a temporary one is removed by that."""
        self._file.close()


class ParquetRows:
    """Rows of a Parquet file; a position is a row's number. One row group at a time is in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise DistillError(
                f"'{path}' cannot be read as Parquet: {reason}", hint="was it written to its end?"
            ) from None
        self._path = path
        self.columns = tuple(self._file.schema_arrow.names)
        self._kept: list[str] | None = None
        metadata = self._file.metadata
        if metadata.num_rows == 0:
            raise DistillError(f"'{path}' has no rows", hint="see recorded.path")
        sizes = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
        self._ends = list(itertools.accumulate(sizes))
        self._table: tuple[int, Any] | None = None

    def rows(self) -> Iterator[tuple[int, str, Row]]:
        """Yield (row number, 'file, row n', row), both counted from 0."""
        batches = parquet_batches(self._file, PARQUET_BATCH_ROWS, self._kept)
        for number, row in enumerate(row for batch in batches for row in batch.to_pylist()):
            yield number, f"'{self._path}', row {number}", row

    def read(self, position: int, skipped: int = 0) -> Row:
        """The row with this number, or so many rows after it."""
        position += skipped
        group = bisect.bisect_right(self._ends, position)
        if self._table is None or self._table[0] != group:
            self._table = group, self._file.read_row_group(group, columns=self._kept)
        first = self._ends[group - 1] if group else 0
        row: Row = self._table[1].slice(position - first, 1).to_pylist()[0]
        return row

    def keep_columns(self, names: Sequence[str]) -> None:
        """Leave other columns on disk."""
        self._kept = [name for name in self.columns if name in names]

    def close(self) -> None:
        """Close the file."""
        self._table = None
        self._file.close()


def _unpacked(path: Path) -> BinaryIO:
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115 (the reader closes it)
    try:
        with gzip.open(path) as packed:
            shutil.copyfileobj(packed, unpacked)
    except (OSError, EOFError, zlib.error) as error:
        unpacked.close()
        raise DistillError(f"'{path}' cannot be unpacked: {error}", hint="was it written to its end?") from None
    return unpacked


def _parse(line: bytes, where: str) -> Row:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DistillError(
            f"{where} is not UTF-8: byte {error.start + 1} is 0x{line[error.start]:02x}",
            hint="convert the file: iconv -f LATIN1 -t UTF-8",
        ) from None
    except (ValueError, RecursionError) as error:
        raise DistillError(
            f"{where} is not JSON: {json_fault(error)}", hint="JSON Lines has one object per line"
        ) from None
    if not isinstance(row, dict):
        raise DistillError(
            f"{where} holds a {type(row).__name__}, expected an object", hint="JSON Lines has one object per line"
        )
    return row
