"""Time and peak memory of 'distill inspect' by the number of completions, on datasets made for it.

    python benchmarks/inspect_dataset.py --groups 750 7500 75000

Eight completions a group, 300 tokens each on average, with texts, token ids, log-probabilities and entropies. Every
command runs in a process of its own, start-up included, and once before it is measured, so that the files are in the
system's cache. Prints the seconds and the peak resident memory of the process, the pages of the dataset's files that
it maps among it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from distill.curate.join import write_batches
from distill.schema import SCHEMA_VERSION, arrow_schema, dataset_columns

N = 8
PARTS = ("cosine", "format")
MEAN_TOKENS, MAX_TOKENS = 300, 2048
GROUPS_PER_BATCH = 64
TEXT = "We add the two numbers, carry the one, and check the sum once more. " * 150
COMMANDS = {
    "overview": (),
    "filtered": ("--where", "pass_rate < 0.5 and kept"),
    "sorted": ("--sort", "-tokens_mean"),
    "page": ("--html", "page.html"),
}


def main() -> None:
    """Make every size and print one line for each command on it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, nargs="+", default=[750, 7_500, 75_000])
    parser.add_argument("--keep", type=Path, help="Leave the datasets in this folder, and take those that stand there.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for groups in arguments.groups:
            dataset = (arguments.keep or Path(folder)) / f"groups-{groups}"
            if not dataset.exists():
                dataset.mkdir(parents=True)
                write_batches(synthetic(groups), arrow_schema(dataset_columns(PARTS)), dataset, "synthetic")
            for name, options in COMMANDS.items():
                seconds, peak = measured(["inspect", str(dataset), *options], Path(folder))
                print(f"{groups * N:>9,} completions  {name:<9} {seconds:6.2f} s  {peak:6.0f} MiB", flush=True)


def measured(arguments: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds and MiB of the second of two runs."""
    seconds, peak = 0.0, 0.0
    for _ in range(2):
        begin = time.perf_counter()
        running = subprocess.Popen([sys.executable, "-m", "distill", *arguments], cwd=folder, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(running.pid, 0)
        seconds, peak = time.perf_counter() - begin, usage.ru_maxrss / 1024
        running.returncode = os.waitstatus_to_exitcode(status)
        if running.returncode:
            raise SystemExit(f"'distill {' '.join(arguments)}' ended with status {running.returncode}")
    return seconds, peak


def synthetic(groups: int) -> Iterator[pa.RecordBatch]:
    """Groups of which harder ones are solved less often and answered at greater length."""
    schema = arrow_schema(dataset_columns(PARTS))
    for start in range(0, groups, GROUPS_PER_BATCH):
        number = min(GROUPS_PER_BATCH, groups - start)
        columns = synthetic_columns(np.random.default_rng(start), start, number)
        yield pa.record_batch([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def synthetic_columns(random: np.random.Generator, start: int, groups: int) -> dict[str, pa.Array]:
    """The columns of some groups, each a function of where they start."""
    completions = groups * N
    solved = random.beta(1.2, 0.8, (groups, 1))
    correct = random.random((groups, N)) < solved
    tokens = np.minimum(
        random.lognormal(np.log(MEAN_TOKENS) - 0.18 + 0.8 * (0.6 - solved), 0.6, (groups, N)), MAX_TOKENS
    )
    tokens = np.maximum(tokens, 4).astype(np.int32)
    cosine = np.where(correct, 0.5 + 0.5 * np.cos(np.pi * tokens / MAX_TOKENS), -1.5 + tokens / MAX_TOKENS)
    form = (random.random((groups, N)) < 0.95).astype(np.float32)
    rewards = (cosine + form).astype(np.float32)
    spread = rewards.std(axis=1, keepdims=True)
    advantages = (rewards - rewards.mean(axis=1, keepdims=True)) / (spread + 1e-4)
    outcome = np.where(correct, "correct", np.where(tokens == MAX_TOKENS, "no_answer", "incorrect")).ravel()
    reasons = np.where(correct, "number", np.where(tokens == MAX_TOKENS, "truncated", "engine")).ravel()
    ends = np.concatenate([[0], np.cumsum(tokens.ravel())]).astype(np.int32)
    total = int(ends[-1])
    entropies = random.exponential(0.25, total).astype(np.float16)
    starts = pa.array(np.arange(0, completions + 1, N, dtype=np.int32))
    solved_groups = correct.any(axis=1)

    def listed(values: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(starts, values)

    def by_token(values: np.ndarray) -> pa.Array:
        return listed(pa.ListArray.from_arrays(pa.array(ends), pa.array(values)))

    def repeated(value: object) -> pa.Array:
        return pa.array([value] * groups)

    none = pa.ListArray.from_arrays(pa.array(np.zeros(completions + 1, np.int32)), pa.array([], pa.float16()))
    numbers = range(start, start + groups)
    return {
        "id": pa.array([f"made/train/{number:06d}" for number in numbers]),
        "index": pa.array(numbers),
        "source": repeated("made"),
        "verifier": repeated("math"),
        "prompt": repeated([{"role": "user", "content": "What is the sum?"}]),
        "prompt_format": repeated("chat"),
        "prompt_text": repeated("What is the sum?"),
        "prompt_ids": repeated([1, 2, 3]),
        "prompt_opens_think": repeated(False),
        "question": pa.array([f"What is {number} + {number + 1}?" for number in numbers]),
        "answer": pa.array([str(2 * number + 1) for number in numbers]),
        "options": repeated([""]),
        "solution": repeated(""),
        "metadata": repeated("{}"),
        "completions": listed(pa.array([TEXT[: 4 * length] for length in tokens.ravel()])),
        "completion_ids": by_token(random.integers(0, 150_000, total, np.int32)),
        "token_logprobs": by_token(-entropies),
        "token_entropies": by_token(entropies),
        "entropy_lower": listed(none),
        "entropy_upper": listed(none),
        "finish_reasons": listed(pa.array(np.where(tokens.ravel() == MAX_TOKENS, "length", "stop"))),
        "seeds": listed(pa.array(np.arange(completions))),
        "models": listed(pa.array(["made-teacher"] * completions)),
        "num_tokens": listed(pa.array(tokens.ravel())),
        "teacher": repeated("made-teacher"),
        "tokenizer_fingerprint": repeated("made"),
        "entropy_kind": repeated("exact"),
        "outcomes": listed(pa.array(outcome)),
        "scores": listed(pa.array(correct.ravel().astype(np.float32))),
        "extracted_answers": listed(pa.array(["1"] * completions)),
        "verdict_reasons": listed(pa.array(reasons)),
        "rewards": listed(pa.array(rewards.ravel())),
        "advantages": listed(pa.array(advantages.ravel())),
        "num_correct": pa.array(correct.sum(axis=1)),
        "pass_rate": pa.array(correct.mean(axis=1)),
        "reward_mean": pa.array(rewards.mean(axis=1)),
        "reward_std": pa.array(spread.ravel()),
        "kept": pa.array(solved_groups),
        "drop_reason": pa.array(np.where(solved_groups, "", "no_correct")),
        "reward_cosine": listed(pa.array(cosine.ravel())),
        "reward_format": listed(pa.array(form.ravel())),
        "entropy_mean": pa.array(np.full(groups, 0.25)),
        "logprob_mismatch": pa.nulls(groups),
        "logprob_mismatch_max": pa.nulls(groups),
        "run_id": repeated("synthetic"),
        "schema_version": repeated(SCHEMA_VERSION),
    }


if __name__ == "__main__":
    main()
