"""Curation against its peers: 400 problems x 8 completions from one replay server, 512 in flight for everybody.

    python benchmarks/curate.py                     # all of it; the peers are installed on the first use
    python benchmarks/curate.py --only distill "distill, a request for each" --repeats 1

Every contender runs as a process of its own against a server of its own that is just as slow: half a second for every
answer, then a heavy-tailed half second. All judge all completions, and keep their means to resume a killed run on.
Requests are counted by the server, processor seconds by the system, for a contender and all the processes it starts.
Contenders take turns, so that whatever else the machine does meets all of them; medians are given.

The wall time is that of the whole process. Its start-up is the time until the server sees the first request.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

REPOSITORY = Path(__file__).parents[1]
PEERS = REPOSITORY / "benchmarks" / "peers"
REQUIREMENTS = {
    "distilabel": ("distilabel[openai]==1.5.3", "math-verify==0.9.0", "requests", "beautifulsoup4"),
    "bespokelabs-curator": ("bespokelabs-curator==0.1.31", "math-verify==0.9.0"),
    # its extra 'inference' wants vllm and sglang; these are what an endpoint needs of it
    "datatrove": (
        "datatrove[io]==0.10.1", "math-verify==0.9.0", "aiofiles", "aiosqlite", "httpx", "orjson", "uvloop", "xxhash",
    ),
}  # fmt: skip
NUM_COMPLETIONS = 8
GROUPS_IN_FLIGHT = 64
LATENCY_SECONDS = 0.5
LIMIT_SECONDS = 300
NO_LOGPROBS = ("--set", 'teacher.extra_body={"logprobs": null}')
"""What no peer asks for. The ids of all tokens, which distill asks for and keeps, stay: four fifths of an answer."""
FILLER = "Let us look at it once more and compute the next step with care. "


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    package: str
    script: str = ""
    """In ``benchmarks/peers``; none for our own command."""
    arguments: tuple[str, ...] = ()
    """Of the script, or of our command."""
    server: tuple[str, ...] = ()
    """What its server is told."""


CONTENDERS = (
    Contender("distill", "distill-reasoning", arguments=NO_LOGPROBS),
    Contender("distill, a request for each", "distill-reasoning", arguments=NO_LOGPROBS, server=("--refuse", "n")),
    Contender("distill, log-probabilities too", "distill-reasoning", server=("--owner", "vllm")),
    Contender("datatrove, checkpoints", "datatrove", "datatrove_run.py", ("checkpoints",)),
    Contender("datatrove, none", "datatrove", "datatrove_run.py", ("none",)),
    Contender("distilabel", "distilabel", "distilabel_run.py"),
    Contender("curator", "bespokelabs-curator", "curator_run.py"),
)
SCENARIOS = {"0.5 s for every answer": (), "0.5 s on average, heavy-tailed": ("--tail", "1")}


@dataclass(frozen=True, slots=True)
class Measured:
    wall_seconds: float
    startup_seconds: float
    """From the start of the process to its first request."""
    serving_seconds: float
    """From the first request to the end of the last."""
    processor_seconds: float
    requests: int
    max_in_flight: int
    completions: int
    """Judged."""
    correct: int


def main() -> None:
    arguments = _arguments()
    names = arguments.only or [contender.name for contender in CONTENDERS]
    contenders = [contender for contender in CONTENDERS if contender.name in names]
    pythons = {package: _python(package, arguments.venvs) for package in {each.package for each in contenders}}
    lines = [_heading(arguments.problems, arguments.repeats)]
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        write_problems(Path(folder), arguments.problems)
        for scenario, options in SCENARIOS.items():
            found: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
            for turn in range(arguments.repeats):
                for contender in contenders if turn % 2 == 0 else contenders[::-1]:
                    measured = measure(contender, pythons[contender.package], Path(folder), options)
                    found[contender.name].append(measured)
                    print(f"{scenario}, {contender.name}: {measured}", file=sys.stderr, flush=True)
            lines += ["", f"## {scenario}", "", *_table(contenders, found, pythons)]
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


def write_problems(folder: Path, number: int) -> None:
    """problems.jsonl, and completions.jsonl with what the teacher says to each: some 2 kB, seven in ten right.

    Six answers in ten are whole numbers, the others fractions and roots, some of them written in other ways.
    """
    chance = random.Random(0)
    with (folder / "problems.jsonl").open("w") as problems, (folder / "completions.jsonl").open("w") as completions:
        for index in range(number):
            question, answer, forms, wrong = _problem(chance, index)
            texts = []
            for _ in range(NUM_COMPLETIONS):
                said = chance.choice(forms) if chance.random() < 0.7 else wrong
                texts.append(FILLER * chance.randrange(20, 40) + f"The answer is $\\boxed{{{said}}}$.")
            row = {"id": f"made/{index}", "question": question, "answer": answer}
            problems.write(json.dumps(row) + "\n")
            completions.write(json.dumps({"question": question, "completions": texts}) + "\n")


def _problem(chance: random.Random, index: int) -> tuple[str, str, tuple[str, ...], str]:
    """A question, its gold answer, how the teacher may write it, and what it says when it is wrong."""
    first, second = chance.randrange(2, 1000), chance.randrange(2, 1000)
    match index % 10:
        case 0 | 1 | 2:
            top, bottom = 2 * first + 1, 2 ** chance.randrange(1, 5)
            gold = f"\\frac{{{top}}}{{{bottom}}}"
            return f"What is {top} over {bottom}, item {index}?", gold, (gold, f"{top}/{bottom}"), f"{bottom}/{top}"
        case 3:
            gold = f"{first}\\sqrt{{{second}}}"
            forms = (gold, f"\\sqrt{{{second}}}\\cdot {first}")
            return f"Simplify {first} times root {second}, item {index}.", gold, forms, f"{second}\\sqrt{{{first}}}"
        case _:
            gold = str(first * second + index)
            return f"What is {first} times {second}, plus {index}?", gold, (gold,), str(first * second - index - 1)


def measure(contender: Contender, python: Path, folder: Path, options: Sequence[str]) -> Measured:
    """One run of a contender in a new folder."""
    completions = str(folder / "completions.jsonl")
    said = ("--latency", str(LATENCY_SECONDS), "--completions", completions, *options, *contender.server)
    with tempfile.TemporaryDirectory(dir=folder) as out, _server(said) as url:
        log = Path(out) / "log.txt"
        command = _command(contender, python, folder / "problems.jsonl", url, Path(out) / "run")
        started = time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(command, cwd=out, stdout=file, stderr=file, env=_environment())
            status, processor_seconds = _wait(process.pid, started + LIMIT_SECONDS)
        ended = time.monotonic()
        said_last = log.read_text("utf-8", "replace").strip()
        if status:
            raise RuntimeError(f"'{contender.name}' ended with {status}: {said_last[-2000:]}")
        with urlopen(url.removesuffix("/v1") + "/stats") as answer:
            stats = json.loads(answer.read())
        result = _result(contender, Path(out) / "run", said_last)
        return Measured(
            wall_seconds=ended - started,
            startup_seconds=stats["first_at"] - started,
            serving_seconds=stats["last_at"] - stats["first_at"],
            processor_seconds=processor_seconds,
            requests=stats["requests"],
            max_in_flight=stats["max_in_flight"],
            completions=result["completions"],
            correct=round(result["correct"]),
        )


def _command(contender: Contender, python: Path, problems: Path, url: str, out: Path) -> list[str]:
    if contender.script:
        counts = (str(GROUPS_IN_FLIGHT), str(NUM_COMPLETIONS))
        return [str(python), str(PEERS / contender.script), str(problems), url, str(out), *counts, *contender.arguments]
    sets = {
        "teacher.base_urls": url,
        "teacher.groups_in_flight": GROUPS_IN_FLIGHT,
        "sampling.num_completions": NUM_COMPLETIONS,
    }
    options = [option for name, value in sets.items() for option in ("--set", f"{name}={value}")]
    where = ["--backend", "server", "--teacher", "replay", "--out", str(out)]
    return [str(python), "-m", "distill", "curate", str(problems), *where, *options, *contender.arguments]


def _result(contender: Contender, run: Path, said_last: str) -> dict[str, Any]:
    """How many completions were judged, and how many of them are right."""
    if contender.script:
        return dict(json.loads(said_last.splitlines()[-1]))
    outcomes = json.loads((run / "report.json").read_text("utf-8"))["dataset"]["outcomes"]
    return {"completions": sum(outcomes.values()), "correct": outcomes["correct"]}


def _wait(pid: int, deadline: float) -> tuple[int, float]:
    """The status of a process, and the processor time of it and of all it has waited for."""
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        time.sleep(0.005)
    os.kill(pid, 9)
    os.wait4(pid, 0)
    return -9, 0.0


@contextmanager
def _server(options: Sequence[str]) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.replay_server", *options]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def _python(package: str, venvs: Path) -> Path:
    """The interpreter that has a contender; a peer gets a virtual environment of its own."""
    if package not in REQUIREMENTS:
        return Path(sys.executable)
    folder = venvs / package
    python = folder / "bin" / "python"
    if not (folder / "installed").exists():
        print(f"installing {package} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[package]], check=True)
        (folder / "installed").touch()
    return python


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "COLUMNS": "200"}


def _table(
    contenders: Sequence[Contender], found: dict[str, list[Measured]], pythons: dict[str, Path]
) -> Iterator[str]:
    """Medians over the repeats, of the ratios too, which are those of one turn; the spread of the rate in brackets."""
    yield "| | version | requests | most at once | wall s | start-up s | completions/s | without start-up | CPU s |"
    yield "|---|---|---:|---:|---:|---:|---:|---:|---:|"
    for contender in contenders:
        runs = found[contender.name]
        middle = partial(_median, runs)
        rates = sorted(run.completions / run.wall_seconds for run in runs)
        served = statistics.median(run.completions / (run.wall_seconds - run.startup_seconds) for run in runs)
        yield (
            f"| {contender.name} | {_version(contender.package, pythons[contender.package])} "
            f"| {middle('requests'):.0f} | {middle('max_in_flight'):.0f} "
            f"| {middle('wall_seconds'):.1f} | {middle('startup_seconds'):.1f} "
            f"| **{statistics.median(rates):.0f}** ({rates[0]:.0f}-{rates[-1]:.0f}) | {served:.0f} "
            f"| {middle('processor_seconds'):.1f} |"
        )
    yield ""
    ours = found.get("distill")
    for contender in contenders if ours else ():
        if contender.script:
            pairs = list(zip(ours or [], found[contender.name], strict=True))
            wall = statistics.median(other.wall_seconds / own.wall_seconds for own, other in pairs)
            processor = statistics.median(other.processor_seconds / own.processor_seconds for own, other in pairs)
            yield f"- {contender.name}: {wall:.1f} times the wall time of distill, {processor:.1f} times its CPU time"


def _median(runs: Sequence[Measured], name: str) -> float:
    return float(statistics.median(getattr(run, name) for run in runs))


def _version(package: str, python: Path) -> str:
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _heading(problems: int, repeats: int) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"# Curation at speed\n\n`python benchmarks/curate.py` on {datetime.now(UTC):%Y-%m-%d}: {problems} problems x "
        f"{NUM_COMPLETIONS} completions of some 2 kB, {GROUPS_IN_FLIGHT * NUM_COMPLETIONS} in flight, verdicts on all "
        f"of them, means to resume on; medians of {repeats}. {os.cpu_count()} cores, Python "
        f"{sys.version.split()[0]}, load average at the start {load}, the server on the same cores."
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[contender.name for contender in CONTENDERS])
    parser.add_argument("--venvs", type=Path, default=Path(tempfile.gettempdir()) / "distill-peers")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
