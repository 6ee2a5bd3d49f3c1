"""A verifier of the user's own, as the child process runs it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from distill.errors import DistillError
from distill.records import Outcome, Verdict
from distill.registry import load

MAX_ANSWER_CHARACTERS = 100_000

Reply = dict[str, Any]


def load_custom(name: str) -> Callable[[Reply], Reply]:
    """The verifier called 'pkg.module:function'; it answers {"text", "gold"} with the fields of a verdict.

    A function ``prepare_worker`` of its module is called now, for what is not to be loaded within a deadline.

    Raises:
        DistillError: there is none, or its module cannot be imported or prepared.
    """
    module = name.partition(":")[0]
    if module == "__main__":
        raise DistillError(
            f"the verifier '{name}' cannot be found by the process that runs it",
            hint="put the function into a file of its own, 'my_verifiers.py', and name it 'my_verifiers:function'",
        )
    try:
        function = load("verifiers", name)
        prepare = getattr(sys.modules[module], "prepare_worker", None)
        if prepare is not None:
            prepare()
    except DistillError:
        raise
    except BaseException as error:  # a user's module may raise anything, SystemExit too
        raise DistillError(
            f"the verifier '{name}' cannot be loaded: {type(error).__name__}: {error}",
            hint=f"run \"python -c 'import {module}'\"; if it is memory, raise 'verifier.memory_mb'",
        ) from None
    if not callable(function):
        raise DistillError(f"the verifier '{name}' is no function", hint="name a function that takes (text, gold)")
    return lambda request: judge_with(function, request["text"], request["gold"])


def judge_with(function: Callable[[str, str], Any], text: str, gold: str) -> Reply:
    """What a user's verifier says, as the fields of a verdict; what it raises makes the completion unverified."""
    try:
        return asdict(as_verdict(function(text, gold)))
    except MemoryError:
        raise
    except BaseException as error:  # one completion must not end a run
        return asdict(Verdict(Outcome.UNVERIFIED, reason=f"verifier_error:{type(error).__name__}"))


def as_verdict(said: Any) -> Verdict:
    """A verdict of what a user's verifier returned.

    >>> as_verdict(True).outcome.value, as_verdict(0.5).outcome.value, as_verdict(None).outcome.value
    ('correct', 'incorrect', 'unverified')

    Raises:
        TypeError: it is none of Verdict, bool, float and None, or a Verdict of other things than texts.
    """
    if isinstance(said, Verdict):
        return _checked(said)
    if said is None or (isinstance(said, float) and math.isnan(said)):
        return Verdict(Outcome.UNVERIFIED, reason="no_verdict")
    if not isinstance(said, bool | int | float):
        raise TypeError(f"a verifier returns a Verdict, a bool, a float or None, not {type(said).__name__}")
    return Verdict(Outcome.CORRECT if said >= 1 else Outcome.INCORRECT, reason="custom")


def _checked(said: Verdict) -> Verdict:
    texts = (said.reason, said.tier, said.layer, said.answer or "")
    if not isinstance(said.outcome, Outcome) or not all(type(text) is str for text in texts):
        raise TypeError("a Verdict has an Outcome and texts")
    if sum(map(len, texts)) > MAX_ANSWER_CHARACTERS:
        raise ValueError("a Verdict is short")
    return said
