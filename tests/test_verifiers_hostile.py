"""Nothing that stands in a completion or a gold is ever executed: payloads that would only create a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from distill.verifiers import Judge, gold_problem
from distill.verifiers.engine import Engine
from distill.verifiers.judge import verify_with
from distill.verifiers.rendering import engine_pair
from distill.verifiers.setting import Setting

# 'CALL' becomes a call that creates the marker file; 'PATH' the file's name.
PAYLOADS = {
    "bare call": "CALL",
    "import through dunder names": "__import__('pathlib').Path('PATH').touch()",
    "builtins": "__builtins__['open']('PATH', 'w')",
    "arithmetic plus a call": "1 + CALL",
    "call beside pi": r"\pi * CALL",
    "call in an exponent": "2^{CALL}",
    "call in a list": "[1, CALL]",
    "call in a matrix": r"\begin{pmatrix} 1 & CALL \\ 2 & 3 \end{pmatrix}",
    "call in text": r"\text{CALL}",
    "call in mathrm": r"\mathrm{CALL}",
    "call in operatorname": r"\operatorname{CALL}",
    "call in a fraction": r"\frac{CALL}{2}",
    "call in an equation": "2 + 2 = CALL",
    "call in a sum of numbers": "1, 2, CALL",
    "attribute chain": "().__class__.__base__.__subclasses__()[0].__init__.__globals__['open']('PATH', 'w')",
    "lambda": "(lambda: CALL)()",
    "comprehension": "[CALL for _ in (1,)]",
    "f-string": "f'{CALL}'",
    "format string": "'{0.__class__}'.format(CALL)",
    "walrus": "(x := CALL)",
    "statement": "import os; os.mknod('PATH')",
    "newline": "5\nCALL",
    "escaped": r"\x5f\x5fimport\x5f\x5f('os').mknod('PATH')",
    "yaml": "!!python/object/apply:os.mknod ['PATH']",
    "pickle": "cos\nmknod\n(S'PATH'\ntR.",
    "shell": "$(touch PATH)",
    "backticks": "`touch PATH`",
    "tex": r"\immediate\write18{touch PATH}",
    "NUL": "CALL\x00",
    "lone surrogate": "CALL\ud800",
}
FRAMES = (r"\boxed{%s}", "<answer>%s</answer>", "The answer is %s", '{"answer": "%s"}', "%s")
KINDS = ("math", "number", "choice", "text")


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(timeout_seconds=30)
    yield engine
    engine.close()


@pytest.mark.parametrize("name", PAYLOADS)
def test_no_payload_is_executed_as_answer_or_as_gold(name: str, engine: Engine, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    payload = PAYLOADS[name].replace("CALL", f"open('{marker}', 'w')").replace("PATH", str(marker))
    setting = Setting(engine=engine, options=("x", payload), markers=("A:",), flexible=True)
    for kind in KINDS:
        for frame in FRAMES:
            verify_with(kind, frame % payload, "x+1", setting)
        verify_with(kind, r"\boxed{x+1}", payload, setting)
    engine.compare(*engine_pair(payload, "x+1"))
    engine.compare("x+1", payload)
    assert not marker.exists()


def test_the_marker_would_have_been_seen(tmp_path: Path) -> None:
    """The same call, executed: the test above would fail for a grader that evaluates text."""
    marker = tmp_path / "executed"
    exec(f"open('{marker}', 'w').close()")
    assert marker.exists()


def test_payloads_as_golds_are_refused_before_sampling_or_read_as_text(tmp_path: Path) -> None:
    from distill.records import Problem

    marker = tmp_path / "executed"
    with Judge() as judge:
        for kind in KINDS:
            gold_problem(Problem("1", "?", f"open('{marker}', 'w')"), kind, judge)
    assert not marker.exists()
