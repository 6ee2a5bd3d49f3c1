"""How the quick start's settings were chosen: every candidate is trained on the same groups and judged on `validation`.

    python benchmarks/quickstart_settings.py runs/quickstart/groups --out runs/settings --seeds 0

Neither the test split nor the out-of-distribution split is read. A candidate that is finished is not trained again, so
the study can be stopped and resumed. Prints a Markdown table for docs/quickstart.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from distill import EvalConfig, TrainConfig, evaluate, load_groups, train_student
from distill.recipe import load_config
from distill.records import Outcome

RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.yaml"
RATES = ("1e-4", "2e-4", "5e-4")
ADVDISTILL = {
    "lambda 0": ["loss.contrastive_weight=0"],
    "lambda 0, CE summed": ["loss.contrastive_weight=0", "loss.cross_entropy=sum"],
    "lambda 0.05": ["loss.contrastive_weight=0.05"],
    "lambda 0.5": ["loss.contrastive_weight=0.5"],
    "lambda 0.5, sum": ["loss.contrastive_weight=0.5", "loss.contrastive_reduction=sum"],
    "lambda 0.5, mean over wrong": ["loss.contrastive_weight=0.5", "loss.contrastive_reduction=mean_over_wrong"],
    "lambda 0.5, weighted by w_i": ["loss.contrastive_weight=0.5", "loss.contrastive_weighting=w_i"],
    "lambda 0.5, geometric mean": ["loss.contrastive_weight=0.5", "loss.mean_probability=geometric"],
}


def candidates() -> Iterator[tuple[str, str, list[str]]]:
    """Method, name and --set texts of every candidate."""
    for rate in RATES:
        rate_set = [f"optimizer.learning_rate={rate}"]
        yield "sft", f"lr {rate}", rate_set
        yield "sft", f"lr {rate}, mean per completion", [*rate_set, "loss.normalise=completion"]
        yield "sft-all-correct", f"lr {rate}", rate_set
        for name, sets in ADVDISTILL.items():
            if rate == "2e-4" or name in {"lambda 0.5", "lambda 0.5, weighted by w_i"}:
                yield "advdistill", f"lr {rate}, {name}", [*rate_set, *sets]


def correct_share_of_wrong_completions(dataset: Path) -> float:
    """Share of a wrong completion's equations that stand before its first false one, the mean over wrong ones."""
    shares = []
    for group, scores in load_groups(dataset):
        truth = group.problem.solution.partition("</think>")[0].removeprefix("<think>").split()
        for completion, verdict in zip(group.completions, scores.verdicts, strict=True):
            if verdict.outcome is Outcome.CORRECT:
                continue
            steps = completion.text.partition("</think>")[0].removeprefix("<think>").split()
            right = next(
                (i for i, pair in enumerate(zip(steps, truth, strict=False)) if pair[0] != pair[1]), len(truth)
            )
            shares.append(right / max(len(steps), 1))
    return sum(shares) / len(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", default="", help="candidates whose method and name contain this")
    options = parser.parse_args()
    share = correct_share_of_wrong_completions(options.dataset)
    print(f"right equations before the first false one, in wrong completions: {100 * share:.0f} %\n")
    print("| method | settings | seed | validation accuracy | 95 % interval | train CPU s |")
    print("| --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for method, name, sets in candidates():
        for seed in options.seeds:
            if options.only not in f"{method} {name}":
                continue
            print(run(options, method, name, sets, seed), flush=True)


def run(options: argparse.Namespace, method: str, name: str, sets: list[str], seed: int) -> str:
    """Train and judge one candidate; a line of the table."""
    folder = options.out / f"{method}-{name}-{seed}".replace(" ", "_").replace(",", "")
    flags = {"dataset": str(options.dataset), "method": method, "seed": seed}
    report = train_student(load_config(TrainConfig, "train", recipe=RECIPE, sets=sets, flags=flags), folder)
    judged = {"model": str(folder), "benchmarks": ("arithmetic:validation",)}
    (result,) = evaluate(
        load_config(EvalConfig, "eval", recipe=RECIPE, flags=judged), folder.with_name(folder.name + ".eval")
    )
    low, high = 100 * result.interval.low, 100 * result.interval.high
    accuracy = f"{100 * result.accuracy:.1f} | {low:.1f} – {high:.1f}"
    return f"| {method} | {name} | {seed} | {accuracy} | {report.cpu_seconds:.0f} |"


if __name__ == "__main__":
    main()
