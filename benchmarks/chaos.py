"""kill -9 at random moments of real curation processes, resumed each time: what is lost, doubled, or bought again.

    python benchmarks/chaos.py --kills 50

Checked after every kill: no finished group is lost, stored twice or asked for again, and no more groups are begun for
nothing than may be in flight. Checked of every run that came to its end: its dataset has the bytes of an
uninterrupted run's. The kills of a part are spread evenly over the time an uninterrupted run takes, its start-up and
end included; 'join' and 'entropies' aim at these stages.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

from tests.chaos import Kept, Trial, after, check_session, look, numbered_problems, run_with_kills  # noqa: E402
from tests.curate_parts import write_jsonl  # noqa: E402
from tests.replay_server import Options, ReplayServer  # noqa: E402

IN_FLIGHT = 16
NUM_PROBLEMS = 300
Moment: TypeAlias = Callable[[Trial, float], Callable[[], bool]]
"""When to kill, given the run and how long an uninterrupted one takes."""
FAULTS = Options(latency_seconds=0.25, tail=0.5, failing=0.05, torn=0.01, overflowing=0.01)


@dataclass(slots=True)
class Count:
    """What one part has seen."""

    kills: int = 0
    runs: int = 0
    repeated: int = 0
    """Groups that were in flight at a kill and asked for again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of each part but 'entropies', which gets a fifth")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    arguments = parser.parse_args()
    for name in arguments.only:
        kills = max(1, arguments.kills // 5) if name == "entropies" else arguments.kills
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            count = PARTS[name](Path(folder), kills, random.Random(arguments.seed))
        print(
            f"{name}: {count.kills} kills, {count.runs} runs came to their end equal to an uninterrupted one, 0 groups "
            f"lost, 0 doubled, {count.repeated} in flight were asked for again; {time.monotonic() - started:.0f} s",
            flush=True,
        )


def server(folder: Path, kills: int, chance: random.Random) -> Count:
    """At any moment of a run against a server that answers."""
    return _with_server(folder, kills, chance, Options(latency_seconds=0.25, tail=0.5))


def faults(folder: Path, kills: int, chance: random.Random) -> Count:
    """The same against one that fails, cuts connections and finds prompts too long."""
    return _with_server(folder, kills, chance, FAULTS)


def join(folder: Path, kills: int, chance: random.Random) -> Count:
    """While the dataset is written, from its first byte to its last rename."""

    def begun(trial: Trial, _: float) -> Callable[[], bool]:
        moment: list[float] = []
        wait = chance.uniform(0, 0.1)
        left = _changed_at(trial.out / "dataset.tmp")  # by the session that was killed before

        def happened() -> bool:
            if not moment and _changed_at(trial.out / "dataset.tmp") not in (0, left):
                moment.append(time.monotonic() + wait)
            return bool(moment) and time.monotonic() >= moment[0]

        return happened

    return _rounds(_recorded(folder, NUM_PROBLEMS), kills, None, begun)


def recorded(folder: Path, kills: int, chance: random.Random) -> Count:
    """At any moment of a run over recorded completions."""
    return _rounds(_recorded(folder, 4000), kills, None, lambda _, seconds: after(chance.uniform(0, seconds)))


def entropies(folder: Path, kills: int, chance: random.Random) -> Count:
    """While the tiny teacher measures its entropies."""
    sets = {
        "teacher.model": "tiny-teacher",
        "entropies.mode": "prefill",
        "source.limit": 24,
        "sampling.num_completions": 2,
        "sampling.max_new_tokens": 64,
    }
    trial = Trial(Path("arithmetic"), folder / "run", sets)

    def measured(trial: Trial, _: float) -> Callable[[], bool]:
        wanted = len(trial.stored("entropies")) + chance.randrange(1, 8)
        log = trial.stage("entropies") / "wal.jsonl"
        return lambda: log.exists() and log.read_bytes().count(b"\n") >= wanted

    return _rounds(trial, kills, None, measured)


PARTS: dict[str, Callable[[Path, int, random.Random], Count]] = {
    "server": server,
    "faults": faults,
    "recorded": recorded,
    "join": join,
    "entropies": entropies,
}


def _with_server(folder: Path, kills: int, chance: random.Random, options: Options) -> Count:
    with ReplayServer(options) as replay:
        sets = {
            "teacher.backend": "server",
            "teacher.model": "replay",
            "teacher.base_urls": replay.url,
            "teacher.groups_in_flight": IN_FLIGHT,
            "sampling.num_completions": 4,
            "max_error_rate": 0.5,
        }
        trial = Trial(numbered_problems(folder, NUM_PROBLEMS), folder / "run", sets)
        return _rounds(trial, kills, replay, lambda _, seconds: after(chance.uniform(0, seconds)))


def _recorded(folder: Path, number: int) -> Trial:
    problems = numbered_problems(folder, number)
    rows = (
        {"id": str(index), "completions": [f"\\boxed{{{index**2 + 1}}}", "\\boxed{0}"], "num_tokens": [9, 5]}
        for index in range(number)
    )
    path = write_jsonl(folder / "completions.jsonl", rows)
    sets = {"teacher.backend": "recorded", "teacher.model": "somebody", "recorded.path": path}
    return Trial(problems, folder / "run", sets)


def _rounds(trial: Trial, kills: int, replay: ReplayServer | None, moment: Moment) -> Count:
    """Kill and resume until there were enough kills; a run that comes to its end is checked and begun anew."""
    whole = replace(trial, out=trial.out.with_name("whole"))
    started = time.monotonic()
    assert whole.finish() == 0, whole.said
    seconds = time.monotonic() - started
    count = Count()
    while count.kills < kills:
        own = replace(trial, out=trial.out.with_name(f"run-{count.runs}"))
        _until_its_end(own, kills, replay, partial(moment, own, seconds), count)
        assert own.bytes() == whole.bytes(), "the dataset is another than that of an uninterrupted run"
        count.runs += 1
    return count


def _until_its_end(
    trial: Trial, kills: int, replay: ReplayServer | None, moment: Callable[[], Callable[[], bool]], count: Count
) -> None:
    if replay is not None:
        replay.stats.by_prompt.clear()

    def seen() -> Kept:
        return look(trial, replay) if replay else Kept(trial.stored(), trial.stored())

    def check(before: Kept) -> int:
        return check_session(before, trial, replay, IN_FLIGHT) if replay else _check_stored(before, trial)

    repeated = run_with_kills(trial.started, (moment() for _ in range(kills - count.kills)), seen, check)
    count.kills += len(repeated)
    count.repeated += sum(repeated)


def _changed_at(folder: Path) -> int:
    """When a folder was last changed; 0 where there is none."""
    try:
        return folder.stat().st_ctime_ns
    except FileNotFoundError:
        return 0


def _check_stored(before: Kept, trial: Trial) -> int:
    """Check what is stored; nothing is asked of anybody, so no group is asked for again."""
    now = trial.stored()
    assert not before.stored - now, "a finished group is lost"
    assert max(now.values(), default=1) == 1, "a group is stored twice"
    assert "Traceback" not in trial.said, trial.said
    return 0


if __name__ == "__main__":
    main()
