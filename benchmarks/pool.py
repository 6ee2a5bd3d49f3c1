"""What the worker pool costs: a simple check, a replacement after a kill, throughput by workers, memory.

Run as ``python benchmarks/pool.py``; about a minute. Wall time is given as a median, which a busy machine
disturbs least, and beside it the processor time of both sides.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from distill.verifiers.workers.engine import TASK, Engine
from distill.verifiers.workers.pool import Pool

BOMBS = (
    "9^{9^{9^{9}}}", r"2^{2^{33}}", "99999999!", r"\sqrt[3]{10^{3000000}+1}", r"\binom{10^9}{10^8}",
    r"\sum_{k=1}^{10^9} k^k", "(5^(5^(5^(5^5))-4)-5)/16", r"\sqrt{1+" * 49 + "1" + "}" * 49,
)  # fmt: skip
NAMES = "abcdefghjkmnpqrstuvwxyz"


def numbers(count: int) -> Iterator[tuple[str, str]]:
    """Simple checks: a number with a number, of which no two are the same."""
    return ((str(number), str(number + 1)) for number in range(7, 7 + count))


def formulas(count: int) -> Iterator[tuple[str, str]]:
    """Equal formulas of two terms, of which no two are the same."""
    return ((f"{NAMES[number % 23]}+{number}", f"{number}+{NAMES[number % 23]}") for number in range(count))


def seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def processor_seconds(engine: Engine) -> float:
    """Of this process and of its children."""
    ticks = 0
    for worker in engine.pool._workers:
        fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / 100


def resident_mb(engine: Engine) -> float:
    pages = int(Path(f"/proc/{engine.pool._workers[0].process.pid}/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def round_trip(count: int) -> None:
    pool = Pool(1)
    trips = [seconds(lambda: pool.ask("operator:eq", {"text": "a", "gold": "a"}, 3.0)) for _ in range(count)]
    print(f"round trip without any check: median {statistics.median(trips) * 1e3:.3f} ms")
    pool.close()


def checks(name: str, pairs: list[tuple[str, str]]) -> None:
    engine = Engine(pool=Pool(1))
    engine.compare("1", "1")
    before = processor_seconds(engine)
    waits = [seconds(partial(engine.compare, *pair)) for pair in pairs]
    spent = (processor_seconds(engine) - before) / len(pairs)
    print(f"{name}, never seen before: median {statistics.median(waits) * 1e3:.2f} ms, {spent * 1e3:.2f} ms of CPU")
    engine.close()


def replacements(count: int) -> None:
    engine = Engine(pool=Pool(1))
    engine.compare("1", "1")
    waits, spent = [], []
    for pair in numbers(count):
        worker = engine.pool._workers[0]
        worker.kill()
        worker.process.wait()
        waits.append(seconds(partial(engine.compare, *pair)))
        spent.append(processor_seconds(engine) - time.process_time())
    print(
        f"killed, and the next answer there: {statistics.median(waits):.2f} s, {statistics.median(spent):.2f} s of CPU"
    )
    engine.close()


def overruns(deadline: float) -> None:
    engine = Engine(deadline, pool=Pool(1))
    engine.compare("1", "1")
    over = []
    for bomb in BOMBS:
        for gold in ("5", "x+1"):
            over.append(seconds(partial(engine.compare, gold, bomb)) - deadline)
            engine.pool.make_ready(TASK)
    print(f"{len(over)} bombs: ended at most {max(over):.2f} s after a deadline of {deadline:.0f} s")
    engine.close()


def throughput(workers: int, pairs: list[tuple[str, str]]) -> None:
    engine = Engine(pool=Pool(workers))

    def compare(pair: tuple[str, str]) -> object:
        return engine.compare(*pair)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(compare, numbers(20 * workers)))  # all are started
        waited = seconds(lambda: list(threads.map(compare, pairs)))
    print(f"{workers} worker(s): {len(pairs) / waited:,.0f} checks per second")
    engine.close()


def memory(count: int) -> None:
    engine = Engine(pool=Pool(1))
    for number, pair in enumerate(formulas(count)):
        engine.compare(*pair)
        if number in {0, count // 4, count // 2, count - 1}:
            print(f"a worker holds {resident_mb(engine):.0f} MB after {number + 1:,} checks")
    engine.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="checks per measurement")
    arguments = parser.parse_args()
    round_trip(arguments.count)
    checks("number with number", list(numbers(arguments.count)))
    checks("formula of two terms", list(formulas(arguments.count)))
    replacements(12)
    overruns(1.0)
    for workers in (1, 2):
        throughput(workers, list(formulas(arguments.count)))
    memory(2 * arguments.count)
