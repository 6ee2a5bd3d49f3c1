"""Both papers in miniature: every rung on several seeds, then the tables and figures of docs/ladder.md.

    python -m benchmarks.ladder            # the tables and figures; `make ladder`
    python -m benchmarks.ladder --full     # ablations of the open points, too; `make ladder-full`

What is finished is not done again, so a ladder that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.ladder.climb import climb, prepare_all, use_one_thread
from benchmarks.ladder.rungs import FULL, SHORT, UNTRAINED, Rung

SEEDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ablations, too")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rungs at a time, one thread each")
    parser.add_argument("--only-write", action="store_true", help="write tables and figures of what is finished")
    options = parser.parse_args()
    if not options.only_write:
        climb_all(FULL if options.full else SHORT, range(options.seeds), options.out, options.jobs)

    from benchmarks.ladder.pages import write_pages

    write_pages(options.out, range(options.seeds))


def climb_all(rungs: tuple[Rung, ...], seeds: range, out: Path, jobs: int) -> None:
    """Climb every rung on every seed, several at a time; models that are not trained once."""
    work = [(rung, seed) for rung in rungs for seed in (seeds[:1] if rung in UNTRAINED else seeds)]
    presets = sorted({rung.preset for rung in rungs} - {""})
    started, spawn = time.monotonic(), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=spawn, initializer=use_one_thread) as pool:
        for prepared in as_completed([pool.submit(prepare_all, seed, presets, out) for seed in seeds]):
            prepared.result()
        climbing = {pool.submit(climb, rung, seed, out): (rung, seed) for rung, seed in work}
        for done, future in enumerate(as_completed(climbing), start=1):
            future.result()
            rung, seed = climbing[future]
            minutes = (time.monotonic() - started) / 60
            print(f"{done} of {len(work)}, {minutes:.1f} min: {rung.title}, seed {seed}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
