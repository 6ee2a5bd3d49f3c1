"""The killable worker: bounded in time and memory, from threads, daemonic and forked processes alike."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.verifiers import worker
from distill.verifiers.engine import Engine, EngineReply
from distill.verifiers.math import verify_math
from distill.verifiers.setting import Setting

EQUAL = EngineReply(True, "engine")

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


def test_the_worker_starts_when_it_is_first_asked_and_ends_when_it_is_closed() -> None:
    engine = Engine()
    assert engine._worker is None
    assert engine.compare("x+1", "1+x") == EQUAL
    assert engine._worker is not None
    process = engine._worker.process
    engine.close()
    assert process.returncode is not None
    assert engine.compare("x+1", "1+x") == EQUAL  # remembered
    assert engine.compare("x+2", "2+x") == EQUAL  # and a new worker
    engine.close()
    engine.close()


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
        assert (
            waited < hurried.timeout_seconds + 10
        )  # half a second where the machine is idle; this is no bound on speed
        assert verify_math(r"\boxed{5.0}", "5", Setting(engine=hurried)).outcome == "correct"
    hurried.close()
    assert engine.compare("x+1", "1+x") == EQUAL


def test_a_hanging_check_is_remembered_as_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(timeout_seconds=0.2)
    assert engine.compare("5", "99999999!").reason == "timeout"
    assert engine._worker is None
    monkeypatch.setattr(engine, "_ask", None)  # nobody may be asked again
    assert engine.compare("5", "99999999!") == EngineReply(None, "timeout")


def test_a_dangerous_sign_shortens_the_deadline() -> None:
    engine = Engine(timeout_seconds=600, danger_seconds=0.2)
    assert engine.compare("5", "99999999!").reason == "timeout"
    engine.close()


def test_a_worker_that_dies_while_idle_is_replaced_without_a_word(engine: Engine) -> None:
    assert engine.compare("x+3", "3+x") == EQUAL
    assert engine._worker is not None
    engine._worker.process.kill()
    engine._worker.process.wait()
    assert engine.compare("x+4", "4+x") == EQUAL


def test_a_worker_that_dies_at_work_makes_the_check_unverified(engine: Engine) -> None:
    engine.compare("1", "1")
    assert engine._worker is not None
    killer = threading.Timer(0.2, engine._worker.process.kill)
    killer.start()
    reply = engine.compare("5", r"\sqrt[3]{10^{3000000}+1} + 99999999!")
    killer.join()
    assert reply == EngineReply(None, "worker_died")
    assert (
        engine.compare("5", r"\sqrt[3]{10^{3000000}+1} + 99999999!").reason == "timeout"
    )  # asked again, not remembered
    assert engine.compare("x+5", "5+x") == EQUAL


def test_an_interrupt_leaves_no_stale_reply_behind(engine: Engine) -> None:
    engine.compare("1", "1")
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        engine.compare("5", "88888888!")
    timer.join()
    assert engine.compare("2", "3") == EngineReply(False, "engine")


def test_threads_share_an_engine(engine: Engine) -> None:
    replies: dict[int, EngineReply] = {}

    def ask(number: int) -> None:
        replies[number] = engine.compare(f"x+{number}", f"{number}+x" if number % 2 else "x")

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20, 32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number for number, reply in replies.items() if reply.equal} == set(range(21, 32, 2))


def _ask_in_child(queue: multiprocessing.Queue[tuple[bool | None, str]]) -> None:
    engine = Engine(timeout_seconds=30, danger_seconds=0.3)
    reply, bomb = engine.compare("x+7", "7+x"), engine.compare("5", "99999999!")
    engine.close()
    queue.put((reply.equal, bomb.reason))


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_a_daemonic_process_has_a_worker_of_its_own(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue: multiprocessing.Queue[tuple[bool | None, str]] = context.Queue()
    process = context.Process(target=_ask_in_child, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=120) == (True, "timeout")
    process.join()


def test_a_forked_process_does_not_talk_to_its_parents_worker() -> None:
    """In a process of its own, since this one has threads."""
    code = (
        "import os\n"
        "from distill.verifiers.engine import Engine\n"
        "engine = Engine(timeout_seconds=30)\n"
        "assert engine.compare('x+1', '1+x').equal\n"
        "parents = engine._worker.process.pid\n"
        "engine._lock.acquire()  # as when another thread has just asked something\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert engine.compare('x+2', '2+x').equal and engine._worker.process.pid != parents\n"
        "    engine.close()\n"
        "    raise SystemExit(0)\n"
        "engine._lock.release()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert engine._worker.process.poll() is None, 'the child ended the worker of its parent'\n"
        "assert engine.compare('x+3', '3+x').equal and engine._worker.process.pid == parents\n"
        "engine.close()\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)


def test_a_forgotten_engine_takes_its_worker_along() -> None:
    engine = Engine(timeout_seconds=30)
    engine.compare("1", "1")
    assert engine._worker is not None
    process = engine._worker.process
    del engine
    assert process.returncode is not None


def test_a_process_that_ends_leaves_no_worker_behind() -> None:
    code = (
        "from distill.verifiers.engine import Engine\ne = Engine(30)\ne.compare('1', '1')\nprint(e._worker.process.pid)"
    )
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(ProcessLookupError):
        os.kill(int(result.stdout), 0)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on address space binds on Linux")
def test_the_child_is_bounded_in_memory_and_in_processor_time_and_survives_every_error() -> None:
    """In a process of its own: the limits cannot be lifted again."""
    code = (
        "import resource\n"
        "from distill.verifiers import engine_process as child\n"
        "child._limit_memory()\n"
        "child.compare = lambda request: {'reason': str(len(bytearray(request['bytes'])))}\n"
        "assert child.answer({'bytes': 10}) == {'reason': '10'}\n"
        "assert child.answer({'bytes': 3 << 30}) == {'reason': 'memory'}\n"
        "assert child.answer({'bytes': 10, 'seconds': 5}) == {'reason': '10'}\n"
        "assert 5 <= resource.getrlimit(resource.RLIMIT_CPU)[0] < 30\n"
        "for error in (SystemExit(), KeyboardInterrupt(), RecursionError(), ValueError()):\n"
        "    def compare(request):\n"
        "        raise error\n"
        "    child.compare = compare\n"
        "    assert child.answer({}) == {'reason': 'engine_error', 'error': type(error).__name__}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ["\x00", "\ud800", "5\x00", "\udcff x", "\r\n", "é", "١"])
def test_odd_characters_come_through_the_pipe(engine: Engine, text: str) -> None:
    assert engine.compare("x+1", text).equal in {None, False}
    assert engine.compare("x+8", "8+x") == EQUAL


def test_a_worker_that_cannot_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MODULE", "distill.verifiers.no_such_module")
    with pytest.raises(DistillError, match="did not start") as caught:
        Engine().compare("x", "y")
    assert "distill.verifiers.no_such_module" in caught.value.hint


def test_a_worker_without_math_verify_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "math_verify.py"
    broken.write_text("raise ImportError('no antlr here')\n", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(DistillError, match="math-verify cannot be used: ImportError: no antlr here") as caught:
        Engine().compare("x", "y")
    assert "pip install" in caught.value.hint
