"""The end of a run: its stages joined to a dataset, and what the run says of itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.curate import Progress
from distill.curate.cut import Shard
from distill.curate.dataset import read_manifest
from distill.curate.decontaminate import DecontaminationReport
from distill.curate.entropy_summary import EntropySummary, summary_from_json
from distill.curate.index_set import IndexSet
from distill.curate.job import Job
from distill.curate.join import Join, write_dataset
from distill.curate.preparation import ProblemList
from distill.curate.run_dir import RunDir, package_versions, write_json
from distill.curate.shards import open_stages
from distill.curate.stats import Stats, dataset_stats, stats_json
from distill.curate.watch import read_notes
from distill.errors import DistillError
from distill.fingerprints import fingerprint
from distill.schema import SCHEMA_VERSION
from distill.verifiers.audit import AuditReport


@dataclass(frozen=True, slots=True)
class CurateResult:
    """What a run has produced."""

    run: Path
    dataset: Path
    problems: int
    """Problems that were to be sampled."""
    rejected: Mapping[str, int]
    """Reason -> problems that were not."""
    unsampled: int
    """Problems that the backend returned no group for; the next session asks again."""
    audit: AuditReport
    """What ``verifier.audit_fast_path`` found in this session."""
    decontamination: DecontaminationReport | None
    """What the problems were compared with, and what could not be."""
    entropies: EntropySummary
    stats: Stats


def finish(run: RunDir, job: Job, problems: ProblemList, shards: Sequence[Shard], progress: Progress) -> CurateResult:
    """Join the stages of these shards to the run's dataset, where it is not that already, and report.

    Raises:
        DistillError: there is no group.
    """
    folder = run.path / "dataset"
    with ExitStack() as stack:
        stages = [stack.enter_context(open_stages(run.path, job, shard)) for shard in shards]
        indices = IndexSet()
        for stage in stages:
            indices |= problems.indices & stage.completions.done & stage.scores.done
        need_groups(len(indices), run.path, problems)
        run_id = fingerprint([job.fingerprints, len(indices)])
        if read_manifest(folder).get("run_id") != run_id:
            join = Join(
                [stage.completions for stage in stages],
                [stage.scores for stage in stages],
                [stage.entropies for stage in stages if stage.entropies is not None],
                job.scorer.parts,
                run_id,
                job.config.verifier.kind,
            )
            write_dataset(
                join, indices, folder, _manifest(run, job, problems, run_id) | {"rows": len(indices)}, progress
            )
    total = len(problems.indices)
    result = CurateResult(
        run.path,
        folder,
        total,
        problems.rejected,
        total - len(indices),
        job.scorer.judge.audit(),
        problems.decontamination,
        summary_from_json(read_manifest(folder).get("entropies", {})),
        dataset_stats(folder),
    )
    _write_report(result, job)
    return result


def need_groups(number: int, run: Path, problems: ProblemList) -> None:
    """Raise unless there is anything to make a dataset of.

    Raises:
        DistillError: ``number`` is 0.
    """
    if number:
        return
    reasons = ", ".join(f"{reason} ({count})" for reason, count in problems.rejected.items())
    raise DistillError(
        f"the run '{run}' has no group to make a dataset of",
        hint=f"problems rejected: {reasons}; {run / 'problems.parquet'} lists them"
        if reasons
        else "nothing was sampled",
    )


def _manifest(run: RunDir, job: Job, problems: ProblemList, run_id: str) -> dict[str, Any]:
    """What a dataset says of itself wherever it is copied to; of its rows it says more where they are written."""
    return {
        "run_id": run_id,
        "schema_version": SCHEMA_VERSION,
        "about": run.state["about"],
        "teacher": job.config.teacher.model,
        "notes": read_notes(run.path),
        "decontamination": problems.decontamination.to_json() if problems.decontamination else None,
        "reward_parts": list(job.scorer.parts),
        "fingerprints": dict(job.fingerprints),
        "versions": {**package_versions(), **job.scorer.judge.versions()},
    }


def _write_report(result: CurateResult, job: Job) -> None:
    judge = job.scorer.judge
    report: dict[str, Any] = {
        "problems": {"listed": result.problems, "rejected": dict(result.rejected), "unsampled": result.unsampled},
        "decontamination": result.decontamination.to_json() if result.decontamination else None,
        "entropies": result.entropies.to_json(),
        "verifier": {"versions": judge.versions(), "audit": asdict(result.audit)},
        "dataset": stats_json(result.stats),
    }
    write_json(result.run / "report.json", report)
