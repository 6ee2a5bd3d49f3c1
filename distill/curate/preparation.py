"""Before a token is bought: the problems of the source are read, checked and listed, the rejected with a reason."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from distill.config import DecontaminationConfig
from distill.curate import Progress
from distill.curate.decontaminate import Decontamination, DecontaminationReport, report_from_json
from distill.curate.duplicates import Repetitions
from distill.curate.index_set import IndexSet
from distill.errors import DistillError
from distill.files import atomic_file
from distill.problems import ProblemSource
from distill.problems.rows import parquet_batches
from distill.records import Problem
from distill.schema import PROBLEM_COLUMNS, arrow_schema
from distill.verifiers import Judge, gold_problem

if TYPE_CHECKING:
    import pyarrow as pa

PROBLEMS_PER_BATCH = 1000
ROW_GROUP_BYTES = 2**19
COVERS_KEY = b"distill_covers"
REPORT_KEY = b"distill_decontamination"
REJECT_COLUMNS = ("reject_reason", "reject_detail")


@dataclass(frozen=True, slots=True)
class ProblemList:
    """The problems of a run, in a file that outlives the source."""

    path: Path
    covers: str
    """Fingerprint of the source, the limit and the checks: what the list depends on."""
    indices: IndexSet
    """Those that are sampled."""
    rejected: dict[str, int]
    """Reason -> problems."""
    decontamination: DecontaminationReport | None = None
    """What the problems were compared with; None for a list of an older distill."""

    def __iter__(self) -> Iterator[Problem]:
        """The problems that are sampled, in source order, a few at a time in memory."""
        for row in _rows(self.path):
            if not row["reject_reason"]:
                yield _problem(row)

    def rejections(self) -> Iterator[tuple[Problem, str, str]]:
        """The problems that are not, each with the reason and what else is known: which problem it repeats."""
        for row in _rows(self.path):
            if row["reject_reason"]:
                yield _problem(row), row["reject_reason"], row.get("reject_detail") or ""


def prepare_problems(
    source: ProblemSource,
    judge: Judge,
    path: Path,
    covers: str,
    progress: Progress,
    decontaminate: DecontaminationConfig = DecontaminationConfig(),
) -> ProblemList:
    """The problem list of a run: as it stands when nothing it depends on has changed, else read anew.

    A gold answer that its verifier cannot read would make every completion unverified; such a problem is rejected
    here, with the verifier's reason. So is one that repeats an earlier problem, or one of a benchmark.

    Raises:
        DistillError: the source or a benchmark cannot be read.
    """
    if _metadata(path).get(COVERS_KEY, b"").decode() != covers:
        with tempfile.TemporaryFile(dir=path.parent) as draft:
            with Decontamination(decontaminate, source, path.parent, progress) as decontamination:
                _write_draft(source, judge, decontamination, draft, progress)
                repetitions = decontamination.repetitions()
                report = decontamination.report(repetitions)
            metadata = {COVERS_KEY: covers.encode(), REPORT_KEY: json.dumps(report.to_json()).encode()}
            _write(draft, repetitions, path, metadata)
    return stored_problems(path)


def stored_problems(path: Path) -> ProblemList:
    """The problem list of an earlier session.

    Raises:
        DistillError: there is none, or it is damaged.
    """
    if not path.exists():
        raise DistillError(f"the run '{path.parent}' has no list of problems yet", hint="run 'distill curate' first")
    import pyarrow as pa

    indices, rejected = IndexSet(), Counter[str]()
    try:
        for row in _rows(path, ["index", "reject_reason"]):
            if row["reject_reason"]:
                rejected[row["reject_reason"]] += 1
            else:
                indices.add(row["index"])
    except pa.ArrowInvalid as error:
        raise DistillError(
            f"'{path}' cannot be read: {error}", hint="'distill curate' with the run's options writes it anew"
        ) from None
    metadata = _metadata(path)
    report = report_from_json(json.loads(metadata[REPORT_KEY])) if REPORT_KEY in metadata else None
    covers = metadata.get(COVERS_KEY, b"").decode()
    return ProblemList(path, covers, indices, dict(rejected.most_common()), report)


def _write_draft(
    source: ProblemSource, judge: Judge, decontamination: Decontamination, draft: IO[bytes], progress: Progress
) -> None:
    """Write all problems, as a stream of batches, with what can be said of each by itself."""
    import pyarrow as pa

    schema = arrow_schema(PROBLEM_COLUMNS)
    pending: list[dict[str, Any]] = []

    def flush(writer: pa.RecordBatchStreamWriter) -> None:
        writer.write_batch(pa.RecordBatch.from_pylist(pending, schema))
        pending.clear()

    with pa.ipc.new_stream(draft, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for problem in source:
            reason = _gold_reason(problem, judge)
            pending.append(_row(problem, *((reason, "") if reason else decontamination.check(problem))))
            progress("problems", 1, source.expected_size)
            if len(pending) >= PROBLEMS_PER_BATCH:
                flush(writer)
        for rejected in source.rejected:
            pending.append(_row(Problem(rejected.id, "", "", index=rejected.row - 1), rejected.reason, ""))
        flush(writer)
    draft.seek(0)


def _write(draft: IO[bytes], repetitions: Repetitions, path: Path, metadata: dict[bytes, bytes]) -> None:
    """Copy the draft to its place, repetitions rejected: which they are is known when all problems are read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(PROBLEM_COLUMNS).with_metadata(metadata)
    waiting: list[pa.RecordBatch] = []

    def flush(writer: pq.ParquetWriter) -> None:
        writer.write_table(pa.Table.from_batches(waiting, schema))
        waiting.clear()

    alone = pa.ipc.IpcReadOptions(use_threads=False)  # threads keep what they have freed
    with (
        pa.ipc.open_stream(draft, options=alone) as drafted,
        atomic_file(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for batch in drafted:
            waiting.append(_reject(batch, repetitions).replace_schema_metadata(metadata))
            # the file's index, which is held in memory, has an entry for every row group
            if sum(each.nbytes for each in waiting) >= ROW_GROUP_BYTES:
                flush(writer)
        flush(writer)


def _reject(batch: pa.RecordBatch, repetitions: Repetitions) -> pa.RecordBatch:
    import pyarrow as pa

    found = list(repetitions.among(batch.column("index").to_numpy()))
    if not found:
        return batch
    reasons, details = (batch.column(name).to_pylist() for name in REJECT_COLUMNS)
    for place, reason, earlier in found:
        if not reasons[place]:  # a row that is no problem may stand at the index of none
            reasons[place], details[place] = reason, f"index {earlier}"
    columns = dict(zip(REJECT_COLUMNS, (reasons, details), strict=True))
    for name, values in columns.items():
        batch = batch.set_column(batch.schema.get_field_index(name), name, pa.array(values, pa.string()))
    return batch


def _gold_reason(problem: Problem, judge: Judge) -> str:
    """Why no completion of this problem could be judged, such as 'gold_unparsed', or an empty text."""
    why = gold_problem(problem, judge=judge)
    return why if not why or why.startswith("gold_") else f"gold_{why}"


def _row(problem: Problem, reason: str, detail: str) -> dict[str, Any]:
    row = {name: getattr(problem, name) for name in PROBLEM_COLUMNS if name not in REJECT_COLUMNS}
    return {**row, "options": list(problem.options), "reject_reason": reason, "reject_detail": detail}


def _problem(row: dict[str, Any]) -> Problem:
    values = {name: value for name, value in row.items() if name not in REJECT_COLUMNS}
    return Problem(**{**values, "options": tuple(row["options"])})


def _metadata(path: Path) -> dict[bytes, bytes]:
    """What a list says of itself; nothing where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return {}
    try:
        return pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:  # a damaged list covers nothing, so it is written anew where the source is at hand
        return {}


def _rows(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in parquet_batches(file, PROBLEMS_PER_BATCH, columns):
            yield from batch.to_pylist()
