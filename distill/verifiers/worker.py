"""A child process that can be killed: requests and replies as JSON lines, the deadline held on this side.

Signals are no deadline (they fail outside the main thread and cannot stop C code), a thread cannot be
killed, and a process pool cannot kill one of its workers. A plain child started with ``subprocess`` can,
from threads, notebooks and daemonic processes alike. One check takes 0.6 ms with the round trip.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import IO, Any

from distill.errors import DistillError

START_SECONDS = 120.0  # importing sympy takes a second; on a cold, busy disk it takes many
MODULE = "distill.verifiers.engine_process"


class WorkerGoneError(Exception):
    """The child ended before it replied; ``reason`` is 'timeout' when this side killed it, else 'worker_died'."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Worker:
    """One running child. Not thread-safe; whoever owns it asks one thing at a time and replaces it when it is gone."""

    def __init__(self) -> None:
        self.process = _start()
        self._reap = weakref.finalize(self, _end, self.process)
        try:
            greeting = self._reply(START_SECONDS)
        except WorkerGoneError as gone:
            self.close()
            raise DistillError(
                f"the process that runs math-verify did not start: {gone.reason}",
                hint=f"run '{sys.executable} -m {MODULE}' and see what it says",
            ) from None
        if "failed" in greeting:
            self.close()
            raise DistillError(
                f"math-verify cannot be used: {greeting['failed']}",
                hint="pip install 'math-verify[antlr4_13_2]', or the extra that fits your antlr4 runtime",
            )

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The child's reply, if it comes within ``seconds``; otherwise the child is killed.

        Raises:
            WorkerGoneError: the child did not reply in time, or ended.
        """
        replied = False
        try:
            _stream(self.process.stdin).write(json.dumps(request).encode() + b"\n")
            reply = self._reply(seconds)
            replied = True
        except BrokenPipeError:
            raise WorkerGoneError("worker_died") from None
        finally:
            if not replied:  # also on Ctrl-C: a reply that nobody waited for would answer the next request
                self.close()
        return reply

    def close(self) -> None:
        """Kill the child and release its pipes."""
        self._reap()

    def _reply(self, seconds: float) -> dict[str, Any]:
        pipe = _stream(self.process.stdout).fileno()
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        deadline = time.monotonic() + seconds
        received = b""
        while not received.endswith(b"\n"):
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise WorkerGoneError("timeout")
            chunk = os.read(pipe, 65536)
            if not chunk:
                raise WorkerGoneError("worker_died")
            received += chunk
        reply = json.loads(received)
        return reply if isinstance(reply, dict) else {}


def _start() -> subprocess.Popen[bytes]:
    """Start the child with this process's own search path, so that it finds what this process found."""
    search_path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**os.environ, "PYTHONPATH": search_path},
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill and reap; in a process forked from the owner, whose child it is not, only the copies of the pipes close."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.kill()
    process.wait()


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise WorkerGoneError("worker_died")
    return stream
