"""The engine of layer 4: math-verify in a killable worker, with a memory of what it has said."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from functools import cache

from distill.verifiers.worker import Worker, WorkerGoneError

TIMEOUT_SECONDS = 3.0  # the slowest real set: 99 % of its checks take less than 1.2 s
DANGER_SECONDS = 1.0
MAX_REMEMBERED = 4096

# Factorials, power towers, binomials, sums ...: what takes for ever where it takes more than a moment.
DANGER = re.compile(
    r"!|\\(?:d?binom|sum|prod|i*int|det)(?![A-Za-z])|\^\s*\{[^{}]{0,40}\^|\^\s*\w{1,9}\s*\^|\^\s*\{?\s*-?\d{4}"
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How math-verify compares."""

    float_rounding: int = 6
    """Decimals are compared after rounding to this many places."""
    set_relations: bool = True
    """``x > 3`` may answer a gold that is the interval ``(3, oo)``."""
    strict: bool = True
    """Names of variables count, and a tuple is no set."""


@dataclass(frozen=True, slots=True)
class EngineReply:
    """What the engine says; ``equal`` is None where it could not tell, and ``reason`` is then the reason code."""

    equal: bool | None
    reason: str


class Engine:
    """Starts its worker when it is first asked, replaces it when it hangs or dies, and is safe to share by threads.

    Only one check runs at a time; waiting for one's turn is no part of the deadline. A copy of this object in a
    forked process starts a worker of its own.
    """

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS, danger_seconds: float = DANGER_SECONDS) -> None:
        self.timeout_seconds = timeout_seconds
        self.danger_seconds = min(timeout_seconds, danger_seconds)
        self._renew()

    def _renew(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._remembered: dict[tuple[str, str | None, EngineOptions], EngineReply] = {}

    def compare(self, gold: str, answer: str | None, options: EngineOptions = EngineOptions()) -> EngineReply:
        """Whether ``answer`` equals ``gold``, both LaTeX without a box; None as the answer only reads the gold."""
        if os.getpid() != self._owner:
            self._renew()
        key = (gold, answer, options)
        with self._lock:
            reply = self._remembered.get(key)
            if reply is None:
                reply = self._ask(gold, answer, options)
                if reply.reason != "worker_died":
                    self._remember(key, reply)
        return reply

    def close(self) -> None:
        """End the worker; the next comparison starts another."""
        if os.getpid() != self._owner:
            self._renew()
        with self._lock:
            if self._worker is not None:
                self._worker.close()
                self._worker = None

    def _ask(self, gold: str, answer: str | None, options: EngineOptions) -> EngineReply:
        is_dangerous = DANGER.search(gold) or DANGER.search(answer or "")
        seconds = self.danger_seconds if is_dangerous else self.timeout_seconds
        request = {"gold": gold, "answer": answer, "seconds": seconds, "float_rounding": options.float_rounding}
        request |= {"set_relations": options.set_relations, "strict": options.strict}
        if self._worker is not None and self._worker.process.poll() is not None:
            self._worker = None  # it ended while idle; the request at hand is not to blame
        if self._worker is None:
            self._worker = Worker()
        try:
            reply = self._worker.ask(request, seconds)
        except WorkerGoneError as gone:
            self._worker = None
            return EngineReply(None, gone.reason)
        if reply.get("reason") == "memory":  # what it holds now is fragmented; a fresh one is 0.4 s away
            self._worker.close()
            self._worker = None
        return EngineReply(reply.get("equal"), str(reply.get("reason", "engine_error")))

    def _remember(self, key: tuple[str, str | None, EngineOptions], reply: EngineReply) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = reply


@cache
def shared_engine() -> Engine:
    """The engine of this process for whoever brings none; its worker ends with the process."""
    return Engine()
