"""SLowED's guards under both losses, on the quick start's groups: each alone, both, and neither.

    python benchmarks/guards.py runs/quickstart/groups --out runs/guards

Every student is trained on the same groups with three seeds and judged on `validation` and `ood`; a finished one is not
trained again. Prints a Markdown table: mean accuracy over the seeds, lowest and highest, and CPU seconds of training.
The masks read the teacher's entropies.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from distill import EvalConfig, TrainConfig, evaluate, train_student
from distill.recipe import load_config

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
GUARDS: dict[str, list[str]] = {
    "none": [],
    "mask 20": ["low_entropy_mask=20"],
    "tau 0.1": ["slow_tuning=0.1"],
    "both": ["low_entropy_mask=20", "slow_tuning=0.1"],
}
BENCHMARKS = ("arithmetic:validation", "arithmetic:ood")


def run(dataset: Path, out: Path, method: str, guards: str, seed: int) -> tuple[list[float], float]:
    """Accuracies in per cent on both benchmarks, and the CPU seconds of training."""
    folder = out / f"{method}-{guards.replace(' ', '-')}-{seed}"
    flags = {"dataset": str(dataset), "method": method, "seed": seed}
    trained = train_student(load_config(TrainConfig, "train", recipe=RECIPE, sets=GUARDS[guards], flags=flags), folder)
    judged = load_config(EvalConfig, "eval", recipe=RECIPE, flags={"model": str(folder), "benchmarks": BENCHMARKS})
    reports = evaluate(judged, folder.with_name(folder.name + ".eval"))
    return [100 * report.accuracy for report in reports], trained.cpu_seconds


def spread(values: Sequence[float]) -> str:
    """Mean, lowest and highest.

    >>> spread([70.0, 72.0, 74.0])
    '72.0 (70.0 – 74.0)'
    """
    return f"{sum(values) / len(values):.1f} ({min(values):.1f} – {max(values):.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    print("| loss | guards | in distribution | out of distribution | train CPU s |")
    print("| --- | --- | ---: | ---: | ---: |", flush=True)
    for method in ("sft", "advdistill"):
        for guards in GUARDS:
            found = [run(options.dataset, options.out, method, guards, seed) for seed in options.seeds]
            accuracies, seconds = zip(*found, strict=True)
            inside, outside = zip(*accuracies, strict=True)
            mean_seconds = sum(seconds) / len(seconds)
            print(f"| {method} | {guards} | {spread(inside)} | {spread(outside)} | {mean_seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
