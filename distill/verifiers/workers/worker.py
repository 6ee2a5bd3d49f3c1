"""One child process that can be killed: requests and replies as JSON lines, the deadline held on this side.

Signals are no deadline (they fail outside the main thread and cannot stop C code), a thread cannot be
killed, and a process pool cannot kill one of its workers. A plain child started with ``subprocess`` can,
from threads, notebooks and daemonic processes alike.

The child is never left alone: it ends when its pipes close, so that one that an interrupt or a killed
parent forgot goes away by itself.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.verifiers.workers.exchange import exchange

START_SECONDS = 120.0  # importing sympy takes a second; on a cold, busy disk it takes many
MODULE = "distill.verifiers.workers.worker_process"
HAS_CPU_DEADLINE = hasattr(signal, "setitimer")

Reply = dict[str, Any]


class WorkerGoneError(Exception):
    """The child ended before it replied; ``reason`` is 'timeout' when its time was up, else 'worker_died'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Worker:
    """One running child. Not thread-safe: whoever holds it asks one thing at a time, and drops it when it is gone."""

    def __init__(self, memory_mb: int) -> None:
        self.process = _start(memory_mb)
        self.num_checks = 0
        self._owes_reply = False
        self._ready_for: set[str] = set()
        self._end = weakref.finalize(self, _end, self.process, os.getpid())

    def ask(self, task: str, request: Reply, seconds: float) -> Reply:
        """The child's reply, if it comes within ``seconds``; otherwise the child is killed.

        Args:
            task: 'math-verify', or a verifier as 'pkg.module:function'. What it imports is imported
                before the first request, and is no part of the deadline.
            request: what the task is given; with 'cpu_seconds' in it the child also ends after so much processor
                time, which a busy machine does not shorten.

        Raises:
            WorkerGoneError: the child did not reply in time, or ended.
            DistillError: the task cannot be worked on here at all.
        """
        self.make_ready(task)
        self.num_checks += 1
        reply = self._exchange({**request, "task": task, "seconds": seconds}, seconds)
        if reply.get("reason") == "memory":  # what it holds now is fragmented; a fresh one is half a second away
            self.close()
        return reply

    def make_ready(self, task: str) -> None:
        """Have the child import what a task needs, once.

        Raises:
            DistillError: that fails.
        """
        if task in self._ready_for:
            return
        try:
            reply = self._exchange({"make_ready": task}, START_SECONDS)
        except WorkerGoneError as gone:
            raise DistillError(
                f"the process that runs '{task}' did not start: {gone.reason}",
                hint=f"run '{sys.executable} -m {MODULE} 2048' and see what it says; raise 'verifier.memory_mb' if it "
                "runs out of memory",
            ) from None
        if "failed" in reply:
            raise DistillError(str(reply["failed"]), hint=str(reply.get("hint", "")))
        self._ready_for.add(task)

    @property
    def is_usable(self) -> bool:
        """False once the child has ended, or owes a reply, which would answer the next request."""
        return self._end.alive and not self._owes_reply and self.process.poll() is None

    def kill(self) -> None:
        """End the child at once; whoever waits for its reply is told that it died, and closes it."""
        _kill(self.process)

    def close(self) -> None:
        """End the child and release its pipes."""
        self._end()

    def _exchange(self, request: Reply, seconds: float) -> Reply:
        self._owes_reply = True
        try:
            reply = json.loads(exchange(self.process, json.dumps(request).encode() + b"\n", seconds))
        except TimeoutError:
            raise WorkerGoneError("timeout") from None
        except (EOFError, ValueError):
            self.close()
            is_late = HAS_CPU_DEADLINE and self.process.returncode == -signal.SIGPROF
            raise WorkerGoneError("timeout" if is_late else "worker_died") from None
        else:
            self._owes_reply = False
            return reply if isinstance(reply, dict) else {}
        finally:
            if self._owes_reply:  # on Ctrl-C, too
                self.close()


class _Child(subprocess.Popen[bytes]):
    """A process that ends when it is forgotten; ``subprocess`` would keep it, with open pipes, until it ends itself."""

    def __del__(self) -> None:
        for stream in (getattr(self, "stdin", None), getattr(self, "stdout", None)):
            if stream is not None:
                stream.close()
        super().__del__()


def _start(memory_mb: int) -> subprocess.Popen[bytes]:
    """Start the child with this process's own search path, so that it finds what this process found.

    It leads a process group of its own: Ctrl-C in a terminal is not for it, and what it starts ends with it.
    """
    search_path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    try:
        return _Child(
            [sys.executable, "-P", "-m", MODULE, str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,
            # One seed for all, because sympy's answers may depend on the order of sets.
            env={**os.environ, "PYTHONPATH": search_path, "PYTHONHASHSEED": "0"},
        )
    except OSError as error:
        raise DistillError(
            f"no process can be started for a verifier: {error.strerror}",
            hint="close other programs, or set 'verifier.workers' lower",
        ) from None


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    """Kill and reap; in a process forked from the owner, whose child it is not, only the copies of the pipes close."""
    if os.getpid() == owner:
        _kill(process)
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and whatever it has started."""
    if sys.platform == "win32":
        process.kill()
        return
    with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only a zombie is left
        os.killpg(process.pid, signal.SIGKILL)
