"""The folder of a training run, and whether an existing one may be continued.

config.yaml     the resolved recipe          metrics.jsonl   one line per optimizer step
run.json        what decides the student     checkpoints/    while the run lasts
train.json      the report of a finished run
student/        the trained student
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distill.config import ResumePolicy, TrainConfig
from distill.errors import DistillError
from distill.recipe import to_yaml
from distill.train.checkpoint import UNFINISHED, latest_checkpoint, replace_text
from distill.train.data import TrainData
from distill.train.report import REPORT_FILE, library_versions
from distill.train.student import model_digest

RUN_FILE, CONFIG_FILE, LOCK, CHECKPOINTS, STUDENT = "run.json", "config.yaml", ".lock", "checkpoints", "student"
# What a crash before the first step can leave behind: still an empty folder.
OWN_NAMES = frozenset({LOCK, CONFIG_FILE, RUN_FILE})
# Where a run stands and how it is cut into pieces; none of it decides what the student learns.
NOT_DECISIVE = {
    "dataset", "device", "gradient_checkpointing", "max_skipped_steps", "save_every", "tokens_per_micro_batch",
}  # fmt: skip


def decisive_settings(config: TrainConfig, data: TrainData) -> dict[str, Any]:
    """Everything that decides what the student learns: the recipe, and hashes of dataset and base model."""
    return {
        **config.model_dump(mode="json", exclude=NOT_DECISIVE),
        "model_digest": model_digest(config.model),
        "data": {"run_id": data.run_id, "digest": data.digest()},
    }


@contextmanager
def hold_folder(out: Path) -> Iterator[None]:
    """Make the folder of a run and keep every other process out of it.

    Raises:
        DistillError: the path is a file, or another process trains in the folder.
    """
    if out.exists() and not out.is_dir():
        raise DistillError(f"'{out}' is a file", hint="a run needs a folder of its own: name another with --out")
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a", encoding="utf-8") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ModuleNotFoundError:  # Windows has no flock
            pass
        except BlockingIOError:
            raise DistillError(
                f"another process trains in '{out}'", hint="wait for it to end, or name another folder with --out"
            ) from None
        yield


def open_run(out: Path, config: TrainConfig, settings: Mapping[str, Any], resume: ResumePolicy) -> None:
    """Describe a new run in its folder, or make sure that an existing one is the same run.

    Raises:
        DistillError: the folder holds another run or something else, it is not empty with resume 'never',
            or there is nothing to continue with resume 'always'.
    """
    foreign = sorted(entry.name for entry in out.iterdir() if entry.name.removeprefix(UNFINISHED) not in OWN_NAMES)
    if (out / RUN_FILE).is_file() or foreign:
        if resume == "never":
            raise DistillError(
                f"'{out}' is not empty", hint="name another folder with --out, or leave '--resume never' out"
            )
        _check_same_run(out, settings)
    elif resume == "always":
        raise DistillError(f"'{out}' holds no run to resume", hint="leave '--resume always' out to start one")
    else:
        replace_text(out / CONFIG_FILE, to_yaml(config, "train"))
        run = {"kind": "train", "settings": settings, "versions": library_versions()}
        replace_text(out / RUN_FILE, json.dumps(run, indent=2))


def is_finished(out: Path) -> bool:
    """True once the report is written, the last thing a run does, as long as its student is still there."""
    return (out / REPORT_FILE).is_file() and (out / STUDENT).is_dir()


def resume_point(out: Path) -> Path | None:
    """The checkpoint to go on from; None starts from the base student."""
    return latest_checkpoint(out / CHECKPOINTS)


def _check_same_run(out: Path, settings: Mapping[str, Any]) -> None:
    try:
        run = json.loads((out / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        run = {}
    if run.get("kind") != "train":
        raise DistillError(f"'{out}' holds something else than a training run", hint="name another folder with --out")
    # through JSON, as the stored settings went: tuples are lists there
    found, asked = dict(_leaves(run["settings"])), dict(_leaves(json.loads(json.dumps(settings))))
    differing = [key for key in {**found, **asked} if found.get(key) != asked.get(key)]
    if differing:
        changes = ", ".join(f"{key} ('{found.get(key)}' there, '{asked.get(key)}' now)" for key in differing)
        raise DistillError(
            f"'{out}' holds a run with other settings: {changes}",
            hint="name another folder with --out, or repeat the run's own settings",
        )


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value).

    >>> list(_leaves({"seed": 0, "loss": {"temperature": 0.5}}))
    [('seed', 0), ('loss.temperature', 0.5)]
    """
    if not isinstance(value, Mapping):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))
