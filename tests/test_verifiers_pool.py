"""The pool of killable workers: from threads, asyncio, daemonic and forked processes, through hangs, kills and Ctrl-C."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distill.errors import DistillError
from distill.verifiers.workers import exchange, worker
from distill.verifiers.workers.pool import NoWorkerError, Pool
from distill.verifiers.workers.worker import WorkerGoneError

USERS = "tests.user_verifiers"
LONG = 60.0


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2)
    yield pool
    pool.close()


@pytest.fixture(params=["poll", "thread"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``poll``, and as on systems that have none."""
    monkeypatch.setattr(exchange, "HAS_POLL", request.param == "poll")


def say(pool: Pool, text: str, seconds: float = LONG) -> str:
    return str(pool.ask(f"{USERS}:echo", {"text": text, "gold": ""}, seconds)["answer"])


def gone(pool: Pool, function: str, seconds: float, text: str = "") -> str:
    with pytest.raises(WorkerGoneError) as caught:
        pool.ask(f"{USERS}:{function}", {"text": text, "gold": ""}, seconds)
    return caught.value.reason


@pytest.fixture
def named_pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def test_no_child_starts_before_it_is_needed_and_one_serves_who_comes_alone(pool: Pool) -> None:
    assert pool._workers == []
    assert [say(pool, text) for text in "abc"] == ["a", "b", "c"]
    assert len(pool._workers) == 1


def test_checks_run_at_the_same_time_up_to_the_size_of_the_pool(pool: Pool, named_pipe: str) -> None:
    def meet(mode: str) -> str:
        return str(pool.ask(f"{USERS}:meet", {"text": named_pipe, "gold": mode}, LONG)["outcome"])

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(meet, ["rb", "wb"])) == ["correct", "correct"]
    assert len(pool._workers) == 2


def test_eight_threads_share_two_children_and_each_gets_its_own_reply(pool: Pool) -> None:
    texts = [f"text {number}" for number in range(400)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda text: say(pool, text), texts)) == texts
    assert len(pool._workers) == 2


def test_asyncio_asks_from_threads(pool: Pool) -> None:
    async def ask_all() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(say, pool, str(number)) for number in range(20)))

    assert asyncio.run(ask_all()) == [str(number) for number in range(20)]


def test_waiting_for_a_free_child_is_no_part_of_the_deadline() -> None:
    pool = Pool(1)
    say(pool, "ready")
    with ThreadPoolExecutor(2) as threads:
        hanging = threads.submit(gone, pool, "hang", 1.5)
        while not pool._held:  # until it is at work
            pass
        waiting = threads.submit(say, pool, "later", 1.4)
        assert (hanging.result(), waiting.result()) == ("timeout", "later")
    pool.close()


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    ("function", "reason"), [("hang", "timeout"), ("be_killed", "worker_died"), ("vanish", "worker_died")]
)
def test_a_child_that_hangs_or_dies_is_replaced(pool: Pool, function: str, reason: str) -> None:
    say(pool, "ready")
    assert gone(pool, function, 0.3 if reason == "timeout" else LONG) == reason
    assert say(pool, "next") == "next"
    assert len(pool._workers) == 1


def test_a_child_that_is_killed_from_outside_while_it_works_is_replaced(pool: Pool, named_pipe: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(gone, pool, "hold", LONG, named_pipe)
        with Path(named_pipe).open("rb") as pipe:
            assert pipe.read(4) == b"here"
            os.kill(pool._workers[0].process.pid, signal.SIGKILL)
        assert asked.result() == "worker_died"
    assert say(pool, "next") == "next"


def test_a_child_that_dies_while_idle_is_replaced_without_a_word(pool: Pool) -> None:
    say(pool, "a")
    pool._workers[0].process.kill()
    pool._workers[0].process.wait()
    assert say(pool, "b") == "b"


@pytest.mark.usefixtures("either_way")
def test_a_long_text_and_a_long_reply_come_through_whole(pool: Pool) -> None:
    text = "å\0\ud800\n" * 20_000  # JSON escapes make a line of 440 kB of it
    assert say(pool, text) == text


@pytest.mark.usefixtures("either_way")
def test_a_child_that_reads_nothing_is_ended_at_the_deadline_too(pool: Pool) -> None:
    say(pool, "a")
    os.kill(pool._workers[0].process.pid, signal.SIGSTOP)
    assert gone(pool, "echo", 0.3, text="x" * 1_000_000) == "timeout"
    assert say(pool, "b") == "b"


def test_what_a_check_has_started_ends_with_it(pool: Pool, named_pipe: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(gone, pool, "hold_twice", LONG, named_pipe)
        with Path(named_pipe).open("rb") as pipe:
            assert pipe.read(8) == b"herehere"
            pool._workers[0].kill()
            assert pipe.read() == b""  # the end comes when no process holds it open any more
        assert asked.result() == "worker_died"


def test_a_verifier_that_forks_answers_once(pool: Pool) -> None:
    replies = [pool.ask(f"{USERS}:fork", {"text": str(n), "gold": "copy"}, LONG)["answer"] for n in range(5)]
    assert replies == ["0", "1", "2", "3", "4"]


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on address space binds on Linux")
def test_who_fills_the_memory_does_not_change_what_is_said_of_the_next() -> None:
    pool = Pool(1, memory_mb=512)
    assert pool.ask(f"{USERS}:hog", {"text": "", "gold": ""}, LONG) == {"reason": "memory"}
    replies = [pool.ask(f"{USERS}:leak", {"text": "", "gold": ""}, LONG) for _ in range(8)]  # 100 MB each
    assert [reply["outcome"] for reply in replies] == ["correct"] * 8
    pool.close()


def test_a_child_is_replaced_after_so_many_checks() -> None:
    pool = Pool(1, max_checks=3)
    ids = [pool.ask(f"{USERS}:process_id", {"text": "", "gold": ""}, LONG)["answer"] for _ in range(7)]
    assert [ids.index(number) for number in ids] == [0, 0, 0, 3, 3, 3, 6]
    pool.close()


def test_closing_ends_what_is_at_work_and_the_pool_can_be_used_again(pool: Pool, named_pipe: str) -> None:
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(gone, pool, "hold", LONG, named_pipe)
        with Path(named_pipe).open("rb") as pipe:
            assert pipe.read(4) == b"here"
            pool.close()
            assert pipe.read() == b""
        assert asked.result() == "worker_died"
    assert say(pool, "again") == "again"


def test_a_pool_of_no_workers_refuses() -> None:
    with pytest.raises(NoWorkerError):
        say(Pool(0), "anybody?")


def _ask_in_process(queue: multiprocessing.Queue[tuple[str, str]]) -> None:
    pool = Pool(1)
    queue.put((say(pool, "from a daemon"), gone(pool, "hang", 0.3)))
    pool.close()


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.slow)])
def test_a_daemonic_process_has_children_of_its_own(method: str) -> None:
    context = multiprocessing.get_context(method)
    queue: multiprocessing.Queue[tuple[str, str]] = context.Queue()
    process = context.Process(target=_ask_in_process, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=120) == ("from a daemon", "timeout")
    process.join()


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may do what a test process must not."""
    head = f"import os, signal, random\nfrom tests.test_verifiers_pool import Pool, say\nLONG = {LONG}\n"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", head + code], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    return result


def test_a_forked_process_does_not_talk_to_its_parents_children() -> None:
    run(
        "pool = Pool(1)\n"
        "assert say(pool, 'parent') == 'parent'\n"
        "parents = pool._workers[0].process.pid\n"
        "pool._lock.acquire()  # as when another thread has just asked something\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    assert say(pool, 'child') == 'child' and pool._workers[0].process.pid != parents\n"
        "    pool.close()\n"
        "    raise SystemExit(0)\n"
        "pool._lock.release()\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "assert pool._workers[0].process.poll() is None, 'the child ended the worker of its parent'\n"
        "assert say(pool, 'parent again') == 'parent again' and pool._workers[0].process.pid == parents\n"
        "pool.close()\n"
    )


def test_an_interrupt_anywhere_leaves_no_child_no_lock_and_no_stale_reply() -> None:
    """The alarm interrupts between any two steps, as Ctrl-C may; a reply to an earlier text would be another text."""
    run(
        "def interrupt(*_):\n"
        "    raise KeyboardInterrupt\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "pool, chance, interrupts = Pool(1), random.Random(0), 0\n"
        "while interrupts < 60:\n"
        "    text = str(chance.random())\n"
        "    try:\n"
        "        signal.setitimer(signal.ITIMER_REAL, chance.choice([0.0002, 0.002, 0.1]) * (0.1 + chance.random()))\n"
        "        for number in range(5):\n"
        "            assert say(pool, f'{text} {number}') == f'{text} {number}'\n"
        "        signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "    except KeyboardInterrupt:\n"
        "        interrupts += 1\n"
        "assert say(pool, 'still here') == 'still here'\n"
        "pool.close()\n"
        "try:\n"
        "    while True:\n"
        "        os.waitpid(-1, 0)  # waits for ever if a child is left and does not end by itself\n"
        "except ChildProcessError:\n"
        "    pass\n"
    )


def test_a_reply_that_an_interrupt_left_answers_nobody(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(process: subprocess.Popen[bytes], request: bytes, seconds: float) -> bytes:
        exchange.exchange(process, request, seconds)
        assert process.stdin is not None
        process.stdin.write(request)  # is answered now, and then comes Ctrl-C
        raise KeyboardInterrupt

    say(pool, "before")
    with monkeypatch.context() as patched:
        patched.setattr(worker, "exchange", interrupted)
        with pytest.raises(KeyboardInterrupt):
            say(pool, "interrupted")
    assert say(pool, "after") == "after"


def test_an_interrupt_while_a_child_is_given_back_leaves_it_free(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    give_back, interrupts = pool._give_back, iter([KeyboardInterrupt])

    def interrupted() -> None:
        for interrupt in interrupts:
            raise interrupt
        give_back()

    monkeypatch.setattr(pool, "_give_back", interrupted)
    with pytest.raises(KeyboardInterrupt):
        say(pool, "hello")
    assert pool._held == {}
    assert say(pool, "next") == "next"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_child_that_was_never_owned_ends_when_it_is_forgotten() -> None:
    process = worker._start(512)
    pid = process.pid
    del process
    os.waitpid(pid, 0)  # waits for ever if it does not end


def test_a_process_that_ends_leaves_no_child_behind() -> None:
    result = run("pool = Pool(1)\nsay(pool, 'hello')\nprint(pool._workers[0].process.pid)\n")
    with pytest.raises(ProcessLookupError):
        os.kill(int(result.stdout), 0)


def test_a_process_that_is_killed_takes_a_sleeping_check_along(named_pipe: str) -> None:
    code = f"from tests.test_verifiers_pool import *\nPool(1).ask({f'{USERS}:hold'!r}, {{'text': {named_pipe!r}, 'gold': ''}}, LONG)"
    with subprocess.Popen([sys.executable, "-c", code]) as process, Path(named_pipe).open("rb") as pipe:
        assert pipe.read(4) == b"here"
        process.kill()
        assert pipe.read() == b""  # the end comes when the check has ended


def test_a_forgotten_pool_takes_its_children_along() -> None:
    pool = Pool(1)
    say(pool, "hello")
    process = pool._workers[0].process
    del pool
    assert process.returncode is not None


def test_many_threads_that_die_while_they_wait_leave_the_pool_whole(pool: Pool) -> None:
    threads = [threading.Thread(target=gone, args=(pool, "hang", 0.05)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert say(pool, "next") == "next"
    assert not pool._held
    assert not pool._turns


def test_a_child_that_cannot_start_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MODULE", "distill.verifiers.no_such_module")
    with pytest.raises(DistillError, match="did not start") as caught:
        say(Pool(1), "hello")
    assert "distill.verifiers.no_such_module" in caught.value.hint


def test_a_system_that_starts_no_process_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(DistillError, match="no process can be started") as caught:
        say(Pool(1), "hello")
    assert "verifier.workers" in caught.value.hint
