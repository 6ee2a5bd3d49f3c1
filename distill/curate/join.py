"""The join of a run's stages: one row per group, in source order, written once and whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill.curate import Progress
from distill.curate.dataset import MANIFEST
from distill.curate.entropy_summary import EntropyTally
from distill.curate.index_set import IndexSet
from distill.curate.run_dir import write_json
from distill.curate.stage import Stage, index_range, read_part
from distill.files import replace_folder, unfinished
from distill.schema import SCHEMA_VERSION, arrow_schema, dataset_columns

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS_PER_BATCH = 64
PARTS_IN_MEMORY = 3
"""Of each stage; a part holds 64 MiB of JSON at most."""
BYTES_PER_FILE = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Join:
    """What goes into a dataset: the stages of a run, and what only the whole run knows."""

    completions: Sequence[Stage]
    """Those of all shards, as the others."""
    scores: Sequence[Stage]
    entropies: Sequence[Stage]
    """The pass with local weights; its rows replace what sampling left of log-probabilities and entropies."""
    parts: tuple[str, ...]
    """Names of the reward's parts."""
    run_id: str
    verifier: str | None
    """Who judged instead of each problem's own verifier."""


def write_dataset(join: Join, indices: IndexSet, folder: Path, manifest: Mapping[str, Any], progress: Progress) -> None:
    """Write the groups of these problems, in source order, as a folder that ``datasets.load_from_disk`` reads.

    The manifest is written with what the rows' entropies turn out to be.
    What stood in the folder is replaced in one step. Memory stays flat: a few parts of each stage are read at a time.
    """
    building = unfinished(folder)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    tally = EntropyTally()
    batches = _counted(_joined_batches(join, indices), len(indices), progress, tally)
    files = _write_files(batches, arrow_schema(dataset_columns(join.parts)), building)
    _describe(building, files, join.run_id)
    write_json(building / MANIFEST, {**manifest, "entropies": tally.summary().to_json()})
    replace_folder(building, folder)


def _counted(
    batches: Iterable[pa.RecordBatch], total: int, progress: Progress, tally: EntropyTally
) -> Iterator[pa.RecordBatch]:
    progress("dataset", 0, total)
    for batch in batches:
        tally.add(batch)
        yield batch
        progress("dataset", batch.num_rows, total)


class _Rows:
    """The rows of a stage, of all its shards, by index, whatever the order in which they were finished.

    Parts are read as they are needed: they overlap little, because groups finish nearly in the order of the source.
    """

    def __init__(self, shards: Sequence[Stage]) -> None:
        self._pending = [stage.pending() for stage in shards]
        self._ranges = [(part, *index_range(part)) for stage in shards for part in stage.parts()]
        self._read = lru_cache(maxsize=PARTS_IN_MEMORY + len(shards))(read_part)

    def take(self, indices: pa.Array) -> pa.Table:
        """The rows of these ascending indices, in this order; what the stage lacks is left out."""
        import pyarrow as pa
        import pyarrow.compute as pc

        first, last = indices[0].as_py(), indices[-1].as_py()
        tables = [self._read(part) for part, low, high in self._ranges if low <= last and high >= first]
        tables += self._pending
        found = pa.concat_tables([table.filter(pc.is_in(table["index"], value_set=indices)) for table in tables])
        return found.take(pc.sort_indices(found["index"]))


def _joined_batches(join: Join, indices: IndexSet) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    stages = [_Rows(stages) for stages in (join.completions, join.scores)]
    entropies = _Rows(join.entropies) if join.entropies else None
    schema = arrow_schema(dataset_columns(join.parts))
    remaining = iter(indices)
    while chunk := list(islice(remaining, GROUPS_PER_BATCH)):
        wanted = pa.array(chunk, pa.int64())
        columns: dict[str, Any] = {}
        for stage in stages:
            table = stage.take(wanted)
            columns |= dict(zip(table.schema.names, table.columns, strict=True))
        for name in ("logprob_mismatch", "logprob_mismatch_max"):
            columns[name] = pa.chunked_array([pa.nulls(len(chunk), pa.float32())])
        if entropies is not None:
            columns |= _exact_columns(columns, entropies.take(wanted))
        columns = {name: values.combine_chunks() for name, values in columns.items()}
        if join.verifier is not None:
            columns["verifier"] = pa.array([join.verifier] * len(chunk))
        columns["entropy_mean"] = _entropy_means(columns["token_entropies"])
        columns["run_id"] = pa.array([join.run_id] * len(chunk))
        columns["schema_version"] = pa.array([SCHEMA_VERSION] * len(chunk), pa.int32())
        yield pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _exact_columns(columns: Mapping[str, pa.ChunkedArray], exact: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Log-probabilities and entropies from the pass with local weights where it has them, else as they were sampled."""
    import pyarrow as pa
    import pyarrow.compute as pc

    measured = pc.index_in(columns["index"], exact["index"].combine_chunks())
    merged = {}
    for name in ("token_logprobs", "token_entropies", "logprob_mismatch", "logprob_mismatch_max"):
        both = pa.chunked_array([*exact[name].chunks, *columns[name].chunks]).combine_chunks()
        sampled = pa.array(range(exact.num_rows, exact.num_rows + len(measured)), pa.int32())
        merged[name] = pa.chunked_array(
            [both.take(pc.coalesce(measured, pa.chunked_array([sampled])).combine_chunks())]
        )
    kinds = pc.if_else(pc.is_valid(measured), "exact", columns["entropy_kind"])
    return {**merged, "entropy_kind": kinds}


def _entropy_means(token_entropies: pa.ListArray) -> pa.Array:
    """The mean entropy over all tokens of each group, in nats; null where a group has none."""
    import pyarrow as pa

    means = []
    for group in token_entropies:
        values = group.values.flatten().to_numpy()
        means.append(float(values.astype("float64").mean()) if len(values) else None)
    return pa.array(means, pa.float32())


def _write_files(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path) -> list[Path]:
    """The batches in files of at most ``BYTES_PER_FILE``; whoever maps one into memory, maps no more than that."""
    import pyarrow as pa

    files: list[Path] = []
    writer, room = None, 0
    for batch in batches:
        if writer is None or batch.nbytes > room:
            if writer is not None:
                writer.close()
            files.append(folder / f"part-{len(files):05d}.arrow")
            writer, room = pa.ipc.new_stream(str(files[-1]), schema), BYTES_PER_FILE
        writer.write_batch(batch)
        room -= batch.nbytes
    if writer is not None:
        writer.close()
    return files


def _describe(folder: Path, files: Sequence[Path], run_id: str) -> None:
    """What ``load_from_disk`` wants to find beside the data; the columns' types it takes from the files themselves.

    Written by hand: loading the library for it would take longer than joining a thousand groups.
    """
    names = [f"data-{number:05d}-of-{len(files):05d}.arrow" for number in range(len(files))]
    for file, name in zip(files, names, strict=True):
        file.rename(folder / name)
    state: dict[str, Any] = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": run_id,
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    write_json(folder / "state.json", state)
    write_json(folder / "dataset_info.json", {"citation": "", "description": "", "homepage": "", "license": ""})


def write_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, folder: Path, run_id: str) -> None:
    """Write rows of any origin as ``write_dataset`` does, into a folder that exists; without a manifest."""
    _describe(folder, _write_files(batches, schema, folder), run_id)
