"""Programs judged by tests: what is handed in, the forms of a gold, right and wrong submissions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from distill.errors import DistillError
from distill.records import Completion, Group, Outcome, Problem, Prompt, Verdict
from distill.verifiers import Judge, gold_problem
from distill.verifiers.code import code, sandbox
from distill.verifiers.code.code import find_program, verify_code
from distill.verifiers.code.code_tests import TestsUnreadError, read_tests
from distill.verifiers.code.code_values import same_output, same_value
from distill.verifiers.code.sandbox import Isolation, isolation
from distill.verifiers.limits import Limits
from distill.verifiers.setting import Setting

SMALL = Limits(timeout_seconds=1.0, memory_mb=256, allow_code=True)
needs_isolation = pytest.mark.skipif(not isolation().available, reason=f"no isolation here: {isolation().reason}")


def test_where_isolation_is_missing_the_system_lacks_it_and_our_child_runs() -> None:
    assert isolation().available or isolation().reason != "worker_died"


ADD = {"function": "add", "cases": [{"args": [1, 2], "returns": 3}, {"args": [2, 2], "returns": 4}]}
SUM = {"cases": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 5\n", "stdout": "10\n"}]}
CHECK = """
METADATA = {"author": "x"}

def check(candidate):
    "what is tested"
    assert candidate(1, 2) == 3, "message"
    assert True, "says hello"
    assert candidate([1], [2]) == [1, 2]
    for number in range(3):
        assert candidate(number, number) == 2 * number
"""
HUMAN_EVAL = {
    "test": CHECK,
    "entry_point": "add",
    "prompt": 'def half(x):\n    return x / 2\n\ndef add(a, b):\n    """Add."""\n',
}


def verdict_of(source: str, gold: Any, limits: Limits = SMALL) -> Verdict:
    gold = gold if isinstance(gold, str) else json.dumps(gold)
    return verify_code(f"Here it is:\n```python\n{source}\n```", gold, Setting(limits=limits))


# What is handed in --------------------------------------------------------------------------------------------------

PLAIN = "def add(a, b):\n    return a + b\n"
FENCED = f"```python\n{PLAIN}```"


@pytest.mark.parametrize(
    ("text", "finish_reason", "expected"),
    [
        (FENCED, "stop", ("fenced", PLAIN)),
        (f"So:```py\n{PLAIN}```\nDone.", "stop", ("fenced", PLAIN)),
        (f"~~~Python3\n{PLAIN}~~~", "stop", ("fenced", PLAIN)),
        (f"```\n{PLAIN}```", "stop", ("fenced", PLAIN)),
        (f"````python\n{PLAIN}````", "stop", ("fenced", PLAIN)),
        ("1. Like this:\n   ```python\n   def add(a, b):\n       return a + b\n   ```", "stop", ("fenced", PLAIN)),
        (f"```python\ndef add(a, b): pass\n```\nNo:\n{FENCED}", "stop", ("fenced", PLAIN)),
        (f"{FENCED}\nTry it:\n```python\nprint(add(1, 2))\n```", "stop", ("fenced", PLAIN)),
        (f"{FENCED}\nIt prints\n```\n3\n```", "stop", ("fenced", PLAIN)),
        (f"{FENCED}\nRun it:\n```bash\npython add.py\n```", "stop", ("fenced", PLAIN)),
        (f"<think>```python\nwrong\n```</think>{FENCED}", "stop", ("fenced", PLAIN)),
        (f"<think>hm</think><answer>{FENCED}</answer>", "stop", ("fenced", PLAIN)),
        (f"<think>hm</think><answer>{PLAIN}</answer>", "stop", ("tagged", PLAIN.strip())),
        (f"```python\n{PLAIN}", "stop", ("fenced", PLAIN)),
        (f"```python\n{PLAIN}", "length", "truncated"),
        (f"{FENCED} and then", "length", ("fenced", PLAIN)),
        (PLAIN, "stop", ("bare", PLAIN.strip())),
        (PLAIN, "length", "truncated"),
        ("I would add the two numbers.", "stop", "no_code"),
        ("```java\nint add() {}\n```", "stop", "no_code"),
        ("```python\n\n```", "stop", "no_code"),
        ("  \n", "stop", "empty"),
        (f"<think>{FENCED}", "stop", "think_unclosed"),
        (f"<think>{FENCED}", "length", "truncated"),
    ],
)
def test_the_program_is_found(text: str, finish_reason: Any, expected: tuple[str, str] | str) -> None:
    found = find_program(text, read_tests(json.dumps(ADD)), Setting(finish_reason=finish_reason))
    assert (found if isinstance(found, str) else (found.tier, found.source)) == expected


def test_a_problem_named_in_a_docstring_cuts_nothing_off() -> None:
    source = '"""\nProblem: add <s>two</s> numbers\n"""\n' + PLAIN
    found = find_program(f"```python\n{source}```", read_tests(json.dumps(ADD)), Setting())
    assert not isinstance(found, str)
    assert found.source == source


@pytest.mark.parametrize(
    "text", ["```python\n", "`", "~", "```", "```a", "``` ", "<answer>", "```\n```\n", "\n ```", "def "]
)
def test_a_long_degenerate_text_is_read_in_linear_time(text: str) -> None:
    find_program(text * 50_000, read_tests(json.dumps(ADD)), Setting())  # squared, it would take minutes


# The forms of a gold -------------------------------------------------------------------------------------------------

GOLDS: dict[str, Any] = {
    "function": ADD,
    "keyword arguments": {"function": "add", "cases": [{"kwargs": {"a": 1, "b": 2}, "returns": 3}]},
    "asserts": {"asserts": "assert add(1, 2) == 3\nassert add(2, 2) == 4"},
    "bare asserts": "assert add(1, 2) == 3\nassert 4 == add(2, 2)",
    "list of asserts": ["assert add(1, 2) == 3", "assert add(2, 2) == 4"],
    "MBPP": {
        "test_list": ["assert add(1, 2) == math.floor(3.5)"],
        "test_setup_code": "",
        "test_imports": ["import math"],
    },
    "HumanEval": HUMAN_EVAL,
    "APPS": {"fn_name": "add", "inputs": [[1, 2], [2, 2]], "outputs": [[3], 4]},
    "PRIME": [{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]}],
    "LiveCodeBench": {
        "metadata": '{"func_name": "add"}',
        "tests": [{"input": "1\n2", "output": "3", "testtype": "functional"}],
    },
    "twice encoded": json.dumps(json.dumps(ADD)),
}
PROGRAM_GOLDS: dict[str, Any] = {
    "stdin": SUM,
    "APPS": {"inputs": ["1 2\n", ["5", "5"]], "outputs": ["3", ["10"]]},
    "LiveCodeBench": [{"input": "1 2", "output": "3", "testtype": "stdin"}],
    "open-r1": {
        "language": "python",
        "test_cases": [{"input": "1 2", "output": "3", "type": "stdin_stdout", "fn_name": None}],
    },
}


@needs_isolation
@pytest.mark.parametrize("form", GOLDS)
def test_every_form_of_gold_tells_a_right_function_from_a_wrong_one(form: str) -> None:
    assert verdict_of("def add(a, b):\n    return a + b", GOLDS[form]) == Verdict(
        Outcome.CORRECT, "def add(a, b):\n    return a + b\n", "tests", "fenced", "sandbox"
    )
    wrong = verdict_of("def add(a, b):\n    return a - b", GOLDS[form])
    assert (wrong.outcome, wrong.reason.split(":")[:2]) == (Outcome.INCORRECT, ["test_failed", "0"])


@needs_isolation
@pytest.mark.parametrize("form", PROGRAM_GOLDS)
def test_every_form_of_gold_tells_a_right_program_from_a_wrong_one(form: str) -> None:
    right = "import sys\nprint(sum(map(int, sys.stdin.read().split())))"
    assert verdict_of(right, PROGRAM_GOLDS[form]).reason == "tests"
    assert verdict_of("print(4)", PROGRAM_GOLDS[form]).reason.startswith("test_failed:0:passed_0_of_")


@pytest.mark.parametrize(
    "gold",
    [
        *("", "18", "null", "[]", "{}", "[1]", '{"cases": []}', "x = 1", "assert True", "assert f(1) =="),
        *('{"cases": [{"args": [1]}]}', '{"cases": [{"args": [1], "returns": 2}]}', '{"inputs": ["1"], "outputs": []}'),
        *('{"language": "cpp", "cases": [{"stdin": "1", "stdout": "1"}]}', '{"cases": [{"stdin": {}, "stdout": "1"}]}'),
        *('{"test": "assert f(1) == 2", "entry_point": "f"}', '{"test": "def check(c): assert c(1) == 2"}'),
        *('{"function": "f", "cases": [{"args": 3, "returns": 1}]}', '{"entry_point": "f", "test_cases": 3}'),
        *("import numpy\nassert f(1) == 2", "from solution import f\nassert f(1) == 2"),
        *("def test_f():\n    assert f(1) == 2", "(" * 100_000, "[" * 100_000),
    ],
)
def test_a_gold_without_tests_is_found_out_before_anything_runs(gold: str) -> None:
    with pytest.raises(TestsUnreadError, match="gold_unparsed"):
        read_tests(gold)
    assert verify_code(FENCED, gold, Setting(limits=SMALL)) == Verdict(Outcome.UNVERIFIED, reason="gold_unparsed")


@pytest.mark.parametrize(
    ("assertion", "message", "expected"),
    [
        ("assert f(1) == (1, [2])", "f(1)", (1, [2])),
        ("assert {1: 2} == f(1), 'no'", "f(1)", {1: 2}),
        ("assert set(f(1)) == set([1, 2])", "set(f(1))", {1, 2}),
        ("assert f(1) is None", "f(1)", None),
        ("assert not f(1)", "bool(f(1))", False),
        ("assert f(1)", "bool(f(1))", True),
        ("assert abs(f(1) - 2.5) < 1e-6", "f(1)", 2.5),
        ("assert math.isclose(f(1), 2.5, rel_tol=1e-3)", "f(1)", 2.5),
        ("assert f(1) == -float('inf')", None, None),
        ("assert f(1) == g(2)", None, None),
        ("assert f(1) > 2", None, None),
        ("assert any(f(x) for x in [1])", "bool(any((f(x) for x in [1])))", True),
    ],
)
def test_what_an_assertion_expects_stays_on_this_side(assertion: str, message: str | None, expected: Any) -> None:
    (step,) = read_tests(assertion).steps
    if message is None:
        assert step.kind == "check"
    else:
        assert (step.message, step.expected) == ({"expression": message}, (expected,))


def test_an_assertion_brings_its_own_tolerance() -> None:
    relative, absolute = read_tests("assert math.isclose(f(1), 2.5, rel_tol=1e-3)\nassert abs(2.5 - f(1)) <= 0.1").steps
    assert relative.tolerance == (1e-3, 0.0)
    assert (absolute.message, absolute.tolerance) == ({"expression": "f(1)"}, (0.0, 0.1))


def test_the_statements_of_a_check_are_tests_of_their_own() -> None:
    tests = read_tests(json.dumps(HUMAN_EVAL))
    assert [step.kind for step in tests.steps] == ["setup", "setup", "setup", "literal", "literal", "check"]
    assert tests.num_tests == 3


@needs_isolation
def test_the_prompts_own_functions_are_there() -> None:
    gold = HUMAN_EVAL | {"test": "def check(candidate):\n    assert candidate(half(4), 1) == 3"}
    assert verdict_of("def add(a, b):\n    return a + b", gold).reason == "tests"


@needs_isolation
def test_a_check_that_returns_is_one_test() -> None:
    gold = {
        "entry_point": "f",
        "test": "def check(c):\n    assert c(1) == 1\n    if c(2) == 3:\n        return\n    assert c(2) == 2",
    }
    assert verdict_of("def f(x): return x", gold).reason == "tests"
    assert verdict_of("def f(x): return 1", gold).reason == "test_failed:0:passed_0_of_1"


# What is equal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("returned", "expected", "same"),
    [
        ("[1, 2]", [1, 2], True),
        ("(1, 2)", [1, 2], False),
        ("(1, 2)", (1, 2), True),
        ("0.1 + 0.2", 0.3, True),
        ("0.31", 0.3, False),
        ("1", True, True),
        ("'1'", 1, False),
        ("10**400", 1.5, False),
        ("float('nan')", float("nan"), True),
        ("{1: 'a', (2, 3): None}", {1: "a", (2, 3): None}, True),
        ("{1: 'a'}", {1: "a", 2: "b"}, False),
        ("{1, (2,)}", {1, (2,)}, True),
        ("{1, 2}", {1, 3}, False),
        ("set()", set(), True),
        ("b'a'", b"a", True),
        ("1 + 2j", 1 + 2j, True),
        ("iter([1])", [1], False),
        ("None", None, True),
        ("None", 0, False),
        ("10**5000", 1, False),
    ],
)
@needs_isolation
def test_returned_values_are_compared_as_python_would(returned: str, expected: Any, same: bool) -> None:
    gold = (
        f"assert f() == {expected!r}"
        if repr(expected) != "nan"
        else '{"function": "f", "cases": [{"args": [], "returns": NaN}]}'
    )
    assert (verdict_of(f"def f(): return {returned}", gold).outcome == "correct") == same


def test_json_knows_no_tuples_and_no_keys_but_strings() -> None:
    assert same_value({"tuple": [1, 2]}, [1, 2], from_json=True)
    assert same_value({"dict": [[1, 2], [True, 3], [None, 4]]}, {"1": 2, "true": 3, "null": 4}, from_json=True)
    assert not same_value({"set": [1, 2]}, [1, 2], from_json=True)


@pytest.mark.parametrize(
    "forged",
    [{"set": [1, 1]}, {"set": [[1], {}]}, {"dict": [[1, 2], [1, 2]]}, {"dict": [1]}, {"list": 3}, {}, [], {"dict": {}}],
)
def test_a_reply_that_no_value_has_equals_nothing(forged: Any) -> None:
    assert not any(same_value(forged, expected) for expected in ({1, 2}, {1: 2, 3: 4}, [1, 2], "a", 1, b"", 1j))


@pytest.mark.parametrize(
    ("printed", "expected", "tolerance", "same"),
    [
        ("3\n", "3", 0, True),
        ("3", " 3 \n\n", 0, True),
        ("1.50 2", "1.5 2", 0, True),
        ("a  b", "a b", 0, True),
        ("1\n2", "1 2", 0, False),
        ("YES", "Yes", 0, False),
        ("0.3333", "0.33333333", 0, False),
        ("0.3333", "0.33333333", 1e-3, True),
        ("inf", "1e400", 1, False),
        ("1e9999", "2e9999", 0, False),
        ("", "0", 0, False),
    ],
)
def test_printed_lines_are_compared_by_their_words(printed: str, expected: str, tolerance: float, same: bool) -> None:
    assert same_output(printed, expected, tolerance) == same


# Submissions ---------------------------------------------------------------------------------------------------------


@needs_isolation
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("from typing import List\nadd = lambda a, b: a + b", "tests"),
        ("class Solution:\n    def add(self, a: int, b: Optional[int]) -> int:\n        return a + b", "tests"),
        ("import numbers, dataclasses\nfrom __future__ import annotations", "syntax_error"),
        (
            "from __future__ import annotations\nimport dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\ndef add(a, b): return A(a + b).x",
            "tests",
        ),
        ("def add(a, b):\n    a = heappop([a + b])\n    return deque([a])[0]", "tests"),
        ("def add(a, b): return a + b\nif __name__ == '__main__':\n    input()", "tests"),
        ("import asyncio\nasync def plus(a, b): return a + b\ndef add(a, b): return asyncio.run(plus(a, b))", "tests"),
        ("def add(a, b):\n    print('hello')\n    return a + b", "tests"),
        ("def add(a, b): return 3", "test_failed:1:passed_1_of_2"),
        ("def add(a, b): return str(a + b)", "test_failed:0:passed_0_of_2"),
        ("def add(a, b): return 1 // 0", "runtime_error:ZeroDivisionError:passed_0_of_2"),
        ("def plus(a, b): return a + b", "runtime_error:NameError:passed_0_of_2"),
        ("def add(a): return a", "runtime_error:TypeError:passed_0_of_2"),
        ("import numpy", "runtime_error:ModuleNotFoundError:passed_0_of_2"),
        ("def add(a, b) return a", "syntax_error"),
        ("def add(a, b):\n    return '\0'", "syntax_error"),
        ("x = '\ud800'", "syntax_error"),
        ("def add(a, b):\n    # " + "\U0001f600é" * 100 + "\n    return a + b", "tests"),
        ("def add(a, b): return add(a, b)", "runtime_error:RecursionError:passed_0_of_2"),
        ("def add(a, b): return 1 << 10**7", "test_failed:0:passed_0_of_2"),
    ],
)
def test_submitted_functions(source: str, reason: str) -> None:
    assert verdict_of(source, ADD).reason == reason


@needs_isolation
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("print(sum(map(int, input().split())))", "tests"),
        ("print(sum(map(int, open(0).read().split())))", "tests"),
        ("import sys\nread = sys.stdin.buffer.readline\nsys.stdout.write(str(sum(map(int, read().split()))))", "tests"),
        (
            "import os, atexit\nline = os.read(0, 99)\natexit.register(lambda: os.write(1, b'%d' % sum(map(int, line.split()))))",
            "tests",
        ),
        ("def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()", "tests"),
        (
            "import sys, threading\ndef deep(n): return n and 1 + deep(n - 1)\ndef main():\n    deep(20000)\n    print(sum(map(int, input().split())))\n"
            "sys.setrecursionlimit(10**6)\nthreading.stack_size(2**26)\nt = threading.Thread(target=main)\nt.start()\nt.join()",
            "tests",
        ),
        ("print(sum(map(int, input().split())))\nimport sys\nsys.exit(0)", "tests"),
        ("print(sum(map(int, input().split())))\nimport sys\nsys.exit(3)", "runtime_error:exit:passed_0_of_2"),
        ("print(sum(map(int, input().split())))\nraise ValueError", "runtime_error:ValueError:passed_0_of_2"),
        ("print(3)", "test_failed:1:passed_1_of_2"),
        ("raise OSError", "runtime_error:OSError:passed_0_of_2"),
        ("input(); input(); print(3)", "runtime_error:EOFError:passed_0_of_2"),
        ("print(", "syntax_error"),
        ("print(10**10000)", "runtime_error:ValueError:passed_0_of_2"),
        ("", "no_code"),
    ],
)
def test_submitted_programs(source: str, reason: str) -> None:
    assert verdict_of(source, SUM).reason == reason


@needs_isolation
def test_a_text_that_does_not_compile_was_no_code() -> None:
    text = "for the first case I would add them,\nwhile the second needs care"
    assert verify_code(text, json.dumps(ADD), Setting(limits=SMALL)) == Verdict(Outcome.NO_ANSWER, reason="no_code")
    assert verify_code(PLAIN, json.dumps(ADD), Setting(limits=SMALL)).reason == "tests"


@needs_isolation
def test_a_tolerance_of_the_gold_counts() -> None:
    gold = {"tolerance": 0.01, "function": "f", "cases": [{"args": [], "returns": 3.14159}]}
    assert verdict_of("def f(): return 3.14", gold).reason == "tests"
    assert verdict_of("def f(): return 3.14", gold | {"tolerance": 1e-6}).reason == "test_failed:0:passed_0_of_1"
    printed = {"tolerance": 0.01, "cases": [{"stdin": "", "stdout": "3.14159"}]}
    assert verdict_of("print(3.14)", printed).reason == "tests"


def test_a_program_that_is_too_long_is_wrong() -> None:
    assert verdict_of("#" * 300_000, ADD).reason.startswith("too_long") or not isolation().available


# What is allowed -----------------------------------------------------------------------------------------------------


def test_nothing_runs_unless_it_was_asked_for() -> None:
    with pytest.raises(DistillError, match=r"'verifier\.allow_code' is off") as caught:
        verdict_of("print(1)", SUM, Limits())
    assert "allow_code=true" in caught.value.hint
    with pytest.raises(DistillError, match="allow_code"):
        Judge("code")
    with pytest.raises(DistillError, match="allow_code"):
        gold_problem(Problem("1", "add", json.dumps(ADD), verifier="code"))


def test_without_isolation_it_is_refused_before_and_unverified_after(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = Isolation(False, "unshare: Operation not permitted")
    monkeypatch.setattr(sandbox, "isolation", lambda: nowhere)
    monkeypatch.setattr(code, "isolation", lambda: nowhere)
    with pytest.raises(DistillError, match="shut a program away: unshare: Operation not permitted") as caught:
        Judge("code", limits=SMALL)
    assert "allow_network=true" in caught.value.hint
    assert verdict_of("print(3)", SUM).reason == "no_isolation"
    assert verdict_of("print(3)", SUM).outcome == "unverified"


@needs_isolation
def test_a_judge_runs_the_completions_of_a_group_at_once() -> None:
    problem = Problem("1", "Add.", json.dumps(ADD), verifier="code")
    texts = (FENCED, "```python\ndef add(a, b): return 0\n```", "nothing", FENCED)
    group = Group(problem, Prompt((), "plain", ""), tuple(Completion(text) for text in texts))
    with Judge(limits=SMALL) as judge:
        assert gold_problem(problem, judge=judge) == ""
        assert gold_problem(Problem("2", "Add.", "3", verifier="code"), judge=judge) == "gold_unparsed"
        verdicts = judge.judge_group(group)
    assert [verdict.outcome.value for verdict in verdicts] == ["correct", "incorrect", "no_answer", "correct"]
