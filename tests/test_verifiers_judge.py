"""The judge: one door to every verifier, the user's own among them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from distill.errors import DistillError
from distill.records import Completion, Outcome, Problem, Verdict
from distill.verifiers import Judge, gold_problem, verify


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


def test_each_problem_is_judged_by_its_own_kind(judge: Judge) -> None:
    kinds = {
        "math": ("x+1", r"\boxed{1+x}"),
        "number": ("5", "#### 5.0"),
        "text": ("Yes", "Yes"),
        "choice": ("B", "(B)"),
    }
    for kind, (gold, text) in kinds.items():
        problem = Problem("1", "?", gold, verifier=kind)
        assert judge.judge(problem, Completion(text)).outcome == "correct", kind


def test_a_judges_kind_overrules_the_problems() -> None:
    with Judge(kind="text") as judge:
        assert judge.judge(Problem("1", "?", "5"), Completion("5.0")).outcome == "incorrect"


def test_the_completion_brings_its_finish_reason_and_its_opened_thinking(judge: Judge) -> None:
    problem = Problem("1", "?", "5")
    assert judge.judge(problem, Completion("<think>5", finish_reason="length")).reason == "truncated"
    assert judge.judge(problem, Completion("5", think_opened=True)).reason == "think_unclosed"
    assert judge.judge(problem, Completion("so</think>5", think_opened=True)).outcome == "correct"


def test_the_flexible_score_is_asked_for(judge: Judge) -> None:
    problem = Problem("1", "?", "5")
    completion = Completion("First 3 of them. Then 2 come. That is 5 in all, or so it seems to be here.")
    assert judge.judge(problem, completion).reason == "no_marker"
    assert judge.judge(problem, completion, flexible=True).outcome == "correct"


def test_a_verdict_does_not_depend_on_order_or_on_what_is_remembered(judge: Judge) -> None:
    problems = [Problem("1", "?", gold) for gold in ("x+1", r"\sqrt{8}", "(1,2)")]
    completions = [Completion(rf"\boxed{{{answer}}}") for answer in ("1+x", r"2\sqrt{2}", "1,2", "x")]
    pairs = [(problem, completion) for problem in problems for completion in completions]
    first = [judge.judge(*pair) for pair in pairs]
    assert [judge.judge(*pair) for pair in reversed(pairs)] == first[::-1]
    with Judge() as another:
        assert [another.judge(*pair) for pair in reversed(pairs)] == first[::-1]


def is_even(text: str, gold: str) -> bool:
    return text.strip().endswith(("0", "2", "4", "6", "8"))


def share_of_gold(text: str, gold: str) -> float | None:
    return len(text) / len(gold) if gold else None


def full_verdict(text: str, gold: str) -> Verdict:
    return Verdict(Outcome.NO_ANSWER, reason="mine")


def broken(text: str, gold: str) -> bool:
    return text[1_000_000] == gold


def wrong_type(text: str, gold: str) -> str:
    return "yes"


@pytest.mark.parametrize(
    ("name", "text", "gold", "expected"),
    [
        ("is_even", "so 4", "", ("correct", "custom")),
        ("is_even", "so 5", "", ("incorrect", "custom")),
        ("share_of_gold", "ab", "ab", ("correct", "custom")),
        ("share_of_gold", "a", "ab", ("incorrect", "custom")),
        ("share_of_gold", "a", "", ("unverified", "no_verdict")),
        ("full_verdict", "a", "", ("no_answer", "mine")),
        ("broken", "a", "a", ("unverified", "verifier_error:IndexError")),
        ("wrong_type", "a", "a", ("unverified", "verifier_error:TypeError")),
    ],
)
def test_a_verifier_of_the_users_own_is_called_with_text_and_gold(
    name: str, text: str, gold: str, expected: tuple[str, str]
) -> None:
    verdict = verify(text, gold, f"{__name__}:{name}")
    assert (verdict.outcome.value, verdict.reason) == expected


def test_an_unknown_kind_is_said_with_what_is_known() -> None:
    with pytest.raises(DistillError, match="no verifier is called 'maths'"):
        verify("5", "5", "maths")
    with pytest.raises(DistillError):
        gold_problem(Problem("1", "?", "5"), "maths")


@pytest.mark.parametrize(
    ("kind", "gold", "reason"),
    [
        ("math", "5", ""),
        ("math", r"\frac{\pi}{2}", ""),
        ("math", r"\text{Evelyn}", ""),
        ("math", "", "gold_unparsed"),
        ("math", r"\frac{1}{", "gold_unparsed"),
        ("math", "3 @ 4 + x", "gold_unparsed"),
        ("math", "9" * 500, "too_long"),
        ("number", "1,234", ""),
        ("number", "$18", ""),
        ("number", "x", "gold_unparsed"),
        ("choice", "C", ""),
        ("choice", "K", "gold_unparsed"),
        ("text", "Yes", ""),
        ("text", " ", "gold_unparsed"),
        (f"{__name__}:is_even", "", ""),
    ],
)
def test_a_gold_that_can_never_be_verified_is_found_before_sampling(
    judge: Judge, kind: str, gold: str, reason: str
) -> None:
    assert gold_problem(Problem("1", "?", gold, verifier=kind), judge=judge) == reason


def test_the_versions_that_verdicts_depend_on_are_named() -> None:
    versions = Judge.versions()
    assert set(versions) == {"math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime", "gmpy2"}
    assert versions["sympy"][0].isdigit()


def test_neither_importing_nor_the_fast_layers_load_the_engine() -> None:
    code = (
        "import sys\n"
        "from distill.verifiers import verify\n"
        "assert verify('#### 5', '5.0').outcome == 'correct'\n"
        "assert verify('(B)', 'B', 'choice').outcome == 'correct'\n"
        "loaded = {'sympy', 'math_verify', 'torch', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
