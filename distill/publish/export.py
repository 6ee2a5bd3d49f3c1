"""A curated dataset in the shape that another tool reads: a folder of files, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from distill import __version__
from distill.curate import Progress
from distill.curate.dataset import dataset_batches, dataset_folder, read_manifest
from distill.curate.run_dir import write_json
from distill.curate.stage import GROUPS_PER_BATCH
from distill.errors import DistillError
from distill.files import foreign_names, replace_folder, unfinished
from distill.publish.shapes import Choices, Pairs, Select, Shape, find_shape, read_columns, shape_schema
from distill.publish.tables import Format, write_table
from distill.registry import did_you_mean
from distill.schema import reward_parts

if TYPE_CHECKING:
    import pyarrow as pa

EXPORT_FILE = "export.json"
LLAMA_FACTORY_FILE = "dataset_info.json"
LLAMA_FACTORY_NAME = "distill"
"""The name under which LLaMA-Factory finds an export."""


@dataclass(slots=True)
class Counts:
    """What became of a dataset's groups."""

    groups: int = 0
    """Kept by curation."""
    groups_not_kept: int = 0
    rows: int = 0
    arrow_bytes: int = 0
    """Of the rows in memory, which the Hub's pages call the size of a dataset."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Reason -> kept groups that became no row."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written."""

    shape: str
    out: str
    files: tuple[str, ...]
    """Of the rows, relative to ``out``."""
    bytes: int
    """Of these files."""
    counts: Counts


def export_dataset(
    dataset: Path | str,
    to: str,
    out: Path | str,
    *,
    file_format: str = "parquet",
    select: Select | None = None,
    pairs: Pairs | None = None,
    progress: Progress = lambda stage, advance, total: None,  # noqa: ARG005
) -> ExportResult:
    """Write the kept groups of a curated dataset in the shape that another tool reads.

    Memory stays flat: a few groups are in it at a time. A folder that holds an earlier export is replaced in one step.

    Args:
        dataset: the dataset's folder, or the run's that holds it.
        to: 'groups', 'samples', 'sft', 'preference', 'kto', 'grpo', 'sharegpt' or 'verl'.
        out: a new or empty folder, or one that an export wrote.
        file_format: 'parquet' or 'jsonl'.
        select: for 'sft' and 'sharegpt': 'best' (as it is by default) or 'all-correct'.
        pairs: for 'preference': 'verdict' (as it is by default) or 'reward'.

    Raises:
        DistillError: no such dataset, shape or format, a choice that the shape does not have, a folder with foreign
            files, or no group that has anything to say in this shape.
    """
    chosen = {name: value for name, value in (("select", select), ("pairs", pairs)) if value is not None}
    shape, choices = find_shape(to, chosen), Choices(**_checked(chosen))
    kind = _format(file_format)
    out = _room(Path(out))
    folder = dataset_folder(Path(dataset))
    building = unfinished(out)
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        counts, files = write_shape(folder, shape, choices, building / "data", kind, progress)
        if not counts.rows:
            raise nothing_to_say(folder, to, counts)
        result = ExportResult(
            to,
            str(out),
            tuple(str(file.relative_to(building)) for file in files),
            sum(file.stat().st_size for file in files),
            counts,
        )
        _describe(building, result, shape, choices, folder)
        replace_folder(building, out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return result


def write_shape(
    folder: Path, shape: Shape, choices: Choices, out: Path, kind: Format, progress: Progress
) -> tuple[Counts, list[Path]]:
    """Write the kept groups of a dataset in a shape; what became of them, and the files."""
    counts = Counts()
    parts = reward_parts(_columns(folder))
    schema = shape_schema(shape, parts)
    total = read_manifest(folder).get("rows")
    progress("export", 0, total)
    return counts, write_table(_shaped(folder, shape, choices, schema, counts, _Bar(progress)), schema, out, kind)


def nothing_to_say(folder: Path, name: str, counts: Counts) -> DistillError:
    """What is said when a shape has no row."""
    reasons = [f"{number:,} groups with {reason}" for reason, number in counts.skipped.items()]
    if counts.groups_not_kept:
        reasons.insert(0, f"{counts.groups_not_kept:,} groups that were dropped")
    return DistillError(
        f"'{folder}' has nothing to say in the shape '{name}': {', '.join(reasons) or 'it has no group'}",
        hint="'distill inspect' shows its outcomes and why groups were dropped",
    )


@dataclass(frozen=True, slots=True)
class _Bar:
    progress: Progress

    def __call__(self, rows: int) -> None:
        self.progress("export", rows, None)


def _shaped(
    folder: Path, shape: Shape, choices: Choices, schema: pa.Schema, counts: Counts, read: Callable[[int], None]
) -> Iterator[pa.RecordBatch]:
    """The batches of a shape, a few groups each."""
    import pyarrow as pa

    columns = None if shape.rows is None else read_columns(_columns(folder))
    for batch in dataset_batches(folder, columns):
        for start in range(0, batch.num_rows, GROUPS_PER_BATCH):
            piece = batch.slice(start, GROUPS_PER_BATCH)
            kept = piece.filter(piece["kept"])
            counts.groups += kept.num_rows
            counts.groups_not_kept += piece.num_rows - kept.num_rows
            read(piece.num_rows)
            if shape.rows is None:
                counts.rows += kept.num_rows
                counts.arrow_bytes += kept.nbytes
                yield kept.select(schema.names).cast(schema)
                continue
            rows: list[dict[str, Any]] = []
            for row in kept.to_pylist():
                made = shape.rows(row, choices)
                if not made:
                    counts.skipped[shape.empty] = counts.skipped.get(shape.empty, 0) + 1
                rows += made
            shaped = pa.RecordBatch.from_pylist(rows, schema)
            counts.rows += len(rows)
            counts.arrow_bytes += shaped.nbytes
            yield shaped


def _columns(folder: Path) -> list[str]:
    """The columns of a dataset; none where it has no rows."""
    first = next(iter(dataset_batches(folder)), None)
    return [] if first is None else list(first.schema.names)


def _describe(folder: Path, result: ExportResult, shape: Shape, choices: Choices, dataset: Path) -> None:
    """What an export says of itself, and what LLaMA-Factory wants to be told of it."""
    manifest = read_manifest(dataset)
    about = {
        "shape": result.shape,
        "choices": {name: getattr(choices, name) for name in sorted(shape.takes)},
        "rows": result.counts.rows,
        "groups": result.counts.groups,
        "groups_not_kept": result.counts.groups_not_kept,
        "skipped": result.counts.skipped,
        "run_id": manifest.get("run_id"),
        "teacher": manifest.get("teacher"),
        "about": manifest.get("about"),
        "distill": __version__,
    }
    write_json(folder / EXPORT_FILE, about)
    if shape.llama_factory is not None:
        write_json(
            folder / LLAMA_FACTORY_FILE, {LLAMA_FACTORY_NAME: {"file_name": "data", **dict(shape.llama_factory)}}
        )


def _checked(chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    for name, value in chosen.items():
        known = list(get_args(Select if name == "select" else Pairs))
        if value not in known:
            raise DistillError(f"'{name}' cannot be '{value}'", hint=did_you_mean(value, known))
    return chosen


def _format(name: str) -> Format:
    for known in get_args(Format):
        if name == known:
            found: Format = known
            return found
    raise DistillError(f"no format of files is called '{name}'", hint=did_you_mean(name, list(get_args(Format))))


def _room(out: Path) -> Path:
    if out.is_file():
        raise DistillError(f"'{out}' is a file", hint="an export is a folder of files: use another --out")
    foreign = foreign_names(out, ())
    if foreign and EXPORT_FILE not in foreign:
        raise DistillError(
            f"'{out}' holds '{foreign[0]}', which no export wrote", hint="use a new or an empty folder as --out"
        )
    return out.absolute()
