"""What came out of a training run: ``train.json`` in its folder, a copy beside the student's weights."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distill import __version__
from distill.files import write_atomically
from distill.train.data import DataCounts

REPORT_FILE = "train.json"
METRICS_FILE = "metrics.jsonl"
EPOCH_METRICS = (
    "loss", "cross_entropy", "contrastive", "wrong_probability", "entropy", "masked_tokens",
    "largest_change", "matrices_shrunk", "smallest_ratio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainReport:
    """A finished run."""

    method: str
    model: str
    """The base student."""
    student: str
    """Folder of the trained student, inside the run's folder."""
    is_adapter: bool
    """True when that folder holds LoRA adapters instead of a whole model."""
    dataset: str
    run_id: str
    """Of the curation run that made the dataset."""
    steps: int
    skipped_steps: int
    """Steps that changed nothing because their loss or gradient was not finite."""
    epochs: tuple[dict[str, float], ...]
    """Per epoch the mean over its steps of loss and its terms, and what was measured at its end."""
    data: DataCounts
    tokens: int
    """Supervised tokens trained on, over all epochs."""
    tokens_per_second: float
    """Supervised tokens per second of wall-clock time."""
    cpu_seconds: float
    """CPU time of all threads, over all parts of a run that was interrupted."""
    wall_seconds: float
    peak_memory_bytes: int
    """On CUDA the most that was allocated, else the most that the process was given."""
    versions: dict[str, str]
    config: dict[str, Any]
    """The resolved recipe."""
    patterns: tuple[dict[str, Any], ...] = ()
    """Ways in which the run went wrong, see ``distill.train.patterns.Pattern``."""

    def write(self, path: Path) -> None:
        """Write the report as JSON."""
        write_atomically(path, json.dumps(asdict(self), indent=2))


def read_report(path: Path) -> TrainReport:
    """The report that ``TrainReport.write`` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    values["data"] = DataCounts(**values["data"])
    values["epochs"], values["patterns"] = tuple(values["epochs"]), tuple(values.get("patterns", ()))
    return TrainReport(**values)


def library_versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run."""
    libraries = {name: version(name) for name in ("torch", "transformers", "peft")}
    return {"distill": __version__, "python": sys.version.split()[0], **libraries}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; none when there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_whole_lines(path: Path) -> list[dict[str, Any]]:
    """As ``read_metrics``, of a file that may end in half a line: its process writes it, or died at that."""
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def keep_metrics_until(path: Path, step: int) -> None:
    """Drop the lines of steps after ``step``, which a resumed run will take again, and a torn last line."""
    if path.is_file():
        kept = (line for line in read_whole_lines(path) if line["step"] <= step)
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept))


def epoch_means(
    metrics: Iterable[dict[str, Any]], evaluations: Iterable[dict[str, Any]] = ()
) -> tuple[dict[str, float], ...]:
    """Per epoch the mean of every loss metric over the steps that counted, and what was measured at its end.

    >>> epoch_means([{"epoch": 1, "loss": 2.0}, {"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5, "skipped": True}])
    ({'epoch': 1, 'loss': 1.5},)
    """
    values: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in metrics:
        if line.get("skipped"):
            continue
        for name in EPOCH_METRICS:
            if name in line:
                values[line["epoch"]][name].append(line[name])
    measured = {line["epoch"]: {name: line[name] for name in line if name != "step"} for line in evaluations}
    return tuple(
        {
            "epoch": epoch,
            **{name: sum(series) / len(series) for name, series in means.items()},
            **measured.get(epoch, {}),
        }
        for epoch, means in sorted(values.items())
    )
