r"""Verify programs: the code of a completion is run against the tests of its problem, shut away from everything.

It runs only when asked for (``verifier.allow_code``), and only in isolation unless that was waived
(``verifier.allow_network``). What a submission does can make its verdict incorrect, never unverified: a
program that does not end is wrong.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import textwrap
from dataclasses import dataclass
from functools import cache
from threading import BoundedSemaphore
from typing import Any

from distill.records import Outcome, Problem, Verdict
from distill.verifiers.code.code_tests import Step, TestSet, TestsUnreadError, read_tests
from distill.verifiers.code.code_values import ROUNDING, same_output, same_value
from distill.verifiers.code.sandbox import (
    Sandbox,
    SandboxFailedError,
    Submission,
    SubmissionEndedError,
    isolation,
    require_sandbox,
)
from distill.verifiers.limits import Limits
from distill.verifiers.reading.extract import ANSWER, END_ANSWER, END_THINK, THINK
from distill.verifiers.setting import Setting
from distill.verifiers.workers.pool import NoWorkerError

MAX_SOURCE_CHARACTERS = 200_000
FENCE = re.compile(
    r"(?<![`~])(`{3,}+|~{3,}+)[ \t]*+([\w+#.-]*+)[^\n`]*+\n(.*?)(?:^[ \t]*\1(?![\w`~])|(\Z))", re.MULTILINE | re.DOTALL
)
PYTHON = {"python", "python3", "py", "py3"}
# A text without a fence is code if a line of it begins like code; the interpreter has the last word.
CODE_LINE = re.compile(r"^(?:def|class|import|from|async def|for|while|if|try:|with|print\(|@\w|[A-Za-z_]\w* *=)", re.M)
ERROR_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")


@dataclass(frozen=True, slots=True)
class Program:
    """The code of a completion, and where it stood."""

    source: str
    tier: str
    """'fenced', 'tagged' or 'bare'."""


def verify_code(text: str, gold: str, setting: Setting | None = None) -> Verdict:
    """Judge a completion that holds a Python function or program, by the tests that the gold holds.

    ``distill.verifiers.code.code_tests`` lists the forms of a gold. The tests run in order up to the first that
    fails; ``timeout_seconds`` is the processor time for all of them together. Reasons: 'tests' (correct);
    'test_failed:<index>', 'runtime_error:<type>', 'syntax_error', 'timeout', 'memory', 'output', 'bad_reply',
    'too_long' (incorrect), with the number of tests passed where any ran, as in
    'test_failed:2:passed_2_of_5'; 'no_code' (no answer); 'no_isolation', 'worker_died', 'gold_unparsed'
    (unverified).

    As many sandboxes run at once in a process as ``limits.workers`` says; waiting for one's turn costs no time.

    Raises:
        DistillError: running code was not allowed.
        NoWorkerError: the setting's engine may only remember, not run.
    """
    setting = setting or Setting()
    limits = setting.limits
    if not limits.allow_code:
        require_sandbox(limits)
    try:
        tests = read_tests(gold)
    except TestsUnreadError as unread:
        return Verdict(Outcome.UNVERIFIED, reason=str(unread))
    found = find_program(text, tests, setting)
    if isinstance(found, str):
        return Verdict(Outcome.NO_ANSWER, reason=found)
    isolated = isolation().available
    if not (isolated or limits.allow_network):
        return Verdict(Outcome.UNVERIFIED, found.source, "no_isolation", found.tier, "sandbox")
    if not setting.engine.pool.size:
        raise NoWorkerError
    submission = Submission(
        found.source, tests.preamble, tests.function, tests.program, limits.timeout_seconds, limits.memory_mb
    )
    with _turns(os.getpid(), limits.num_workers):
        outcome, reason = _judged(submission, tests, isolated=isolated)
    if reason == "syntax_error" and found.tier == "bare":
        return Verdict(Outcome.NO_ANSWER, reason="no_code")
    return Verdict(outcome, found.source, reason, found.tier, "sandbox")


def code_gold_problem(problem: Problem, limits: Limits) -> str:
    """'gold_unparsed' when the gold holds no tests that can be run, 'too_long' when it is too much to read, else ''.

    Raises:
        DistillError: running code was not allowed, or this system cannot shut a program away.
    """
    require_sandbox(limits)
    try:
        read_tests(problem.answer)
    except TestsUnreadError as unread:
        return str(unread)
    return ""


@cache
def _turns(_process: int, number: int) -> BoundedSemaphore:
    """How many sandboxes may run at once, in each process for itself: a forked one must not inherit taken turns."""
    return BoundedSemaphore(number)


def find_program(text: str, tests: TestSet, setting: Setting) -> Program | str:
    r"""The code that a completion hands in, or the reason why there is none.

    Behind the thinking, and inside <answer> where there is one: the last fenced block of Python that
    defines what is tested, else the last fenced block of Python, else the last without a language;
    without any fence the text itself, if it looks like code.

    >>> tests = read_tests("assert add(1, 2) == 3")
    >>> text = "```python\ndef add(a, b):\n    return a + b\n```\nTry it:\n```python\nprint(add(1, 2))\n```"
    >>> find_program(text, tests, Setting())
    Program(source='def add(a, b):\n    return a + b\n', tier='fenced')
    >>> find_program("I would add them.", tests, Setting()), find_program("<think>def", tests, Setting())
    ('no_code', 'think_unclosed')
    """
    is_cut = setting.finish_reason == "length"
    _, closed, region = text.rpartition(END_THINK)
    is_thinking = THINK in region or (setting.think_opened and not closed)
    end = region.rfind(END_ANSWER)
    start = region.rfind(ANSWER, 0, end) if end >= 0 else -1
    if start < 0 and is_thinking:
        return "truncated" if is_cut else "think_unclosed"
    is_tagged = start >= 0
    if is_tagged:
        region, is_cut = region[start + len(ANSWER) : end], False
    blocks = [(match[2].lower(), match[3], match[4] is not None) for match in FENCE.finditer(region)]
    if blocks:
        return _chosen(blocks, tests, is_cut=is_cut)
    if is_cut:
        return "truncated"
    source = textwrap.dedent(region).strip()
    if not source:
        return "empty"
    looks_like_code = is_tagged or CODE_LINE.search(source)
    return Program(source, "tagged" if is_tagged else "bare") if looks_like_code else "no_code"


def _chosen(blocks: list[tuple[str, str, bool]], tests: TestSet, *, is_cut: bool) -> Program | str:
    """The block that is handed in, of (language, content, whether it runs to the end of the text)."""
    usable = [block for block in blocks if block[0] in PYTHON] or [block for block in blocks if not block[0]]
    if not usable:
        return "no_code"
    defining = [block for block in usable if tests.is_defined_in(block[1])]
    _, source, is_open = (defining or usable)[-1]
    if is_open and is_cut:
        return "truncated"
    source = textwrap.dedent(source)
    if is_open:  # nobody closed it, or on the last line of the code
        source = re.sub(r"(?:`{3,}|~{3,})\s*\Z", "", source)
    return Program(source, "fenced") if source.strip() else "no_code"


def _judged(submission: Submission, tests: TestSet, *, isolated: bool) -> tuple[Outcome, str]:
    """Run the tests up to the first that fails."""
    if len(submission.source) > MAX_SOURCE_CHARACTERS:
        return Outcome.INCORRECT, "too_long"
    passed, reason = 0, ""
    try:
        with Sandbox(submission, isolated=isolated) as sandbox:
            if not submission.program:
                reason = _error(sandbox.receive())
            for step in tests.steps:
                if reason:
                    break
                reason = _asked(sandbox, step, passed)
                passed += not reason and step.kind != "setup"
    except SubmissionEndedError as ended:
        reason = ended.reason
    except SandboxFailedError as failed:
        return Outcome.UNVERIFIED, failed.reason
    if not reason:
        return Outcome.CORRECT, "tests"
    return Outcome.INCORRECT, reason if reason == "syntax_error" else f"{reason}:passed_{passed}_of_{tests.num_tests}"


def _asked(sandbox: Sandbox, step: Step, index: int) -> str:
    """Why one step failed; '' when it passed."""
    token = secrets.token_hex(16) if step.kind in {"check", "setup"} else None
    reply = sandbox.ask(step.message | {"token": token} if token else step.message)
    reason = _error(reply)
    if reason == "runtime_error:AssertionError" and step.kind == "check":
        return f"test_failed:{index}"
    if reason:
        return reason
    if token:
        return "" if reply.get("done") == token else "bad_reply"
    return "" if _is_expected(reply, step) else f"test_failed:{index}"


def _is_expected(reply: dict[str, Any], step: Step) -> bool:
    try:
        if step.kind == "output":
            printed = reply.get("stdout")
            absolute = step.tolerance[1] if step.tolerance else 0.0
            return isinstance(printed, str) and same_output(printed, step.expected[0], absolute)
        tolerance = step.tolerance or (ROUNDING, ROUNDING)
        from_json = step.kind == "value"
        value = reply.get("value")
        return any(same_value(value, wanted, tolerance, from_json=from_json) for wanted in step.expected)
    except RecursionError:  # nested deeper than anything that is expected
        return False


def _error(reply: dict[str, Any]) -> str:
    """The reason code of a reply that says that something went wrong; '' of any other."""
    ended = reply.get("ended") or {}
    if ended.get("timeout"):
        return "timeout"
    if reply.get("too_much"):
        return "output"
    name = str(reply.get("error") or "")
    if reply.get("unreadable") or name.startswith("!"):
        return "syntax_error"
    if name == "MemoryError":
        return "memory"
    if name:
        return f"runtime_error:{name if ERROR_NAME.fullmatch(name) else 'other'}"
    if ended.get("signal"):
        return f"runtime_error:{_signal_name(ended['signal'])}"
    has_ended_early = "ended" in reply and ("stdout" not in reply or ended.get("code"))
    return "runtime_error:exit" if has_ended_early else ""


def _signal_name(number: Any) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal"
