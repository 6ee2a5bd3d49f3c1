"""How fast verdicts are, beside TRL's ``accuracy_reward`` and plain math-verify on the same texts.

    pip install trl
    python benchmarks/verify.py --data DATA

Reads, below DATA, ``gsm8k/example_model_solutions.jsonl`` (published with GSM8K), ``math/math_test_5000.jsonl`` (the
MATH test set: problem, solution) and ``verify/math_verify_tests.jsonl`` (the cases of math-verify's own tests). The
three take turns on blocks of the same texts. Costs are CPU seconds of the process and its worker, so that a busy
machine changes little. Every gold goes to the other two in a box, the form that math-verify reads best.

It also tells what the layers before the engine cost by themselves (pairs of golds, of which one is the answer, the
other read beforehand), and how many completions of groups of eight are judged per second of one core
(``zeroeval/gsm8k_test_8_models.jsonl.gz``, and MATH solutions against the golds of other problems).

``--processes 1 2 4`` also tells how it scales: the fast path over so many processes, as in a sharded run, and the
engine's set over so many workers of one process. These are wall times; they need as many idle cores.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import multiprocessing
import os
import random
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path

from math_verify import parse
from math_verify import verify as same
from rich.console import Console
from rich.table import Table

from distill.records import Completion, Group, Problem, Prompt, Verdict
from distill.verifiers import Judge
from distill.verifiers.limits import Limits
from distill.verifiers.maths.gold import Gold, read_gold
from distill.verifiers.maths.layers import compare
from distill.verifiers.reading.boxes import complete_boxes
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import Engine
from distill.verifiers.workers.pool import NoWorkerError, Pool

BLOCK = 250
ROUNDS = 10  # of all texts in each process, so that what starts and ends it does not count
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
Case = tuple[str, str]
"""A completion's text and its gold."""
Set = tuple[str, str, tuple[str, ...], list[Case]]
"""Name, kind, markers and cases."""


@dataclass
class Cost:
    """What one grader has spent and said on one set."""

    cpu: float = 0.0
    seconds: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def main() -> None:
    """Run every set and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1_000, help="texts of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, nargs="*", default=[], help="how many to try, for the scaling")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    costs, verdicts = Table(title="cost on the same texts"), Table(title="verdicts side by side")
    for name in ("set", "n", "grader", "CPU ms", "times ours", "p50 ms", "p99 ms", "max ms"):
        costs.add_column(name, justify="left" if name in {"set", "grader"} else "right")
    for name in ("set", "ours", "TRL", "math-verify", "n"):
        verdicts.add_column(name, justify="right" if name == "n" else "left")
    sets = list(read_sets(arguments.data))
    for _, _, _, cases in sets:
        random.Random(arguments.seed).shuffle(cases)
    for name, kind, markers, cases in sets:
        measured = measure(kind, markers, cases[: arguments.limit])
        add_costs(costs, name, measured)
        said = Counter(zip(*(cost.said for cost in measured.values()), strict=True))
        for outcomes, count in said.most_common(6):
            verdicts.add_row(name, *outcomes, str(count))
    console = Console(width=110)
    console.print(costs, verdicts, fast_path(sets), group_rates(arguments.data, sets))
    if arguments.processes:
        console.print(scaling(sets, arguments.processes))
    console.print(json.dumps(Judge.versions()))


def read_sets(data: Path) -> Iterator[Set]:
    """Name, kind, markers and cases of every set."""
    groups = read_rows(data / "gsm8k" / "example_model_solutions.jsonl")
    models = [key for key, value in groups[0].items() if isinstance(value, dict)]
    gsm8k = [
        (row[model]["solution"], row["ground_truth"].rpartition("A:")[2].strip()) for row in groups for model in models
    ]
    yield "GSM8K, completions", "number", ("A:",), gsm8k
    boxed = [(re.sub(r"\nA: (.*)\Z", r"\nSo it is \\boxed{\1}.", text), gold) for text, gold in gsm8k]
    yield "GSM8K, with a box", "number", (), boxed
    solutions = [row["solution"] for row in read_rows(data / "math" / "math_test_5000.jsonl")]
    golds = [complete_boxes(text)[-1].content for text in solutions]
    yield "MATH, own gold", "math", (), list(zip(solutions, golds, strict=True))
    yield "MATH, another's gold", "math", (), list(zip(solutions, golds[1:] + golds[:1], strict=True))
    tests = read_rows(data / "verify" / "math_verify_tests.jsonl")
    yield "math-verify's tests", "math", (), [
        (row["prediction_text"], row["gold"]) for row in tests if isinstance(row["gold"], str)
    ]  # fmt: skip


def read_rows(path: Path) -> list[dict]:
    """All rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def measure(kind: str, markers: tuple[str, ...], cases: list[Case]) -> dict[str, Cost]:
    """The three graders take turns, block by block, on all cases."""
    from trl.rewards import accuracy_reward

    def trl(text: str, gold: str) -> str:
        (reward,) = accuracy_reward([[{"role": "assistant", "content": text}]], [in_box(gold)])
        return {1.0: "correct", 0.0: "0", None: "none"}[reward]

    def library(text: str, gold: str) -> str:
        return "correct" if same(parse(in_box(gold)), parse(text)) else "0"

    with Judge(kind, markers) as judge:

        def ours(text: str, gold: str) -> str:
            return judge.judge(Problem("", "", gold), Completion(text)).outcome.value

        graders: dict[str, Callable[[str, str], str]] = {"distill": ours, "TRL": trl, "math-verify": library}
        costs = {name: Cost() for name in graders}
        for grader in graders.values():
            grader(r"\boxed{x+1}", "1+x")  # imports, grammars and the worker: no part of the comparison
        for start in range(0, len(cases), BLOCK):
            for name, grader in graders.items():
                run_block(grader, cases[start : start + BLOCK], costs[name])
    return costs


def run_block(grader: Callable[[str, str], str], cases: list[Case], cost: Cost) -> None:
    """Judge some cases and add up what they cost."""
    children, own = cpu_of_children(), time.process_time()
    for text, gold in cases:
        begin = time.perf_counter()
        try:
            outcome = grader(text, gold)
        except Exception as error:  # a crash is a result, too
            outcome = type(error).__name__
        cost.seconds.append(time.perf_counter() - begin)
        cost.said.append(outcome)
    cost.cpu += time.process_time() - own
    cost.cpu += cpu_of_children() - children


def cpu_of_children() -> float:
    """CPU time of this process's children; a killed one's is in the times of the reaped."""
    times = os.times()
    total = times.children_user + times.children_system
    for child in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split():
        fields = re.sub(r".*\) ", "", Path(f"/proc/{child}/stat").read_text()).split()
        total += (int(fields[11]) + int(fields[12])) / CLOCK_TICKS
    return total


def fast_path(sets: list[Set]) -> Table:
    """CPU time of the layers before the engine where they decide; half of all golds are answers to the other half."""
    table = Table(title="layers before the engine")
    for name in ("pairs", "n", "decided", "CPU us each"):
        table.add_column(name, justify="left" if name == "pairs" else "right")
    setting = Setting(engine=Engine(pool=Pool(0)))
    for name, _, _, cases in sets:
        if name not in {"GSM8K, completions", "MATH, own gold"}:
            continue
        golds = [gold for _, gold in cases]
        pairs = [(read_gold(gold), answer) for gold, answer in zip(golds, golds[len(golds) // 2 :], strict=False)]
        costs = [cost for gold, answer in pairs if (cost := cost_of_deciding(gold, answer, setting)) is not None]
        table.add_row(name, str(len(pairs)), str(len(costs)), f"{1e6 * statistics.fmean(costs):.1f}")
    return table


def cost_of_deciding(gold: Gold, answer: str, setting: Setting) -> float | None:
    """CPU seconds until one layer before the engine has decided, None where none does."""
    started = time.thread_time()
    try:
        compare(gold, answer, setting)
    except NoWorkerError:
        return None
    return time.thread_time() - started


def group_rates(data: Path, sets: list[Set]) -> Table:
    """Completions per second of CPU, the workers' included, in groups of eight."""
    table = Table(title="groups of eight")
    for name in ("set", "completions", "per second of CPU"):
        table.add_column(name, justify="left" if name == "set" else "right")
    with gzip.open(data / "zeroeval" / "gsm8k_test_8_models.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    eight = [(row["answer"], [completion["text"] for completion in row["completions"]]) for row in rows]
    pairs = next(cases for name, _, _, cases in sets if name == "MATH, another's gold")
    wrong = [(gold, [text for text, _ in pairs[start : start + 8]]) for start, (_, gold) in enumerate(pairs[:4000:8])]
    for name, kind, groups in (("GSM8K, eight models", "number", eight), ("MATH, others' solutions", "math", wrong)):
        with Judge(kind, limits=Limits(workers=1)) as judge:
            judge.judge(Problem("", "", "x+1"), Completion(r"\boxed{1+x}"))
            cpu = time.process_time() + cpu_of_children()
            for gold, texts in groups:
                judge.judge_group(Group(Problem("", "", gold), Prompt((), "plain", ""), tuple(map(Completion, texts))))
            cpu = time.process_time() + cpu_of_children() - cpu
        num_completions = sum(len(texts) for _, texts in groups)
        table.add_row(name, str(num_completions), f"{num_completions / cpu:,.0f}")
    return table


def scaling(sets: list[Set], counts: list[int]) -> Table:
    """Texts per second by the number of processes, and by the number of workers; the faster of two runs each."""
    table = Table(title="scaling")
    for name in ("set", "over", "texts/s", "times first", "CPU ms"):
        table.add_column(name, justify="left" if name in {"set", "over"} else "right")
    (fast, kind, markers, texts), (slow, _, _, pairs) = sets[0], sets[-1]
    by_processes = [max(rate_of_processes(kind, markers, texts, count) for _ in range(2)) for count in counts]
    by_workers = [max(rate_of_workers(pairs, count) for _ in range(2)) for count in counts]
    for name, unit, rates in ((fast, "process(es)", by_processes), (slow, "worker(s)", by_workers)):
        for count, (rate, cpu) in zip(counts, rates, strict=True):
            table.add_row(name, f"{count} {unit}", f"{rate:,.0f}", f"{rate / rates[0][0]:.2f}", f"{1e3 * cpu:.3f}")
    return table


def rate_of_processes(kind: str, markers: tuple[str, ...], cases: list[Case], count: int) -> tuple[float, float]:
    """Texts per second, and CPU seconds per text, of processes that each judge all cases; starting them is left out."""
    context = multiprocessing.get_context("spawn")
    barrier, cpu = context.Barrier(count + 1), context.Value("d", 0.0)
    processes = [context.Process(target=judge_all, args=(kind, markers, cases, barrier, cpu)) for _ in range(count)]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    for process in processes:
        process.join()
    num_texts = count * ROUNDS * len(cases)
    return num_texts / (time.perf_counter() - started), cpu.value / num_texts


def judge_all(
    kind: str, markers: tuple[str, ...], cases: list[Case], barrier: Barrier, cpu: Synchronized[float]
) -> None:
    """Judge every case in this process, from the moment on at which all are ready."""
    with Judge(kind, markers) as judge:
        judge.judge(Problem("", "", "5"), Completion("#### 5"))
        barrier.wait()
        started = time.process_time()
        for text, gold in cases * ROUNDS:
            judge.judge(Problem("", "", gold), Completion(text))
        with cpu.get_lock():
            cpu.value += time.process_time() - started


def rate_of_workers(cases: list[Case], count: int) -> tuple[float, float]:
    """The same of one process that asks so many workers from as many threads."""
    with Judge("math", limits=Limits(workers=count)) as judge, ThreadPoolExecutor(count) as threads:

        def judged(case: Case) -> Verdict:
            return judge.judge(Problem("", "", case[1]), Completion(case[0]))

        list(threads.map(judged, [(rf"\boxed{{x+{number}+y}}", f"y+x+{number}") for number in range(4 * count)]))
        started, cpu = time.perf_counter(), time.process_time() + cpu_of_children()
        list(threads.map(judged, cases))
        cpu = time.process_time() + cpu_of_children() - cpu
        return len(cases) / (time.perf_counter() - started), cpu / len(cases)


def in_box(gold: str) -> str:
    """A gold as math-verify reads it best."""
    return rf"\boxed{{{gold}}}"


def add_costs(table: Table, name: str, measured: dict[str, Cost]) -> None:
    """One row for each grader."""
    base = measured["distill"].cpu
    for grader, cost in measured.items():
        n, ordered = len(cost.seconds), sorted(cost.seconds)
        at = [1e3 * ordered[min(n - 1, int(n * share))] for share in (0.5, 0.99, 1.0)]
        table.add_row(
            name, str(n), grader, f"{1e3 * cost.cpu / n:.3f}", f"{cost.cpu / base:.1f}", *(f"{ms:.2f}" for ms in at)
        )
        name = ""


if __name__ == "__main__":
    main()
