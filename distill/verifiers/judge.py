"""Judge completions: the right verifier for the kind of answer, with one worker behind them all."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from distill.records import Completion, FinishReason, Outcome, Problem, Verdict
from distill.registry import REGISTRY, load
from distill.verifiers.choice import choice_gold_problem
from distill.verifiers.engine import TIMEOUT_SECONDS, Engine
from distill.verifiers.math import math_gold_problem
from distill.verifiers.number import number_gold_problem
from distill.verifiers.setting import Setting
from distill.verifiers.text import text_gold_problem

PACKAGES = ("math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "gmpy2")
GOLD_PROBLEMS: dict[str, Callable[[Problem], str]] = {
    "number": number_gold_problem,
    "choice": choice_gold_problem,
    "text": text_gold_problem,
}


class Judge:
    """Judges completions; holds the killable worker, which starts when the engine is first needed.

    A verifier of the user's own ('pkg.module:function') is called with the completion's whole text and
    the gold, and returns a Verdict, a bool, a float (1.0 is correct) or None (nobody can tell). What it
    raises makes the completion unverified.

    >>> with Judge(kind="number", markers=("A:",)) as judge:
    ...     judge.judge(Problem("1", "2 + 2?", "4"), Completion("It is A: 4.0")).outcome.value
    'correct'
    """

    def __init__(
        self, kind: str | None = None, markers: Sequence[str] = (), timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Take ``kind`` for every problem, or each problem's own when it is None."""
        self.kind = kind
        self.markers = tuple(markers)
        self.engine = Engine(timeout_seconds)

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def judge(self, problem: Problem, completion: Completion, *, flexible: bool = False) -> Verdict:
        """The verdict on one completion; ``flexible`` also takes a loosely stated answer.

        Raises:
            DistillError: no such verifier, or math-verify cannot be used here.
        """
        setting = Setting(
            options=problem.options,
            markers=self.markers,
            finish_reason=completion.finish_reason,
            think_opened=completion.think_opened,
            flexible=flexible,
            engine=self.engine,
        )
        return verify_with(self.kind or problem.verifier, completion.text, problem.answer, setting)

    def close(self) -> None:
        """End the worker; judging again starts another."""
        self.engine.close()

    @staticmethod
    def versions() -> dict[str, str]:
        """The versions that verdicts depend on; 'absent' where a package is not installed."""
        return {package: _version(package) for package in PACKAGES}


def verify(
    text: str,
    gold: str,
    kind: str = "math",
    *,
    options: Sequence[str] = (),
    markers: Sequence[str] = (),
    finish_reason: FinishReason = "stop",
    think_opened: bool = False,
) -> Verdict:
    r"""Judge one completion's text against a gold answer; for many completions use ``Judge``.

    >>> verify(r"<think>17?</think> It is \boxed{\frac{1}{2}}.", "0.5").outcome.value
    'correct'
    >>> verify("First 3, then 1 more. So 4 in all.", "4").reason, verify("<think>4", "4", finish_reason="length").reason
    ('no_marker', 'truncated')
    """
    setting = Setting(tuple(options), tuple(markers), finish_reason, think_opened)
    return verify_with(kind, text, gold, setting)


def verify_with(kind: str, text: str, gold: str, setting: Setting) -> Verdict:
    """The verdict of the verifier called ``kind``, one of ours or the user's own."""
    function = load("verifiers", kind)
    if kind in REGISTRY["verifiers"]:
        verdict: Verdict = function(text, gold, setting)
        return verdict
    try:
        return as_verdict(function(text, gold))
    except Exception as error:  # the user's code may raise anything, and one completion must not end a run
        return Verdict(Outcome.UNVERIFIED, reason=f"verifier_error:{type(error).__name__}")


def as_verdict(said: Any) -> Verdict:
    """A verdict of what a user's verifier returned.

    >>> as_verdict(True).outcome.value, as_verdict(0.5).outcome.value, as_verdict(None).outcome.value
    ('correct', 'incorrect', 'unverified')

    Raises:
        TypeError: it is none of Verdict, bool, float and None.
    """
    if isinstance(said, Verdict):
        return said
    if said is None or (isinstance(said, float) and math.isnan(said)):
        return Verdict(Outcome.UNVERIFIED, reason="no_verdict")
    if not isinstance(said, bool | int | float):
        raise TypeError(f"a verifier returns a Verdict, a bool, a float or None, not {type(said).__name__}")
    return Verdict(Outcome.CORRECT if said >= 1 else Outcome.INCORRECT, reason="custom")


def gold_problem(problem: Problem, kind: str | None = None, judge: Judge | None = None) -> str:
    """Why no completion can ever be verified against this gold, before one is paid for; '' when one can.

    Raises:
        DistillError: no such verifier.

    >>> gold_problem(Problem("1", "2 + 2?", "four or so", verifier="number")), gold_problem(Problem("2", "?", "4"))
    ('gold_unparsed', '')
    """
    kind = kind or (judge.kind if judge else None) or problem.verifier
    if kind == "math":
        return math_gold_problem(problem, Setting(engine=judge.engine) if judge else Setting())
    if kind in GOLD_PROBLEMS:
        return GOLD_PROBLEMS[kind](problem)
    load("verifiers", kind)  # a misspelt kind is said now
    return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
