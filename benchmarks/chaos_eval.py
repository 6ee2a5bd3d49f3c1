"""kill -9 at random moments of real evaluations, resumed each time: what is left must equal an uninterrupted one.

    python benchmarks/chaos_eval.py --kills 20

The kills are spread at random over the groups of two benchmarks, each up to 20 ms after a group was stored; the last
one falls while a report is written. After every kill nothing that was stored is lost, changed or stored twice; at the
end reports, completions and verdicts are those of the uninterrupted evaluation, but for the seconds they took.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.evals_chaos import Trial, after, evaluate_with_kills, same_evaluation  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--limit", type=int, default=200, help="problems of each of the two benchmarks")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    places = sorted(draw.sample(range(2 * options.limit), options.kills - 1))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-eval-") as folder:
        whole, killed = Trial(Path(folder) / "whole", options.limit), Trial(Path(folder) / "killed", options.limit)
        evaluate_with_kills(whole, iter(()))
        moments = [*(after(place, draw.uniform(0, 0.02)) for place in places), Trial.is_reporting]
        stored = evaluate_with_kills(killed, iter(moments))
        same_evaluation(whole, killed)
    print(
        f"killed {len(stored)} times, with {stored} of {2 * options.limit} groups stored; equal to the uninterrupted "
        f"evaluation ({time.monotonic() - started:.0f} s)"
    )


if __name__ == "__main__":
    main()
