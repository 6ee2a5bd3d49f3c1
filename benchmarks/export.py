"""Time and peak memory of 'distill export' and 'distill publish', and of loading back what was published.

    python benchmarks/export.py --groups 750 7500

The datasets are those of benchmarks/inspect_dataset.py: eight completions a group, 300 tokens each on average, with
texts, token ids, log-probabilities and entropies. Every command runs in a process of its own, start-up included; the
Hub is the one of the tests, on this machine. Prints seconds, the peak resident memory of the process (the pages of the
dataset's files that it maps among it) and the megabytes that were written.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inspect_dataset import PARTS, N, synthetic

from distill.curate.join import write_batches
from distill.publish.shapes import SHAPES
from distill.schema import arrow_schema, dataset_columns
from tests.hub_server import serve_hub

REPO = "me/made"
LOAD = (
    "import datasets\n"
    f"rows = [len(datasets.load_dataset('{REPO}', name, split='train')) for name in ('groups', 'samples', 'sft')]\n"
    "assert all(rows), rows"
)


def main() -> None:
    """Make every size and print one line for each command on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[750, 7_500])
    arguments = parser.parse_args()
    for groups in arguments.groups:
        with tempfile.TemporaryDirectory() as name:
            measure(groups, Path(name))


def measure(groups: int, folder: Path) -> None:
    """Export a dataset to every shape, publish it and load it back."""
    dataset = folder / "made"
    dataset.mkdir()
    write_batches(synthetic(groups), arrow_schema(dataset_columns(PARTS)), dataset, "synthetic")
    show(groups, "the dataset itself", 0.0, 0.0, size(dataset))
    for shape in SHAPES:
        out = folder / shape
        command = ["-m", "distill", "export", str(dataset), "--to", shape, "--out", str(out)]
        show(groups, f"export --to {shape}", *run(command, {}), size(out))
    with serve_hub() as hub:
        hub.tokens["writer"] = ("me", "write")
        environment = hub.environment(str(folder / "home"), "writer")
        command = ["-m", "distill", "publish", str(dataset), REPO, "--licence", "apache-2.0"]
        for number, label in enumerate(("publish", "publish again")):
            measured = run(command, environment)
            sent = sum(len(content) for content in hub.stored.values()) if number == 0 else 0
            show(groups, label, *measured, sent)
        show(groups, "load three configs", *run(["-c", LOAD], environment), 0)


def run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds and MiB of a Python process."""
    begin = time.perf_counter()
    running = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(running.pid, 0)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {running.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def size(folder: Path) -> int:
    """Bytes of the files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(groups: int, what: str, seconds: float, peak: float, written: int) -> None:
    """One line."""
    print(
        f"{groups * N:>9,} completions  {what:<22} {seconds:6.1f} s  {peak:6.0f} MiB  {written / 1e6:7.1f} MB",
        flush=True,
    )


if __name__ == "__main__":
    main()
