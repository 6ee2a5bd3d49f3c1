"""The engine of layer 4: math-verify in killable workers, with a memory of what it has said."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cache
from typing import NamedTuple

from distill.verifiers.limits import Limits
from distill.verifiers.workers.pool import Pool
from distill.verifiers.workers.verdict_cache import VerdictCache, content_key
from distill.verifiers.workers.worker import HAS_CPU_DEADLINE, WorkerGoneError

TASK = "math-verify"
DANGER_SECONDS = 1.0

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
    guard_magnitude: bool = True
    """Numbers that it calls equal because both are small are compared by their ratio."""
    relative_tolerance: float = 1e-5
    """How far from 1 that ratio may be."""


class EngineReply(NamedTuple):
    """What the engine says; ``equal`` is None where it could not tell, and ``reason`` is then the reason code."""

    equal: bool | None
    reason: str


class Engine:
    """Compares by math-verify; remembers what it was told, and is safe to share by threads.

    As many checks run at once as its pool has workers, and of two that are the same only one; waiting for one's
    turn is no part of the deadline. A copy of this object in a forked process starts workers of its own.
    """

    def __init__(
        self,
        timeout_seconds: float = Limits().timeout_seconds,
        danger_seconds: float = DANGER_SECONDS,
        *,
        pool: Pool | None = None,
        cache: VerdictCache | None = None,
    ) -> None:
        """Take the workers of ``pool``, else one of its own.

        What looks dangerous gets only ``danger_seconds``, of processor time where the system can count it: on a busy
        machine that takes longer, but never beyond ``timeout_seconds``.
        """
        self.timeout_seconds = timeout_seconds
        self.danger_seconds = min(timeout_seconds, danger_seconds)
        self.pool = pool or Pool()
        self.cache = cache or VerdictCache()

    def compare(self, gold: str, answer: str | None, options: EngineOptions = EngineOptions()) -> EngineReply:
        """Whether ``answer`` equals ``gold``, both LaTeX without a box; None as the answer only reads the gold."""
        key = content_key(gold, answer, _fields(options))
        return EngineReply(*self.cache.get(key, lambda: self._ask(gold, answer, options)))

    def close(self) -> None:
        """End the workers; the next comparison starts others."""
        self.pool.close()
        self.cache.close()

    def _ask(self, gold: str, answer: str | None, options: EngineOptions) -> EngineReply:
        request, seconds = {"gold": gold, "answer": answer, **_fields(options)}, self.timeout_seconds
        if DANGER.search(gold) or DANGER.search(answer or ""):
            request["cpu_seconds"] = self.danger_seconds
            seconds = seconds if HAS_CPU_DEADLINE else self.danger_seconds
        try:
            reply = self.pool.ask(TASK, request, seconds)
        except WorkerGoneError as gone:
            return EngineReply(None, gone.reason)
        return EngineReply(reply.get("equal"), str(reply.get("reason", "engine_error")))


@cache
def _fields(options: EngineOptions) -> dict[str, int | float | bool]:
    return asdict(options)


@cache
def shared_engine() -> Engine:
    """The engine of this process for whoever brings none; its workers end with the process."""
    return Engine(pool=Pool(Limits().num_workers))
