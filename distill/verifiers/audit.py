"""Auditing the fast path: a share of what the cheap layers decide is put to the engine as well.

Which decisions are audited depends on gold and answer alone, so that a run that is repeated audits the same
ones. The engine has errors of its own, which the cheap layers are there to avoid: a disagreement is something to
read, not something to count as wrong.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from dataclasses import dataclass

from distill.records import Outcome, Verdict
from distill.verifiers.maths.gold import read_gold
from distill.verifiers.maths.layers import ask_engine
from distill.verifiers.maths.rendering import engine_pair
from distill.verifiers.reading.spelling import respelled
from distill.verifiers.setting import Setting

FAST_LAYERS = {"string", "number", "words", "value"}
AUDITED_KINDS = {"math", "number"}  # a letter or a text is none of the engine's business
MAX_LISTED = 200


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A gold and an answer about which the fast path and the engine say different things."""

    gold: str
    answer: str
    layer: str
    """Which layer of the fast path decided."""
    fast: Outcome
    engine: Outcome


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What an audit has found so far."""

    decided: int = 0
    """Decisions of the fast path."""
    audited: int = 0
    """Those that the engine was asked about as well."""
    undecided: int = 0
    """Of these, those about which it could not tell."""
    disagreeing: int = 0
    """Of these, those about which it says something else."""
    disagreements: tuple[Disagreement, ...] = ()
    """Each different one once, at most 200."""


class Auditor:
    """Puts a share of the fast path's decisions to the engine and keeps count; safe to share by threads."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._disagreements: dict[Disagreement, None] = {}

    def look_at(self, kind: str, gold: str, verdict: Verdict, setting: Setting) -> None:
        """Count a verdict of the fast path, and ask the engine too if the share covers it."""
        answer = verdict.answer
        if not self._share or kind not in AUDITED_KINDS or verdict.layer not in FAST_LAYERS or answer is None:
            return
        engine = None
        if is_in_share(gold, answer, self._share):
            pair = engine_pair(read_gold(respelled(gold, setting.policy)).text, answer)
            engine = ask_engine(*pair, setting).outcome
        with self._lock:
            self._counts["decided"] += 1
            if engine is not None:
                self._count(Disagreement(gold, answer, verdict.layer, verdict.outcome, engine))

    def report(self) -> AuditReport:
        """What was found so far."""
        with self._lock:
            return AuditReport(**self._counts, disagreements=tuple(self._disagreements))

    def _count(self, pair: Disagreement) -> None:
        self._counts["audited"] += 1
        if pair.engine is Outcome.UNVERIFIED:
            self._counts["undecided"] += 1
        elif pair.engine is not pair.fast:
            self._counts["disagreeing"] += 1
            if len(self._disagreements) < MAX_LISTED:
                self._disagreements[pair] = None


def is_in_share(gold: str, answer: str, share: float) -> bool:
    """Whether a share of all pairs of texts covers this one, by its hash.

    >>> sum(is_in_share("5", str(number), 0.1) for number in range(1000))
    103
    """
    digest = hashlib.sha256(f"{gold}\0{answer}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
