"""kill -9 at random moments of real training runs, resumed each time: what is left must equal an uninterrupted run.

    python benchmarks/chaos_train.py --kills 30

A third of the kills falls while a checkpoint is written, one while the student is, the others after a random number of
steps. After every kill a checkpoint can be loaded that is no older than the one before; at the end losses and weights
are those of the uninterrupted run, bit for bit. Trained are adapters with dropout, and all weights with both guards.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.train_chaos import after_steps, same_run, train_with_kills, while_finishing, while_saving  # noqa: E402
from tests.train_fixtures import tiny_config  # noqa: E402

STEPS_PER_EPOCH, EPOCHS = 3, 40
WAYS: dict[str, dict[str, Any]] = {
    "lora": {"lora": {"rank": 4, "dropout": 0.3}},
    "full": {"low_entropy_mask": {"percent": 20, "entropy_source": "student"}, "slow_tuning": 0.5},
}


def moments(kills: int, draw: random.Random) -> Iterator[Callable[[Path], bool]]:
    """When to kill, in the order of a run."""
    places = sorted(draw.sample(range(1, STEPS_PER_EPOCH * EPOCHS), kills - 1))
    for place in places:
        reached = after_steps(place)
        is_saving = draw.random() < 1 / 3
        yield lambda out, reached=reached, is_saving=is_saving: reached(out) and (not is_saving or while_saving(out))  # type: ignore[misc]
    yield while_finishing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="of all ways together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, changes in WAYS.items():
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-train-") as folder:
            config = tiny_config(Path(folder), epochs=EPOCHS, save_every=1, **changes)
            train_with_kills(config, Path(folder) / "whole", iter(()))
            draw = random.Random(options.seed)
            killed = train_with_kills(config, Path(folder) / "killed", moments(options.kills // len(WAYS), draw))
            same_run(Path(folder) / "whole", Path(folder) / "killed")
        print(
            f"{name}: killed {len(killed)} times, after steps {killed}; equal to the uninterrupted run "
            f"({time.monotonic() - started:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
