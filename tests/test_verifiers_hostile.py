"""No completion and no gold can run code, hang, crash or swell a verifier, or pass for an answer that it does not state.

``hostile.py`` builds the completions.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill import text_metrics
from distill.errors import DistillError
from distill.records import Completion, Outcome, Problem
from distill.registry import REGISTRY
from distill.verifiers import Judge, gold_problem, verify
from distill.verifiers.judge import verify_with
from distill.verifiers.limits import Limits
from distill.verifiers.maths.rendering import engine_pair
from distill.verifiers.reading.extract import answer_region
from distill.verifiers.reading.statements import math_statement
from distill.verifiers.setting import Setting
from distill.verifiers.workers.engine import Engine
from tests import hostile
from tests.hostile import NOWHERE_STATED, NUL, POP, RIGHT_TO_LEFT, ZERO_WIDTH

pytestmark = pytest.mark.slow

KINDS = tuple(kind for kind in REGISTRY["verifiers"] if kind != "code")
READS_NO_GOLD = {"format", "refusal"}
"""Kinds for which a completion that says nothing of the gold may be right."""
GOLDS = {
    "math": (NOWHERE_STATED, rf"x+{NOWHERE_STATED}", rf"({NOWHERE_STATED}, \infty)", "zebra", f"1,{NOWHERE_STATED}"),
    "choice": ("Z",),
}
OPTIONS = tuple(f"option {letter}" for letter in "abcdefghijklmnopqrstuvwxyz")
INTEGERS = ("python", "gmpy") if importlib.util.find_spec("gmpy2") else ("python",)
"""What sympy counts with: other formulas hang where gmpy2 is installed."""
WORST = ("power tower", "factorial", "binomial", "root")
"""Bombs on which libraries and gmpy2 differ, which are tried as gold as well, and with either kind of integers."""
MAX_MEMORY_MB = 2048
CPU_SECONDS = 2.0
"""For a completion that takes less than a tenth of it: slow machines pass, and what is quadratic takes many seconds."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(timeout_seconds=0.5)
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=INTEGERS)
def hurried(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """A judge of two workers with little time, whose sympy counts with integers of one kind."""
    with pytest.MonkeyPatch.context() as patch, Judge(limits=Limits(timeout_seconds=0.3, workers=2)) as judge:
        patch.setenv("SYMPY_GROUND_TYPES", request.param)
        yield judge


def test_the_suite_holds_two_hundred_distinct_completions() -> None:
    texts = [rf"\boxed{{{bomb}}}" for bomb in hostile.bombs().values()]
    texts += [*hostile.PAYLOADS.values(), *hostile.completions().values()]
    texts += [text for _, _, text, _ in LOOK_ALIKES]
    assert len(set(texts)) >= 380
    assert not any(NOWHERE_STATED in text for text in texts)


# Nothing is executed.


@pytest.mark.parametrize("name", hostile.PAYLOADS)
def test_no_payload_is_executed_as_answer_gold_option_or_marker(name: str, engine: Engine, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    payload = hostile.payload(name, marker)
    setting = Setting(engine=engine, options=("x", payload), markers=("A:", payload), flexible=True)
    for kind in KINDS:
        for frame in hostile.FRAMES:
            verify_with(kind, frame % payload, "x+1", setting)
        verify_with(kind, r"\boxed{x+1}", payload, setting)
    engine.compare(*engine_pair(payload, "x+1"))
    engine.compare("x+1", payload)
    text_metrics.template_parts(payload)
    assert not marker.exists()


def test_the_marker_would_have_been_seen(tmp_path: Path) -> None:
    """The same call, executed: the test above would fail for a grader that evaluates text."""
    marker = tmp_path / "executed"
    exec(f"open('{marker}', 'w').close()")
    assert marker.exists()


def test_no_payload_is_executed_when_golds_are_checked_before_sampling(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    with Judge(limits=Limits(timeout_seconds=0.5)) as judge:
        for name in hostile.PAYLOADS:
            for kind in KINDS:
                gold_problem(Problem("1", "?", hostile.payload(name, marker)), kind, judge)
    assert not marker.exists()


def test_code_is_not_run_unless_it_was_allowed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    with pytest.raises(DistillError):
        verify(f"```python\nopen('{marker}', 'w')\n```", "assert True", "code")
    assert not marker.exists()


# Nothing raises, hangs, or passes for what it does not say.


@pytest.mark.parametrize("name", hostile.completions())
def test_an_odd_completion_gets_a_verdict_in_time_and_is_never_right(name: str, engine: Engine) -> None:
    text = hostile.completions()[name]
    for kind in KINDS:
        for flexible in (False, True):
            setting = Setting(OPTIONS, ("A:",), engine=engine, flexible=flexible)
            golds = GOLDS.get(kind, (NOWHERE_STATED,))
            for gold in golds[:1] if flexible else golds:
                started = time.thread_time()
                verdict = verify_with(kind, text, gold, setting)
                assert time.thread_time() - started < CPU_SECONDS, kind
                assert verdict.outcome is not Outcome.CORRECT or kind in READS_NO_GOLD
                assert verdict.reason not in {"worker_died", "memory"}
    started = time.thread_time()
    text_metrics.template_parts(text)
    text_metrics.repeated_phrases(text)
    text_metrics.ngram_repetition(text)
    assert time.thread_time() - started < CPU_SECONDS


@pytest.mark.parametrize("name", hostile.completions())
def test_an_odd_gold_gets_a_verdict_in_time(name: str, engine: Engine) -> None:
    gold = hostile.completions()[name]
    for kind in KINDS:
        started = time.thread_time()
        verify_with(kind, rf"It is \boxed{{x+{NOWHERE_STATED}}}", gold, Setting(OPTIONS, engine=engine))
        assert time.thread_time() - started < CPU_SECONDS, kind


def test_a_completion_of_every_odd_one_in_a_row_is_read_in_time(engine: Engine) -> None:
    texts = list(hostile.completions().values())
    for text in ("".join(texts), "\n\n".join(reversed(texts)), "".join(text[:500] for text in texts)):
        for kind in KINDS:
            started = time.thread_time()
            verify_with(kind, text, NOWHERE_STATED, Setting(OPTIONS, engine=engine, flexible=True))
            assert time.thread_time() - started < CPU_SECONDS * len(text) / hostile.LONG + CPU_SECONDS, kind


# Kind, gold, what stands in the box, and the outcome that is wanted.
LOOK_ALIKES = (
    ("number", "42", "٤٢", "correct"),
    ("number", "42", "４２", "correct"),
    ("number", "42", "𝟜𝟚", "correct"),
    ("number", "42", "४२", "correct"),
    ("math", r"\frac{1}{2}", r"\frac{١}{٢}", "correct"),
    ("number", "-42", "−42", "correct"),
    ("number", "-42", "－42", "correct"),
    ("number", "42", "−42", "incorrect"),
    ("number", "42", "－４２", "incorrect"),
    ("number", "42", "٢٤", "incorrect"),
    ("number", "42", "4²", "incorrect"),
    ("math", "42", "4²", "incorrect"),
    ("math", "16", "4²", "correct"),
    ("number", "52", "⁵²", "incorrect"),
    ("number", "52", "⑤②", "incorrect"),
    ("number", "12", "1\u20002", "incorrect"),
    ("number", "12", f"1{ZERO_WIDTH}2", "incorrect"),
    ("number", "12", f"1{NUL}2", "incorrect"),
    ("number", "24", f"{RIGHT_TO_LEFT}42{POP}", "incorrect"),
    ("number", "15", "1٫5", "incorrect"),
    ("number", "42", "42٪", "incorrect"),
    ("math", "x+1", "х+1", "incorrect"),  # a Cyrillic letter
    ("math", "A", "А", "incorrect"),
    ("choice", "A", "А", "no_answer"),
    ("choice", "A", "Α", "no_answer"),  # a Greek letter
    ("choice", "B", "В", "no_answer"),
    ("choice", "C", "Ⓒ", "no_answer"),
    ("choice", "I", "ı", "no_answer"),
    ("choice", "K", "\u212a", "no_answer"),  # the sign of kelvin
    ("text", "True", "Тrue", "incorrect"),
    ("text", "valid", "v\u0430lid", "incorrect"),
    ("text", "valid", f"valid{ZERO_WIDTH}", "incorrect"),
    ("text", "valid", f"{RIGHT_TO_LEFT}valid", "incorrect"),
    ("text", "fine", "ﬁne", "incorrect"),
    ("text", "café", "cafe\u0301", "incorrect"),
    ("text", "straße", "strasse", "incorrect"),
)


@pytest.mark.parametrize(("kind", "gold", "text", "outcome"), LOOK_ALIKES)
def test_a_look_alike_passes_only_where_it_says_the_same(kind: str, gold: str, text: str, outcome: str) -> None:
    assert verify(rf"\boxed{{{text}}}", gold, kind, options=OPTIONS).outcome == outcome


def test_twice_the_text_takes_at_most_two_and_a_half_times_as_long() -> None:
    def seconds(characters: int) -> float:
        texts = [hostile.filled(unit, characters) for unit in hostile.UNITS]
        started = time.thread_time()
        for text in texts:
            math_statement(answer_region(text), ("A:",), in_parts=True, in_words=True)
            text_metrics.template_parts(text)
        return time.thread_time() - started

    assert min(seconds(100_000) for _ in range(2)) < 0.1 * len(hostile.UNITS)
    assert min(seconds(40_000) for _ in range(3)) < 2.5 * min(seconds(20_000) for _ in range(3))


# The worker is bounded, whatever it is given.


@pytest.mark.parametrize(
    ("hurried", "name"),
    [(integers, name) for integers in INTEGERS for name in WORST]
    + [pytest.param(INTEGERS[-1], name, marks=pytest.mark.slow) for name in hostile.bombs() if name not in WORST],
    indirect=["hurried"],
)
def test_a_bomb_ends_within_its_deadline_and_the_next_check_is_right(hurried: Judge, name: str) -> None:
    bomb = hostile.bombs()[name]
    pairs = [("x+1", rf"\boxed{{{bomb}}}"), (bomb, r"\boxed{x+1}")]
    judge_at_once(hurried, pairs if name in WORST else pairs[:1])
    assert next_check_is_right(hurried)
    for process in workers():
        assert memory_mb(process, "VmHWM") < MAX_MEMORY_MB


def judge_at_once(judge: Judge, pairs: list[tuple[str, str]]) -> None:
    """Judge pairs of gold and completion by as many threads; each is decided or given up in its time."""
    judge.engine.compare("1", "1")  # starting is no part of a deadline

    def judged(pair: tuple[str, str]) -> float:
        started = time.monotonic()
        verdict = judge.judge(Problem("1", "?", pair[0]), Completion(pair[1]))
        assert verdict.outcome is not Outcome.CORRECT
        assert verdict.reason != "worker_died"
        return time.monotonic() - started

    with ThreadPoolExecutor(len(pairs)) as threads:
        waited = max(threads.map(judged, pairs))
    # Half a second where the machine is idle; here others may be working, and a second worker may have to start.
    assert waited < judge.limits.timeout_seconds + 10


def next_check_is_right(judge: Judge) -> bool:
    """Whether a worker is there that can tell; it is given time, for it may have to start."""
    patient = Engine(timeout_seconds=60, pool=judge.engine.pool)
    return patient.compare("x+2", "2+x").equal is True and patient.compare("x+2", "2-x").equal is False


def test_bombs_leave_the_parents_memory_as_it_was(hurried: Judge) -> None:
    """After a first one: what is imported then, stays."""
    judge_at_once(hurried, [("5", r"\boxed{99999998!}")])
    before = memory_mb("self")
    judge_at_once(hurried, [("5", rf"\boxed{{{number}!}}") for number in (99999996, 99999997)])
    for text in hostile.boxes().values():
        verify_with("text", text, NOWHERE_STATED, Setting(engine=hurried.engine))
    assert memory_mb("self") < before + 100


def test_a_worker_cannot_have_more_memory_than_its_limit(hurried: Judge) -> None:
    resource = pytest.importorskip("resource")
    assert next_check_is_right(hurried)
    for process in workers():
        assert resource.prlimit(int(process), resource.RLIMIT_AS)[0] == MAX_MEMORY_MB << 20


def judged_elsewhere(send: Callable[[object], object]) -> None:
    """Judge a bomb, and then something harmless."""
    with Judge(limits=Limits(timeout_seconds=0.4, workers=1)) as judge:
        judge_at_once(judge, [("x+1", rf"\boxed{{{hostile.bombs()['root']}}}")])
        send(next_check_is_right(judge))


@pytest.mark.parametrize("integers", INTEGERS)
def test_bombs_are_bounded_in_a_thread(integers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMPY_GROUND_TYPES", integers)
    replies: list[object] = []
    thread = threading.Thread(target=judged_elsewhere, args=(replies.append,))
    thread.start()
    thread.join()
    assert replies == [True]


@pytest.mark.parametrize("integers", INTEGERS)
def test_bombs_are_bounded_in_a_daemonic_process(integers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMPY_GROUND_TYPES", integers)
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=judged_elsewhere, args=(sender.send,), daemon=True)
    process.start()
    assert receiver.poll(120)
    assert receiver.recv() is True
    process.join()


def workers() -> list[str]:
    """The ids of this process's workers that are alive."""
    if sys.platform != "linux":
        pytest.skip("memory is read from /proc")
    here = str(Path("/proc/self").resolve().name)
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            is_ours = status.read_text().rpartition(")")[2].split()[1] == here
            if is_ours and b"worker_process" in (status.parent / "cmdline").read_bytes():
                found.append(status.parent.name)
        except OSError:  # it has just ended
            continue
    assert found
    return found


def memory_mb(process: str, field: str = "VmRSS") -> float:
    """What a process holds of the machine's memory, or held at most."""
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[field].split()[0]) / 1024
