"""The child process that a verifier may hang or kill: one JSON object per line in, one out; only verdicts come back.

Run as ``python -m distill.verifiers.workers.worker_process MEMORY_MB`` by ``worker``, which holds the deadline and
kills this process when it passes: with gmpy2 some inputs hang past any alarm, and a check
that cannot be interrupted cannot end itself. This is no sandbox: time and memory are bounded, files and
network are not.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from distill.errors import DistillError

Reply = dict[str, Any]
Task = Callable[[Reply], Reply]

ENGINE = "math-verify"


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    requests, replies = _claim_pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    logging.disable(logging.CRITICAL)
    limit_memory(int(sys.argv[1]))
    lines = _read_ahead(requests)
    tasks: dict[str, Task] = {}
    owner = os.getpid()
    while True:
        reply = json.dumps(answer(json.loads(lines.get()), tasks))
        if os.getpid() != owner:  # a verifier forked and came back twice; the parent waits for one reply
            os._exit(0)
        replies.write(reply.encode() + b"\n")


def answer(request: Reply, tasks: dict[str, Task]) -> Reply:
    """The reply to one request, whatever happens while it is worked out."""
    if "make_ready" in request:
        return _make_ready(request["make_ready"], tasks)
    try:
        limit_cpu(request["seconds"])
        with cpu_deadline(request.get("cpu_seconds", 0.0)):
            return tasks[request["task"]](request)
    except MemoryError:
        return {"reason": "memory"}
    except BaseException as error:  # SystemExit and the libraries' own time-outs among them
        return {"reason": "engine_error", "error": type(error).__name__}


def _make_ready(name: str, tasks: dict[str, Task]) -> Reply:
    try:
        tasks[name] = _load(name)
    except DistillError as error:
        return {"failed": str(error), "hint": error.hint}
    return {}


def _load(name: str) -> Task:
    if name == ENGINE:
        from distill.verifiers.workers.engine_process import load_engine

        return load_engine()
    from distill.verifiers.workers.custom_process import load_custom

    return load_custom(name)


def _claim_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes from and to the parent; whatever reads stdin from here on finds it empty, and what prints is lost."""
    requests, replies = (os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return requests, replies


def _read_ahead(requests: BinaryIO) -> queue.SimpleQueue[bytes]:
    """The requests, read by a thread that ends this process when the parent is gone, in the middle of a check too."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        for line in requests:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def limit_memory(megabytes: int) -> None:
    """Bound the address space, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = megabytes << 20
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):  # macOS refuses some limits; the deadline still holds
        return


def limit_cpu(seconds: float) -> None:
    """End this process some time from now even if nobody can; the limit is on the total, so it moves.

    Processor time passes once per core, and the deadline is the parent's: this only ends what C code
    keeps from noticing that the parent is gone.
    """
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(time.process_time() + (seconds + 2) * (os.cpu_count() or 1))
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


@contextmanager
def cpu_deadline(seconds: float) -> Iterator[None]:
    """End this process, C code included, after so many seconds of its own processor time in here; 0 sets no bound.

    It dies of SIGPROF, by which the parent knows why.
    """
    if sys.platform == "win32" or not seconds:
        yield
        return
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main()
