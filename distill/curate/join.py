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
from distill.curate.run_dir import write_json
from distill.curate.stage import GROUPS_PER_BATCH, Stage
from distill.files import replace_folder, unfinished
from distill.schema import SCHEMA_VERSION, arrow_schema, dataset_columns

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Join:
    """What goes into a dataset: the stages of a run, and what only the whole run knows."""

    completions: Stage
    scores: Stage
    entropies: Stage | None
    """The pass with local weights; its rows replace what sampling left of log-probabilities and entropies."""
    parts: tuple[str, ...]
    """Names of the reward's parts."""
    run_id: str
    verifier: str | None
    """Who judged instead of each problem's own verifier."""


def write_dataset(
    join: Join, ids: Sequence[str], folder: Path, manifest: Mapping[str, Any], progress: Progress
) -> None:
    """Write the groups of these ids, in this order, as a folder that ``datasets.load_from_disk`` reads.

    What stood in the folder is replaced in one step. Memory stays flat: rows come by their place from
    memory-mapped files, a few groups at a time.
    """
    building = unfinished(folder)
    shutil.rmtree(building, ignore_errors=True)
    scratch = building / "scratch"
    scratch.mkdir(parents=True)
    batches = _counted(_joined_batches(join, ids, scratch), len(ids), progress)
    _write_stream(batches, join, scratch / "dataset.arrow")
    _save_to_disk(scratch / "dataset.arrow", building, join.run_id)
    shutil.rmtree(scratch)
    write_json(building / MANIFEST, manifest)
    replace_folder(building, folder)


def _counted(batches: Iterable[pa.RecordBatch], total: int, progress: Progress) -> Iterator[pa.RecordBatch]:
    progress("dataset", 0, total)
    for batch in batches:
        yield batch
        progress("dataset", batch.num_rows, total)


class _Spool:
    """The rows of a stage in a memory-mapped file, found by id whatever the order in which they were finished."""

    def __init__(self, stage: Stage, path: Path) -> None:
        import pyarrow as pa

        self._places: dict[str, tuple[int, int]] = {}
        writer = None
        for number, batch in enumerate(stage.batches()):
            writer = writer or pa.ipc.new_file(str(path), batch.schema)
            writer.write_batch(batch)
            self._places |= {problem_id: (number, row) for row, problem_id in enumerate(batch["id"].to_pylist())}
        if writer is not None:
            writer.close()
            self._reader = pa.ipc.open_file(pa.memory_map(str(path)))
            self._batch = lru_cache(maxsize=8)(self._reader.get_batch)

    def __contains__(self, problem_id: str) -> bool:
        return problem_id in self._places

    def row(self, problem_id: str) -> pa.RecordBatch:
        """One group's row, as a view into the file."""
        number, row = self._places[problem_id]
        return self._batch(number).slice(row, 1)


def _joined_batches(join: Join, ids: Iterable[str], scratch: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    completions = _Spool(join.completions, scratch / "completions.arrow")
    scores = _Spool(join.scores, scratch / "scores.arrow")
    entropies = _Spool(join.entropies, scratch / "entropies.arrow") if join.entropies is not None else None
    schema = arrow_schema(dataset_columns(join.parts))
    remaining = iter(ids)
    while chunk := list(islice(remaining, GROUPS_PER_BATCH)):
        table = _stack([completions.row(problem_id) for problem_id in chunk])
        columns = dict(zip(table.schema.names, table.columns, strict=True))
        scored = _stack([scores.row(problem_id) for problem_id in chunk])
        columns |= dict(zip(scored.schema.names, scored.columns, strict=True))
        if entropies is not None:
            columns |= _exact_columns(chunk, completions, entropies)
        if join.verifier is not None:
            columns["verifier"] = pa.array([join.verifier] * len(chunk))
        columns["entropy_mean"] = _entropy_means(columns["token_entropies"])
        columns["run_id"] = pa.array([join.run_id] * len(chunk))
        columns["schema_version"] = pa.array([SCHEMA_VERSION] * len(chunk), pa.int32())
        yield pa.record_batch([columns[name] for name in schema.names], schema=schema)


def _stack(rows: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.concat_batches(rows)


def _exact_columns(chunk: Sequence[str], completions: _Spool, entropies: _Spool) -> dict[str, pa.Array]:
    """Log-probabilities and entropies from the pass with local weights where it has them, else as they were sampled."""
    import pyarrow as pa

    exact = [problem_id in entropies for problem_id in chunk]
    rows = [
        (entropies if is_exact else completions).row(problem_id)
        for problem_id, is_exact in zip(chunk, exact, strict=True)
    ]
    sampled_kinds = [completions.row(problem_id)["entropy_kind"][0].as_py() for problem_id in chunk]
    columns = {name: pa.concat_arrays([row[name] for row in rows]) for name in ("token_logprobs", "token_entropies")}
    kinds = ["exact" if is_exact else kind for is_exact, kind in zip(exact, sampled_kinds, strict=True)]
    return {**columns, "entropy_kind": pa.array(kinds)}


def _entropy_means(token_entropies: pa.ListArray) -> pa.Array:
    """The mean entropy over all tokens of each group, in nats; null where a group has none."""
    import pyarrow as pa

    means = []
    for group in token_entropies:
        values = group.values.flatten().to_numpy()
        means.append(float(values.astype("float64").mean()) if len(values) else None)
    return pa.array(means, pa.float32())


def _write_stream(batches: Iterable[pa.RecordBatch], join: Join, path: Path) -> None:
    import pyarrow as pa

    with pa.ipc.new_stream(str(path), arrow_schema(dataset_columns(join.parts))) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _save_to_disk(stream: Path, folder: Path, run_id: str) -> None:
    import datasets
    import pyarrow as pa

    had_bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with pa.memory_map(str(stream)) as source, pa.ipc.open_stream(source) as reader:
            # Left out, the fingerprint would be made by reading the whole table once more.
            datasets.Dataset(reader.read_all(), fingerprint=run_id).save_to_disk(folder)
    finally:
        if had_bars:
            datasets.enable_progress_bars()
