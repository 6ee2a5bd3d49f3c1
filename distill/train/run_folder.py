"""The folder of a training run, and whether an existing one may be continued.

config.yaml         the resolved recipe             metrics.jsonl       one line per optimizer step
run.json            what decides the student        projections.jsonl   with slow tuning, where weights went back
train.json          the report of a finished run    checkpoints/        while the run lasts
student/            the trained student             base.safetensors    with slow tuning in full, while the run lasts
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.config import ResumePolicy, TrainConfig
from distill.errors import DistillError
from distill.files import foreign_names, write_atomically
from distill.fingerprints import differences, mismatch
from distill.models import model_fingerprint
from distill.recipe import to_yaml
from distill.train.checkpoint import latest_checkpoint
from distill.train.data import TrainData
from distill.train.report import METRICS_FILE, REPORT_FILE, library_versions
from distill.train.slow_tuning import BASE_FILE

RUN_FILE, CONFIG_FILE, CHECKPOINTS, STUDENT = "run.json", "config.yaml", "checkpoints", "student"
# What a crash before the first step can leave behind: still an empty folder.
OWN_NAMES = frozenset({CONFIG_FILE, RUN_FILE, BASE_FILE})
# Where a run stands and how it is cut into pieces; none of it decides what the student learns.
NOT_DECISIVE = {
    "dataset", "device", "gradient_checkpointing", "keep", "max_skipped_steps", "packing", "parallel", "save_every",
    "tokens_per_micro_batch", "track",
}  # fmt: skip


def decisive_settings(config: TrainConfig, data: TrainData) -> dict[str, Any]:
    """Everything that decides what the student learns: the recipe, and hashes of dataset and base model."""
    return {
        **config.model_dump(mode="json", exclude=NOT_DECISIVE),
        "model_files": model_fingerprint(config.model),
        "data": {"run_id": data.run_id, "digest": data.digest()},
    }


def open_run(out: Path, config: TrainConfig, settings: Mapping[str, Any], resume: ResumePolicy) -> None:
    """Describe a new run in its folder, or make sure that an existing one is the same run.

    One that ended before its first step, for a layer that does not exist or a device that is not there, binds
    nobody to its settings and is described anew.

    Raises:
        DistillError: the folder holds another run or something else, it is not empty with resume 'never',
            or there is nothing to continue with resume 'always'.
    """
    if (out / RUN_FILE).is_file() or foreign_names(out, OWN_NAMES):
        if resume == "never":
            raise DistillError(
                f"'{out}' is not empty", hint="name another folder with --out, or leave '--resume never' out"
            )
        stored = _stored_settings(out)
        if _has_steps(out):
            _check_same_run(out, stored, settings)
            return
    elif resume == "always":
        raise DistillError(f"'{out}' holds no run to resume", hint="leave '--resume always' out to start one")
    write_atomically(out / CONFIG_FILE, to_yaml(config, "train"))
    run = {"kind": "train", "settings": settings, "versions": library_versions()}
    write_atomically(out / RUN_FILE, json.dumps(run, indent=2))


def is_finished(out: Path) -> bool:
    """True once the report is written, the last thing a run does, as long as its student is still there."""
    return (out / REPORT_FILE).is_file() and (out / STUDENT).is_dir()


def resume_point(out: Path) -> Path | None:
    """The checkpoint to go on from; None starts from the base student."""
    return latest_checkpoint(out / CHECKPOINTS)


def _has_steps(out: Path) -> bool:
    """True once a step was taken: its metrics come before its checkpoint."""
    metrics = out / METRICS_FILE
    return (
        (metrics.is_file() and metrics.stat().st_size > 0) or (out / CHECKPOINTS).exists() or (out / STUDENT).exists()
    )


def _stored_settings(out: Path) -> dict[str, Any]:
    try:
        run = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        run = {}
    if not isinstance(run, dict) or run.get("kind") != "train":
        raise DistillError(f"'{out}' holds something else than a training run", hint="name another folder with --out")
    stored: dict[str, Any] = run["settings"]
    return stored


def _check_same_run(out: Path, stored: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    differing = differences(stored, settings)
    if differing:
        raise DistillError(
            mismatch(out, differing), hint="name another folder with --out, or repeat the run's own settings"
        )
