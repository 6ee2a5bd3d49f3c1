"""Peak memory of a whole live evaluation by the number of completions.

    python -m benchmarks.eval_memory --completions 1 8 64

The problems stay the same; every size runs in a process of its own, with a backend that writes 4 kB for every
completion. Prints the peak resident memory of that process and its growth for each further completion; the verifier's
workers are other processes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from distill.generate import BackendOptions
from distill.generate.base import OnProgress
from distill.records import Completion, Group, Problem, Prompt

SENTENCE = "Let us add one to {} once more and see what that comes to, with care. "
LENGTH = 55
"""Sentences in a completion: about 4 kB."""


class Writing:
    """A backend whose completions are all different; two of three are right."""

    tokenizer = None
    tokenizer_fingerprint = ""
    entropy_kind = "none"
    notes = ()

    def __init__(self, options: BackendOptions) -> None:
        self.teacher = options.teacher.model
        self._count = options.sampling.num_completions

    def sample(self, items: Iterable[tuple[Problem, Prompt]], on_progress: OnProgress | None = None) -> Iterator[Group]:
        for problem, prompt in items:
            texts = (
                SENTENCE.format(place) * LENGTH + f"\\boxed{{{problem.index + 1 + place % 3 // 2}}}"
                for place in range(self._count)
            )
            completions = tuple(Completion(text, num_tokens=len(text) // 4) for text in texts)
            if on_progress is not None:
                on_progress(sum(completion.num_tokens for completion in completions))
            yield Group(problem, prompt, completions, self.teacher)

    def close(self) -> None:
        pass


def main() -> None:
    """Run every size and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--completions", type=int, nargs="+", default=[1, 8, 64], help="of each problem")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return evaluate_in(arguments.child, arguments.completions[0])
    first: tuple[int, int] | None = None
    for count in arguments.completions:
        with tempfile.TemporaryDirectory() as folder:
            rows = ({"question": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(arguments.problems))
            (Path(folder) / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            command = [sys.executable, "-m", "benchmarks.eval_memory", "--child", folder, "--completions", str(count)]
            peak = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        total = count * arguments.problems
        first = first or (total, peak)
        growth = (peak - first[1]) / (total - first[0]) if total > first[0] else 0.0
        print(f"{total:>7,} completions  {peak / 2**20:6.0f} MiB  {growth:6,.0f} bytes a completion", flush=True)
    return None


def evaluate_in(folder: Path, num_completions: int) -> None:
    """Evaluate on the problems in a folder and print the peak of this process in bytes."""
    from distill.config import EvalConfig
    from distill.evals.run import evaluate
    from distill.recipe import load_config

    sets = [
        "backend=benchmarks.eval_memory:Writing",
        f"sampling.num_completions={num_completions}",
        "sampling.temperature=1.0",
        "prompt.format=plain",
    ]
    flags = {"model": "writing", "benchmarks": [str(folder / "sums.jsonl")]}
    evaluate(load_config(EvalConfig, "eval", sets=sets, flags=flags), folder / "out")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main()
