r"""The child process that runs math-verify: one JSON object per line in, one out; only verdicts come back.

Run as ``python -m distill.verifiers.engine_process`` by ``distill.verifiers.worker``, which holds the
deadline and kills this process when it passes: with gmpy2 some inputs hang past any alarm, and a check
that cannot be interrupted cannot end itself. Nothing here ever calls ``str()`` on a parsed object (of a
power tower that alone can hang), and no text is evaluated as code. This is no sandbox: time and memory
are bounded, files and network are not.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from functools import lru_cache
from typing import Any, TextIO

MAX_MEMORY_BYTES = 2 << 30
RELATIVE_TOLERANCE = 1e-5

Reply = dict[str, str | bool]


def main() -> None:
    """Announce readiness, then answer requests until the parent closes the pipe."""
    replies = _claim_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it closes the pipe
    logging.disable(logging.CRITICAL)
    _limit_memory()
    try:
        compare({"gold": r"\frac{1}{2}", "answer": "0.5"})  # imports, and builds the grammar, before any deadline runs
    except BaseException as error:
        _send(replies, {"failed": f"{type(error).__name__}: {error}"})
        return
    _send(replies, {"ready": True})
    for line in sys.stdin:
        _send(replies, answer(json.loads(line)))


def answer(request: dict[str, Any]) -> Reply:
    """The reply to one request, whatever happens while it is worked out."""
    try:
        _limit_cpu(float(request.get("seconds", 60)))
        return compare(request)
    except MemoryError:
        return {"reason": "memory"}
    except BaseException as error:
        return {"reason": "engine_error", "error": type(error).__name__}


def compare(request: dict[str, Any]) -> Reply:
    """Whether the answer equals the gold, both put in a box; without an answer, whether the gold can be read."""
    from math_verify import verify

    golds = parsed(request["gold"])
    if not golds:
        return {"reason": "gold_unparsed"}
    if request.get("answer") is None:
        return {"reason": ""}
    answers = parsed(request["answer"])
    if not answers:
        return {"reason": "answer_unparsed"}
    equal = verify(
        list(golds),
        list(answers),
        float_rounding=request.get("float_rounding", 6),
        strict=request.get("strict", True),
        allow_set_relation_comp=request.get("set_relations", True),
        timeout_seconds=None,
    )
    if equal and is_another_magnitude(golds[0], answers[0]):
        return {"equal": False, "reason": "guard:magnitude"}
    return {"equal": bool(equal), "reason": "engine"}


@lru_cache(maxsize=256)
def parsed(latex: str) -> tuple[Any, ...]:
    """What math-verify reads in a box; neither the text that it falls back to nor an undefined value is a reading."""
    from math_verify import LatexExtractionConfig, parse
    from sympy import nan, zoo

    found = parse(f"\\boxed{{{latex}}}", [LatexExtractionConfig(boxed_match_priority=0)], parsing_timeout=None)
    return tuple(value for value in found if not isinstance(value, str) and value is not zoo and value is not nan)


def is_another_magnitude(gold: Any, other: Any) -> bool:
    """True for two numbers that the library calls equal because both are small: 1/2^99 and 1/2^98.

    It chops differences below about 1e-15 and rounds decimals to six places; this compares the ratio.
    """
    from sympy import Eq, Expr, simplify

    gold, other = (value.rhs if isinstance(value, Eq) and value.lhs.is_Symbol else value for value in (gold, other))
    if not (isinstance(gold, Expr) and isinstance(other, Expr) and gold.is_number and other.is_number):
        return False
    first, second = abs(gold.doit().evalf(30)), abs((gold - other).doit().evalf(30))
    if second == 0 or not (first.is_Float and second.is_Float):
        return False
    if bool(second <= RELATIVE_TOLERANCE * first):
        return False
    return not simplify(gold - other).is_zero


def _claim_stdout() -> TextIO:
    """The pipe to the parent; from here on whatever prints, prints nowhere."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return replies


def _send(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ValueError, OSError):  # macOS refuses some limits; the deadline still holds
        return


def _limit_cpu(seconds: float) -> None:
    """End this process some seconds from now even if the parent is gone; the limit is on the total, so it moves."""
    if sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit = int(time.process_time() + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


if __name__ == "__main__":
    main()
