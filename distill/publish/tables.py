"""Rows on disk, in files of a size that the Hub likes; a file has its name only when all of them are written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Format = Literal["parquet", "jsonl"]
BYTES_PER_FILE = 450 * 10**6
"""The Hub's own files are of at most 500 MB."""
BYTES_PER_ROW_GROUP = 32 * 2**20
"""Of Arrow, before it is compressed: the Hub's viewer reads a row group whole."""


def write_table(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path, kind: Format) -> list[Path]:
    """Write batches to ``train-00000-of-0000N`` and so on; at least one file, so that the columns are known.

    Returns:
        The files, in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    writer = _Files(schema, folder, kind)
    try:
        for batch in batches:
            writer.add(batch)
        writer.flush()
    finally:
        writer.close()
    names = [f"train-{number:05d}-of-{len(writer.files):05d}.{kind}" for number in range(len(writer.files))]
    return [file.rename(folder / name) for file, name in zip(writer.files, names, strict=True)]


class _Files:
    """The files that are being written: batches wait until they fill a row group."""

    def __init__(self, schema: pa.Schema, folder: Path, kind: Format) -> None:
        self.files: list[Path] = []
        self._schema, self._folder, self._kind = schema, folder, kind
        self._writer: Any = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch; what it is a view of is held until it is written."""
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= BYTES_PER_ROW_GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what waits, to a new file where the last one is large enough."""
        import pyarrow as pa

        if not self._waiting and self.files:
            return
        if self._writer is not None and self.files[-1].stat().st_size >= BYTES_PER_FILE:
            self.close()
        if self._writer is None:
            self.files.append(self._folder / f"part-{len(self.files):05d}.{self._kind}")
            self._writer = self._open(self.files[-1])
        if self._waiting:
            self._writer.write(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """End the file that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, path: Path) -> Any:
        if self._kind == "jsonl":
            return _Lines(path)
        import pyarrow.parquet as pq

        return pq.ParquetWriter(
            path, self._schema, compression="zstd", write_page_index=True, use_content_defined_chunking=True
        )


class _Lines:
    """JSON Lines with the interface of a Parquet writer."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, table: pa.Table) -> None:
        """Append the rows of a table."""
        for batch in table.to_batches(max_chunksize=64):
            for row in batch.to_pylist():
                self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()
