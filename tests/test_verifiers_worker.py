"""math-verify in a worker: bounded in time and memory, the same everywhere, and never asked twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.verifiers.maths.math import verify_math
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import Engine, EngineOptions, EngineReply
from distill.verifiers.workers.pool import NoWorkerError, Pool
from distill.verifiers.workers.worker import HAS_CPU_DEADLINE, Worker, WorkerGoneError

EQUAL = EngineReply(True, "engine")
HANGING = "99999999!"

# What hangs or swells in one library or another; each as the content of a box.
HOSTILE = {
    "power tower": "9^{9^{9^{9}}}",
    "bare power tower": "9^9^9",
    "power": r"10^{10^9}",
    "power of a power": r"2^{2^{33}}",
    "factorial": "99999999!",
    "root": r"\sqrt[3]{10^{3000000}+1}",
    "binomial": r"\binom{10^9}{10^8}",
    "towers in brackets": "(5^(5^(5^(5^5))-4)-5)/16",
    "nested braces": "{" * 2000 + "1" + "}" * 2000,
    "many numbers": "1 " * 20_000,
    "product of numbers": "1 " * 900,
    "determinant": r"\det\begin{pmatrix}"
    + r"\\".join("&".join(f"a_{{{i}{j}}}" for j in range(8)) for i in range(8))
    + r"\end{pmatrix}",
    "nested radicals": r"\sqrt{1+" * 49 + "1" + "}" * 49,
    "sum": r"\sum_{k=1}^{10^9} k^k",
    "long literal": "7" * 5000,
    "endless boxes": r"\boxed{x+" * 500,
    "three thousand boxes": r"\boxed{1}" * 3000,
    "dollars": "$" * 20_000,
    "parentheses": "(" * 3000 + ")" * 3000,
    "nested parentheses": "(" * 49 + "1" + ")" * 49,
    "words": "answer " * 5000,
    "exponent": "1e999999999",
    "matrix power": r"\begin{pmatrix}1&2\\3&4\end{pmatrix}^{10^6}",
}
QUICK = ("factorial", "nested braces")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(timeout_seconds=30)
    yield engine
    engine.close()


def only_remembering(engine: Engine) -> Engine:
    """The same memory, and nobody to ask."""
    return Engine(pool=Pool(0), cache=engine.cache)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE]
)
def test_hostile_input_ends_within_its_deadline_and_the_next_check_is_right(name: str, engine: Engine) -> None:
    hurried = Engine(timeout_seconds=0.3 if name in QUICK else 1.0)
    hurried.compare("1", "1")  # starting is no part of a deadline
    for gold in ("x+1",) if name in QUICK else ("x+1", "5", "1/2"):
        started = time.monotonic()
        verdict = verify_math(rf"\boxed{{{HOSTILE[name]}}}", gold, Setting(engine=hurried))
        waited = time.monotonic() - started
        assert verdict.outcome != "correct"
        # Half a second more where the machine is idle; this is no bound on speed.
        assert waited < hurried.timeout_seconds + 10
        assert verify_math(r"\boxed{5.0}", "5", Setting(engine=hurried)).outcome == "correct"
    hurried.close()
    assert engine.compare("x+1", "1+x") == EQUAL


def test_what_was_said_is_remembered_when_the_workers_are_gone() -> None:
    engine = Engine(timeout_seconds=0.3)
    assert engine.compare("x+1", "1+x") == EQUAL
    assert engine.compare("5", HANGING) == EngineReply(None, "timeout")
    engine.close()
    engine.close()
    memory = only_remembering(engine)
    assert memory.compare("x+1", "1+x") == EQUAL
    assert memory.compare("5", HANGING) == EngineReply(None, "timeout")
    with pytest.raises(NoWorkerError):
        memory.compare("x+1", "1+x", EngineOptions(strict=False))
    assert engine.compare("x+2", "2+x") == EQUAL  # by a new worker
    engine.close()


def test_a_dangerous_sign_shortens_the_deadline() -> None:
    engine = Engine(timeout_seconds=600, danger_seconds=0.2)
    assert engine.compare("5", HANGING).reason == "timeout"
    engine.close()


@pytest.mark.skipif(not HAS_CPU_DEADLINE, reason="no clock of processor time here")
def test_the_shorter_deadline_is_of_processor_time() -> None:
    worker = Worker(2048)
    resting = {"text": "0.5", "gold": "", "cpu_seconds": 0.25}
    assert worker.ask("tests.user_verifiers:rest", resting, 600)["outcome"] == "correct"
    with pytest.raises(WorkerGoneError, match="timeout"):
        worker.ask("tests.user_verifiers:hang", {"text": "", "gold": "", "cpu_seconds": 0.2}, 600)
    assert not worker.is_usable


@pytest.mark.skipif(not HAS_CPU_DEADLINE, reason="no clock of processor time here")
def test_a_deadline_of_processor_time_ends_with_its_check() -> None:
    worker = Worker(2048)
    quick = {"text": "2", "gold": "", "cpu_seconds": 0.2}
    assert worker.ask("tests.user_verifiers:is_even", quick, 600)["outcome"] == "correct"
    with pytest.raises(WorkerGoneError, match="timeout"):  # of the time that passes
        worker.ask("tests.user_verifiers:hang", {"text": "", "gold": ""}, 0.5)
    assert worker.process.returncode == -signal.SIGKILL


def test_that_a_worker_died_is_forgotten(engine: Engine) -> None:
    engine.compare("1", "1")
    killer = threading.Timer(0.2, engine.pool._workers[0].process.kill)
    killer.start()
    text = rf"\sqrt[3]{{10^{{3000000}}+1}} + {HANGING}"
    assert engine.compare("5", text) == EngineReply(None, "worker_died")
    killer.join()
    assert engine.compare("5", text).reason == "timeout"  # asked again
    assert engine.compare("x+5", "5+x") == EQUAL


def test_threads_that_ask_the_same_at_once_cost_one_check() -> None:
    engine = Engine(timeout_seconds=30, pool=Pool(4))
    with ThreadPoolExecutor(8) as threads:
        replies = set(threads.map(lambda _: engine.compare("(x+1)^2", "x^2+2x+1"), range(16)))
    assert replies == {EQUAL}
    assert [worker.num_checks for worker in engine.pool._workers] == [1]
    engine.close()


def test_threads_share_an_engine() -> None:
    engine = Engine(timeout_seconds=30, pool=Pool(2))
    pairs = [(f"x+{number}", f"{number}+x" if number % 2 else "x") for number in range(20, 32)]
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda pair: engine.compare(*pair), pairs))
    assert [bool(reply.equal) for reply in replies] == [number % 2 == 1 for number in range(20, 32)]
    engine.close()


def test_the_guard_on_magnitudes_is_an_option(engine: Engine) -> None:
    gold, answer = r"\frac{1}{2^{99}}", r"\frac{1}{2^{98}}"
    assert engine.compare(gold, answer) == EngineReply(False, "guard:magnitude")
    assert engine.compare(gold, answer, EngineOptions(guard_magnitude=False)) == EQUAL
    assert engine.compare(gold, answer, EngineOptions(relative_tolerance=1)) == EQUAL


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on address space binds on Linux")
def test_the_smallest_memory_that_a_recipe_may_give_is_enough() -> None:
    engine = Engine(timeout_seconds=30, pool=Pool(1, memory_mb=256))
    assert engine.compare("x+1", "1+x") == EQUAL
    engine.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on address space binds on Linux")
def test_the_child_is_bounded_in_memory_and_in_processor_time_and_survives_every_error() -> None:
    """In a process of its own: the limits cannot be lifted again."""
    code = (
        "import os, resource\n"
        "from distill.verifiers.workers import worker_process as child\n"
        "child.limit_memory(2048)\n"
        "tasks = {'fill': lambda request: {'reason': str(len(bytearray(request['bytes'])))}}\n"
        "assert child.answer({'task': 'fill', 'seconds': 60, 'bytes': 10}, tasks) == {'reason': '10'}\n"
        "assert child.answer({'task': 'fill', 'seconds': 60, 'bytes': 3 << 30}, tasks) == {'reason': 'memory'}\n"
        "assert child.answer({'task': 'fill', 'seconds': 5, 'bytes': 10}, tasks) == {'reason': '10'}\n"
        "assert 7 * os.cpu_count() <= resource.getrlimit(resource.RLIMIT_CPU)[0] < 30 + 7 * os.cpu_count()\n"
        "for error in (SystemExit(), KeyboardInterrupt(), RecursionError(), ValueError()):\n"
        "    def fail(request):\n"
        "        raise error\n"
        "    said = child.answer({'task': 'fail', 'seconds': 60}, {'fail': fail})\n"
        "    assert said == {'reason': 'engine_error', 'error': type(error).__name__}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "5\x00", "\udcff x", "\r\n", "é", "١"])
def test_odd_characters_come_through_the_pipe(engine: Engine, text: str) -> None:
    assert engine.compare("x+1", text).equal in {None, False}
    assert engine.compare("x+8", "8+x") == EQUAL


def test_a_worker_without_math_verify_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "math_verify.py"
    broken.write_text("raise ImportError('no antlr here')\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(DistillError, match="math-verify cannot be used: ImportError: no antlr here") as caught:
        Engine().compare("x", "y")
    assert "pip install" in caught.value.hint
