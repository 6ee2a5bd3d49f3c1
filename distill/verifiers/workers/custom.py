"""Verifiers of the user's own: called by name in a killable worker, so that one may hang, crash or exit."""

from __future__ import annotations

from distill.records import Outcome, Verdict
from distill.registry import REGISTRY, load
from distill.verifiers.workers.engine import Engine
from distill.verifiers.workers.pool import Pool
from distill.verifiers.workers.worker import WorkerGoneError


def check_kind(kind: str, pool: Pool) -> None:
    """Raise a DistillError unless there is a verifier of this name; one of the user's own is loaded in a worker."""
    if kind in REGISTRY["verifiers"]:
        return
    if ":" in kind:
        pool.make_ready(kind)
    else:
        load("verifiers", kind)  # which says what is known


def verify_custom(name: str, text: str, gold: str, engine: Engine) -> Verdict:
    """The verdict of 'pkg.module:function'; unverified where it raises, hangs, takes too much memory or dies.

    Raises:
        DistillError: no such module or function.
    """
    try:
        reply = engine.pool.ask(name, {"text": text, "gold": gold}, engine.timeout_seconds)
    except WorkerGoneError as gone:
        return Verdict(Outcome.UNVERIFIED, reason=gone.reason)
    if "outcome" not in reply:
        return Verdict(Outcome.UNVERIFIED, reason=str(reply.get("reason", "worker_died")))
    return Verdict(**{**reply, "outcome": Outcome(reply["outcome"])})
