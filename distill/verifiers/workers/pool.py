"""The worker pool: a few killable children, each doing one check at a time, shared by all threads of a process.

Who waits for a free child waits as long as it takes: a deadline begins when a child begins. Children are
started when there is a check and no free one. A Ctrl-C may come between any two steps in here, and nothing
that it can leave behind may stop the next check or answer it: hence plain locks (the other means of
``threading`` can be interrupted halfway), and a child is known by who holds it, not counted.
"""

from __future__ import annotations

import os
import threading

from distill.verifiers.workers.worker import Reply, Worker

MAX_CHECKS = 5000
"""Then a child is replaced. After so many checks math-verify holds 81 MB, and 83 MB after 20,000, but a user's verifier
may lose memory at each; half a second per 5,000 checks costs nothing."""
LOOK_AGAIN_SECONDS = 0.5
"""How soon a waiting thread notices a free child of which an interrupt kept it from being told."""


class NoWorkerError(Exception):
    """A pool of no workers was asked."""


class Pool:
    """Workers that any thread may ask; safe to share, also with a forked process, which starts workers of its own."""

    def __init__(self, size: int = 1, memory_mb: int = 2048, max_checks: int = MAX_CHECKS) -> None:
        """Run up to ``size`` children; none starts before it is needed. A pool of size 0 refuses every request."""
        self.size = size
        self.memory_mb = memory_mb
        self.max_checks = max_checks
        self._renew()

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._held: dict[int, Worker] = {}  # thread -> the child that it asks
        self._turns: list[threading.Lock] = []  # of waiting threads, in order; released when it may be somebody's turn

    def ask(self, task: str, request: Reply, seconds: float) -> Reply:
        """A child's reply; see ``Worker.ask``.

        What runs out of memory in a child that has worked before is asked again in another, until a fresh one has
        said so too: who left the memory full must not change what is said of the next.

        Raises:
            WorkerGoneError: the child did not reply within ``seconds``, or ended.
            DistillError: the task cannot be worked on here at all.
        """
        while True:
            reply, is_first = self._ask(task, request, seconds)
            if is_first or reply.get("reason") != "memory":
                return reply

    def make_ready(self, task: str) -> None:
        """Load what a task needs in one child, to learn now whether it can be loaded.

        Raises:
            DistillError: it cannot.
        """
        try:
            self._take().make_ready(task)
        finally:
            self._give_back()

    def close(self) -> None:
        """End all children, also those at work, whose askers are told 'worker_died'; a later check starts others."""
        if os.getpid() != self._owner:
            self._renew()
        with self._lock:
            held = list(self._held.values())
            idle = [worker for worker in self._workers if worker not in held]
            self._workers = held
        for worker in held:
            worker.kill()
        for worker in idle:
            worker.close()

    def _ask(self, task: str, request: Reply, seconds: float) -> tuple[Reply, bool]:
        """A child's reply, and whether it was the child's first."""
        try:
            try:
                worker = self._take()
                return worker.ask(task, request, seconds), worker.num_checks == 1
            finally:
                self._give_back()
        finally:
            self._give_back()  # again, because an interrupt may have cut the first short

    def _take(self) -> Worker:
        """A child that is this thread's until it is given back."""
        if not self.size:
            raise NoWorkerError
        if os.getpid() != self._owner:
            self._renew()
        turn = threading.Lock()
        turn.acquire()
        while True:
            with self._lock:
                worker = self._free_worker()
                if worker is not None:
                    self._turns = [other for other in self._turns if other is not turn]
                    self._held[threading.get_ident()] = worker
                    return worker
                if turn not in self._turns:
                    self._turns.append(turn)
            turn.acquire(timeout=LOOK_AGAIN_SECONDS)

    def _free_worker(self) -> Worker | None:
        """An idle child, or a new one if there may be one more."""
        self._held.pop(threading.get_ident(), None)  # one that an interrupt kept from being given back
        for worker in [worker for worker in self._workers if worker not in self._held.values()]:
            if worker.is_usable and worker.num_checks < self.max_checks:
                return worker
            worker.close()
            self._workers.remove(worker)
        if len(self._workers) == self.size:
            return None
        self._workers.append(Worker(self.memory_mb))
        return self._workers[-1]

    def _give_back(self) -> None:
        with self._lock:
            if self._held.pop(threading.get_ident(), None) is not None and self._turns:
                self._turns.pop(0).release()
