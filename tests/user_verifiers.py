"""Verifiers such as users write, good and bad ones; a worker process loads them by name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from distill.records import Outcome, Verdict

not_a_function = 5
leaked = []
prepared = []


def prepare_worker() -> None:
    prepared.append(os.getpid())


def is_prepared(text: str, gold: str) -> bool:
    """True in a process in which ``prepare_worker`` was called."""
    return os.getpid() in prepared


def echo(text: str, gold: str) -> Verdict:
    return Verdict(Outcome.CORRECT, answer=text)


def process_id(text: str, gold: str) -> Verdict:
    return Verdict(Outcome.CORRECT, answer=str(os.getpid()))


def is_even(text: str, gold: str) -> bool:
    return text.strip().endswith(("0", "2", "4", "6", "8"))


def share_of_gold(text: str, gold: str) -> float | None:
    return len(text) / len(gold) if gold else None


def full_verdict(text: str, gold: str) -> Verdict:
    return Verdict(Outcome.NO_ANSWER, reason="mine")


def broken(text: str, gold: str) -> bool:
    return text[1_000_000] == gold


def wrong_type(text: str, gold: str) -> str:
    return "yes"


def wrong_verdict(text: str, gold: str) -> Verdict:
    return Verdict("correct", answer=5)  # type: ignore[arg-type]


def endless_verdict(text: str, gold: str) -> Verdict:
    return Verdict(Outcome.CORRECT, answer="5" * 10_000_000)


def hang(text: str, gold: str) -> bool:
    while True:
        pass


def rest(text: str, gold: str) -> bool:
    """Takes as many seconds as ``text`` says, and next to no processor time."""
    time.sleep(float(text))
    return True


def hog(text: str, gold: str) -> bool:
    return len(bytearray(64 << 30)) > 0


def leak(text: str, gold: str) -> bool:
    leaked.append(bytearray(100 << 20))
    return True


def chatter(text: str, gold: str) -> bool:
    print('{"outcome": "incorrect"}', flush=True)
    os.write(1, b"{}\n")
    subprocess.run([sys.executable, "-c", "print('{}')"], check=True)
    return True


def read_stdin(text: str, gold: str) -> bool:
    return sys.stdin.read() == "" and os.read(0, 10) == b""


def leave(text: str, gold: str) -> bool:
    sys.exit(0)


def vanish(text: str, gold: str) -> bool:
    os._exit(0)


def be_killed(text: str, gold: str) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def fork(text: str, gold: str) -> Verdict:
    """Comes back twice; the copy's answer, when it comes at all, is ``gold``."""
    answer = text if os.fork() else gold
    return Verdict(Outcome.CORRECT, answer=answer)


def meet(text: str, gold: str) -> bool:
    """Opening a named pipe ends when its other end is opened: by another check, at the same time."""
    Path(text).open(gold).close()
    return True


def meet_in_turn(text: str, gold: str) -> bool:
    """Two checks of 'a b' and 'b a' come to an end when they run at the same time."""
    mine, theirs = text.split()
    first, second = (("rb", mine), ("wb", theirs)) if mine < theirs else (("wb", theirs), ("rb", mine))
    for mode, path in (first, second):
        Path(path).open(mode).close()
    return True


def hold(text: str, gold: str) -> bool:
    """Whoever reads the named pipe ``text`` finds its end when this process has ended."""
    with Path(text).open("wb", buffering=0) as pipe:
        pipe.write(b"here")
        time.sleep(3600)
    return True


def hold_twice(text: str, gold: str) -> bool:
    """As ``hold``, and a process that it has started holds it as well."""
    os.fork()
    return hold(text, gold)
